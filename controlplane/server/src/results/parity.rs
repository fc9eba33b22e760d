//! Whether a backend's vectors agree with the reference's, over the same texts. Faster but wrong is not faster: a failed gate
//! makes all trials of that backend invalid.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use em_api::agent::ParityVectors;
use em_api::results::{Parity, ParityVerdict};
use em_api::spec::{Backend, ParityGate, Spec};
use em_stats::vectors::{self, Agreement, LENGTH_TOLERANCE};

use super::words;

/// One verdict a backend, in the order of the spec: over the newest vectors of each repetition, and the worst of these counts.
pub(crate) fn judge(spec: &Spec, vectors: &[ParityVectors]) -> Vec<Parity> {
    spec.backends.iter().map(|backend| one(spec, backend, vectors)).collect()
}

fn one(spec: &Spec, backend: &Backend, vectors: &[ParityVectors]) -> Parity {
    let required = match backend.parity {
        ParityGate::MinCosine { min_cosine } => Some(min_cosine),
        ParityGate::Report => None,
    };
    let reference = spec.checks.parity.reference.as_deref();
    let name = backend.name.as_str();
    let mut parity = Parity {
        backend: name.to_owned(),
        reference: reference.map(str::to_owned),
        texts: 0,
        min_cosine: None,
        mean_cosine: None,
        max_abs_difference: None,
        max_length_difference: None,
        neighbour_overlap: None,
        required_cosine: required,
        verdict: ParityVerdict::Unknown,
        message: String::new(),
    };
    match compared(name, reference, spec.model.normalize, vectors) {
        Err(Unknown(message)) => parity.message = message,
        Ok(seen) => {
            parity.texts = seen.texts;
            parity.min_cosine = Some(seen.min_cosine());
            parity.mean_cosine = Some(seen.agreement.map_or(0.0, |agreement| agreement.mean_cosine));
            parity.max_abs_difference = seen.agreement.map(|agreement| agreement.max_abs_difference);
            parity.max_length_difference = seen.agreement.map(|agreement| agreement.max_length_difference);
            parity.neighbour_overlap = seen.neighbour_overlap;
            (parity.verdict, parity.message) = against_gate(name, reference.unwrap_or_default(), &seen, required);
        }
    }
    parity
}

fn against_gate(name: &str, reference: &str, seen: &Compared, required: Option<f64>) -> (ParityVerdict, String) {
    let mut measured = format!("least cosine {:.6} against {reference} over {} texts", seen.min_cosine(), seen.texts);
    if let Some(overlap) = seen.neighbour_overlap {
        measured.push_str(&format!(", {} of the 10 nearest texts the same", words::overlap(overlap)));
    }
    let faults = seen.faults.join("; ");
    let noted = if faults.is_empty() { measured } else { format!("{measured} ({faults})") };
    let differ = |wanted: &str| {
        format!("the vectors of {name} differ: {noted}{wanted} (check pooling, normalisation, tokenizer, maxLength, dtype)")
    };
    match required {
        _ if name == reference && seen.faults.is_empty() => (ParityVerdict::Passed, format!("the reference; {} texts", seen.texts)),
        _ if name == reference => (ParityVerdict::Failed, format!("the reference's own vectors are wrong: {faults}")),
        None => (ParityVerdict::Reported, format!("{noted}; no gate is set")),
        Some(required) if seen.min_cosine() < required => (ParityVerdict::Failed, differ(&format!(", {required} is required"))),
        Some(_) if !seen.faults.is_empty() => (ParityVerdict::Failed, differ("")),
        Some(required) => (ParityVerdict::Passed, format!("{noted}; {required} is required")),
    }
}

/// Why nothing can be said.
struct Unknown(String);

struct Compared {
    texts: u32,
    /// Absent: another shape, the strongest disagreement there is.
    agreement: Option<Agreement>,
    neighbour_overlap: Option<f64>,
    /// What is wrong beside directions.
    faults: Vec<String>,
}

impl Compared {
    fn min_cosine(&self) -> f64 {
        self.agreement.map_or(0.0, |agreement| agreement.min_cosine)
    }

    /// Worse first.
    fn rank(&self) -> (bool, f64) {
        (self.faults.is_empty(), self.min_cosine())
    }
}

