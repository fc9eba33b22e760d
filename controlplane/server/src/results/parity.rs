//! Whether a backend's vectors agree with the reference's, over the same texts. Faster but wrong is not faster: a failed gate
//! makes all trials of that backend invalid.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use em_api::agent::ParityVectors;
use em_api::results::{Parity, ParityVerdict};
use em_api::spec::{Backend, ParityGate, Spec};

/// One verdict a backend, in the order of the spec, over its newest vectors.
pub(crate) fn judge(spec: &Spec, vectors: &[ParityVectors]) -> Vec<Parity> {
    let reference = spec.checks.parity.reference.as_deref();
    spec.backends.iter().map(|backend| one(backend, reference, vectors)).collect()
}

fn one(backend: &Backend, reference: Option<&str>, vectors: &[ParityVectors]) -> Parity {
    let required = match backend.parity {
        ParityGate::MinCosine { min_cosine } => Some(min_cosine),
        ParityGate::Report => None,
    };
    let name = backend.name.as_str();
    let outcome = agreement(name, reference, vectors);
    let mut parity = Parity {
        backend: name.to_owned(),
        reference: reference.map(str::to_owned),
        texts: 0,
        min_cosine: None,
        mean_cosine: None,
        max_abs_difference: None,
        required_cosine: required,
        verdict: ParityVerdict::Unknown,
        message: String::new(),
    };
    match outcome {
        Err(Unknown(message)) => parity.message = message,
        Ok(seen) => {
            parity.texts = seen.texts;
            parity.min_cosine = Some(seen.min_cosine);
            parity.mean_cosine = Some(seen.mean_cosine);
            parity.max_abs_difference = seen.max_abs_difference;
            (parity.verdict, parity.message) = against_gate(name, reference.unwrap_or_default(), &seen, required);
        }
    }
    parity
}

fn against_gate(name: &str, reference: &str, seen: &Agreement, required: Option<f64>) -> (ParityVerdict, String) {
    let least = seen.min_cosine;
    let note = seen.note.as_ref().map(|note| format!(" ({note})")).unwrap_or_default();
    let measured = format!("least cosine {least:.6} against {reference} over {} texts{note}", seen.texts);
    match required {
        _ if name == reference => (ParityVerdict::Passed, format!("the reference; {} texts{note}", seen.texts)),
        None => (ParityVerdict::Reported, format!("{measured}; no gate is set")),
        Some(required) if least >= required => (ParityVerdict::Passed, format!("{measured}; {required} is required")),
        Some(required) => (
            ParityVerdict::Failed,
            format!(
                "the vectors of {name} differ: {measured}, {required} is required (check pooling, normalisation, dtype, maxLength)"
            ),
        ),
    }
}

/// Why nothing can be said.
struct Unknown(String);

struct Agreement {
    texts: u32,
    min_cosine: f64,
    mean_cosine: f64,
    max_abs_difference: Option<f64>,
    /// What is wrong with the vectors themselves.
    note: Option<String>,
}

fn agreement(name: &str, reference: Option<&str>, vectors: &[ParityVectors]) -> Result<Agreement, Unknown> {
    let Some(reference) = reference else {
        return Err(Unknown(
            "no reference is set (checks.parity.reference): nobody knows whether these vectors are right".to_owned(),
        ));
    };
    let newest = |of: &str| vectors.iter().rev().find(|one| one.backend == of);
    let Some(own) = newest(name) else {
        return Err(Unknown(format!("{name} handed in no vectors")));
    };
    let of_reference = || vectors.iter().rev().filter(|one| one.backend == reference);
    let Some(right) = of_reference().find(|one| one.texts_sha256 == own.texts_sha256) else {
        let why = if of_reference().next().is_none() { "handed in no vectors" } else { "embedded other texts" };
        return Err(Unknown(format!("the reference {reference} {why}")));
    };
    if (own.dim, own.count) != (right.dim, right.count) {
        // Another shape is the strongest disagreement there is.
        let note = format!("{} vectors of {} values against {} of {}", own.count, own.dim, right.count, right.dim);
        return Ok(Agreement { texts: own.count, min_cosine: 0.0, mean_cosine: 0.0, max_abs_difference: None, note: Some(note) });
    }
    let (own_rows, right_rows) = (rows(own)?, rows(right)?);
    Ok(measure(&own_rows, &right_rows, own.dim as usize))
}

/// `count × dim` little-endian f32 values, row-major.
fn rows(of: &ParityVectors) -> Result<Vec<f32>, Unknown> {
    let unreadable = |why: String| Unknown(format!("the vectors of {} are unreadable: {why}", of.backend));
    let bytes = STANDARD.decode(&of.vectors).map_err(|error| unreadable(error.to_string()))?;
    let (values, rest) = bytes.as_chunks::<4>();
    let expected = of.dim as usize * of.count as usize;
    if values.len() != expected || !rest.is_empty() || expected == 0 {
        return Err(unreadable(format!("{} bytes for {} vectors of {} values", bytes.len(), of.count, of.dim)));
    }
    Ok(values.iter().map(|value| f32::from_le_bytes(*value)).collect())
}

fn measure(own: &[f32], right: &[f32], dim: usize) -> Agreement {
    let mut cosines = Vec::new();
    let mut max_abs_difference: f64 = 0.0;
    let mut broken = 0;
    for (own, right) in own.chunks_exact(dim).zip(right.chunks_exact(dim)) {
        let (mut dot, mut own_square, mut right_square) = (0.0_f64, 0.0_f64, 0.0_f64);
        for (x, y) in own.iter().zip(right) {
            let (x, y) = (f64::from(*x), f64::from(*y));
            dot += x * y;
            own_square += x * x;
            right_square += y * y;
            max_abs_difference = max_abs_difference.max((x - y).abs());
        }
        let cosine = dot / (own_square.sqrt() * right_square.sqrt());
        // A vector without a direction agrees with nothing.
        broken += usize::from(!cosine.is_finite());
        cosines.push(if cosine.is_finite() { cosine.clamp(-1.0, 1.0) } else { 0.0 });
    }
    Agreement {
        texts: cosines.len() as u32,
        min_cosine: cosines.iter().copied().fold(1.0, f64::min),
        mean_cosine: cosines.iter().sum::<f64>() / cosines.len().max(1) as f64,
        max_abs_difference: Some(max_abs_difference),
        note: (broken > 0).then(|| format!("{broken} are zero or not finite")),
    }
}
