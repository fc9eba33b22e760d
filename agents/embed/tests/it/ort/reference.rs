//! BERT written plainly in f64, one text at a time and without padding: what the graph must say.

use em_api::spec::Pooling;

use super::tiny::{EPSILON, HEADS, HIDDEN, LAYERS, Weights};

type Rows = Vec<Vec<f64>>;

pub(super) fn embed(weights: &Weights, ids: &[u32], pooling: Pooling, normalize: bool) -> Vec<f64> {
    let mut hidden = norm(weights, "embeddings.LayerNorm", &embeddings(weights, ids));
    for layer in 0..LAYERS {
        let layer = format!("encoder.layer.{layer}");
        let attended = linear(weights, &format!("{layer}.attention.output.dense"), &attention(weights, &layer, &hidden));
        hidden = norm(weights, &format!("{layer}.attention.output.LayerNorm"), &sum(&attended, &hidden));
        let inner = linear(weights, &format!("{layer}.intermediate.dense"), &hidden);
        let active: Rows = inner.iter().map(|row| row.iter().map(|x| gelu(*x)).collect()).collect();
        hidden = norm(
            weights,
            &format!("{layer}.output.LayerNorm"),
            &sum(&linear(weights, &format!("{layer}.output.dense"), &active), &hidden),
        );
    }
    let pooled: Vec<f64> = match pooling {
        Pooling::Mean => (0..HIDDEN).map(|i| hidden.iter().map(|row| row[i]).sum::<f64>() / hidden.len() as f64).collect(),
        Pooling::Cls => hidden[0].clone(),
        Pooling::Last => hidden[hidden.len() - 1].clone(),
    };
    let length = if normalize { dot(&pooled, &pooled).sqrt() } else { 1.0 };
    pooled.iter().map(|x| x / length).collect()
}

fn embeddings(weights: &Weights, ids: &[u32]) -> Rows {
    let row = |name: &str, index: usize| {
        let (_, values) = &weights[&format!("embeddings.{name}.weight")];
        values[index * HIDDEN..(index + 1) * HIDDEN].iter().map(|x| f64::from(*x)).collect::<Vec<_>>()
    };
    let token = |(position, id): (usize, &u32)| {
        let parts = [row("word_embeddings", *id as usize), row("position_embeddings", position), row("token_type_embeddings", 0)];
        (0..HIDDEN).map(|i| parts.iter().map(|part| part[i]).sum()).collect()
    };
    ids.iter().enumerate().map(token).collect()
}

fn attention(weights: &Weights, layer: &str, hidden: &Rows) -> Rows {
    let [query, key, value] =
        ["query", "key", "value"].map(|name| linear(weights, &format!("{layer}.attention.self.{name}"), hidden));
    let size = HIDDEN / HEADS;
    let mut context = vec![vec![0.0; HIDDEN]; hidden.len()];
    for head in (0..HEADS).map(|head| head * size..(head + 1) * size) {
        for (from, row) in context.iter_mut().enumerate() {
            let scores: Vec<f64> =
                key.iter().map(|key| dot(&query[from][head.clone()], &key[head.clone()]) / (size as f64).sqrt()).collect();
            let total: f64 = scores.iter().map(|score| score.exp()).sum();
            for (score, value) in scores.iter().zip(&value) {
                head.clone().for_each(|i| row[i] += score.exp() / total * value[i]);
            }
        }
    }
    context
}

fn linear(weights: &Weights, name: &str, rows: &Rows) -> Rows {
    let (dims, matrix) = &weights[&format!("{name}.weight")];
    let (_, bias) = &weights[&format!("{name}.bias")];
    let output = |row: &Vec<f64>, index: usize| {
        let line = &matrix[index * dims[1]..(index + 1) * dims[1]];
        f64::from(bias[index]) + line.iter().zip(row).map(|(weight, x)| f64::from(*weight) * x).sum::<f64>()
    };
    rows.iter().map(|row| (0..dims[0]).map(|index| output(row, index)).collect()).collect()
}

fn norm(weights: &Weights, name: &str, rows: &Rows) -> Rows {
    let (_, scale) = &weights[&format!("{name}.weight")];
    let (_, bias) = &weights[&format!("{name}.bias")];
    let normed = |row: &Vec<f64>| {
        let mean = row.iter().sum::<f64>() / row.len() as f64;
        let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / row.len() as f64;
        let terms = row.iter().zip(scale).zip(bias);
        terms.map(|((x, scale), bias)| (x - mean) / (variance + EPSILON).sqrt() * f64::from(*scale) + f64::from(*bias)).collect()
    };
    rows.iter().map(normed).collect()
}

fn gelu(x: f64) -> f64 {
    0.5 * x * (1.0 + erf(x / std::f64::consts::SQRT_2))
}

/// Taylor's series; beyond 5 the function is 1 to twelve digits.
pub(super) fn erf(x: f64) -> f64 {
    if x.abs() > 5.0 {
        return x.signum();
    }
    let mut term = x;
    let mut total = x;
    for n in 1..200 {
        term *= -x * x / f64::from(n);
        total += term / f64::from(2 * n + 1);
    }
    total * std::f64::consts::FRAC_2_SQRT_PI
}

fn sum(left: &Rows, right: &Rows) -> Rows {
    left.iter().zip(right).map(|(left, right)| left.iter().zip(right).map(|(a, b)| a + b).collect()).collect()
}

fn dot(left: &[f64], right: &[f64]) -> f64 {
    left.iter().zip(right).map(|(a, b)| a * b).sum()
}