fn compared(name: &str, reference: Option<&str>, normalize: bool, vectors: &[ParityVectors]) -> Result<Compared, Unknown> {
    let Some(reference) = reference else {
        return Err(Unknown(
            "no reference is set (checks.parity.reference): nobody knows whether these vectors are right".to_owned(),
        ));
    };
    let mut newest: BTreeMap<u32, &ParityVectors> = BTreeMap::new();
    for own in vectors.iter().filter(|one| one.backend == name) {
        newest.insert(own.repetition, own);
    }
    let mut worst: Option<(Compared, Rows, Rows)> = None;
    for own in newest.values() {
        let seen = against_reference(own, reference, normalize, vectors)?;
        if worst.as_ref().is_none_or(|(known, ..)| seen.0.rank() < known.rank()) {
            worst = Some(seen);
        }
    }
    let (mut seen, own, right) = worst.ok_or_else(|| Unknown(format!("{name} handed in no vectors")))?;
    if seen.agreement.is_some() && name != reference {
        seen.neighbour_overlap = vectors::neighbour_overlap(&own.values, &right.values, own.dim);
    }
    Ok(seen)
}

fn against_reference(
    own: &ParityVectors,
    reference: &str,
    normalize: bool,
    vectors: &[ParityVectors],
) -> Result<(Compared, Rows, Rows), Unknown> {
    let of_reference = || vectors.iter().rev().filter(|one| one.backend == reference);
    let same_texts = || of_reference().filter(|one| one.texts_sha256 == own.texts_sha256);
    // Of the same repetition where there is one: then a reference that was wrong once is seen against itself.
    let Some(right) = same_texts().find(|one| one.repetition == own.repetition).or_else(|| same_texts().next()) else {
        let why = if of_reference().next().is_none() { "handed in no vectors" } else { "embedded other texts" };
        return Err(Unknown(format!("the reference {reference} {why}")));
    };
    let is_reference = own.backend == reference;
    let (own_rows, right_rows) = (rows(own)?, rows(right)?);
    if (own.dim, own.count) != (right.dim, right.count) {
        let fault = format!("{} vectors of {} values against {} of {}", own.count, own.dim, right.count, right.dim);
        let seen = Compared { texts: own.count, agreement: None, neighbour_overlap: None, faults: vec![fault] };
        return Ok((seen, own_rows, right_rows));
    }
    let agreement = vectors::agreement(&own_rows.values, &right_rows.values, own_rows.dim);
    if agreement.reference_broken > 0 && !is_reference {
        let message = format!("{} vectors of the reference {reference} are zero or not finite", agreement.reference_broken);
        return Err(Unknown(message));
    }
    let mut faults = Vec::new();
    if agreement.broken > 0 {
        faults.push(format!("{} vectors are zero or not finite", agreement.broken));
    }
    let off = vectors::off_unit_length(&own_rows.values, own_rows.dim);
    if normalize && off > LENGTH_TOLERANCE && agreement.broken == 0 {
        faults.push(format!("lengths are off 1 by up to {off:.3}, though model.normalize is true"));
    } else if agreement.max_length_difference > LENGTH_TOLERANCE {
        faults.push(format!("lengths differ by up to {}", words::percent(agreement.max_length_difference)));
    }
    let seen = Compared { texts: agreement.texts as u32, agreement: Some(agreement), neighbour_overlap: None, faults };
    Ok((seen, own_rows, right_rows))
}

/// Row-major.
struct Rows {
    values: Vec<f32>,
    dim: usize,
}

/// `count × dim` little-endian f32 values.
fn rows(of: &ParityVectors) -> Result<Rows, Unknown> {
    let unreadable = |why: String| Unknown(format!("the vectors of {} are unreadable: {why}", of.backend));
    let bytes = STANDARD.decode(&of.vectors).map_err(|error| unreadable(error.to_string()))?;
    let (values, rest) = bytes.as_chunks::<4>();
    let expected = of.dim as usize * of.count as usize;
    if values.len() != expected || !rest.is_empty() || expected == 0 {
        return Err(unreadable(format!("{} bytes for {} vectors of {} values", bytes.len(), of.count, of.dim)));
    }
    Ok(Rows { values: values.iter().map(|value| f32::from_le_bytes(*value)).collect(), dim: of.dim as usize })
}
