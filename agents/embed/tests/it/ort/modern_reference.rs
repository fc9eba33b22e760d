//! A random ModernBERT and what it says, written plainly in f64, one text at a time: attention by a double loop with the
//! window as a condition, positions by turning pairs. Shares nothing with the graph.

use em_api::spec::Pooling;
use serde_json::{Value, json};

use super::tiny::{Made, VOCABULARY, Weights};

pub(super) const HIDDEN: usize = 64;
const HEADS: usize = 4;
const SIZE: usize = HIDDEN / HEADS;
const INNER: usize = 72;
const LAYERS: usize = 4;
const POSITIONS: usize = 256;
/// Tokens to either side.
const WINDOW: usize = 4;
const EPSILON: f64 = 1e-5;

type Rows = Vec<Vec<f64>>;

/// As transformers 4 wrote it; `newer`: in the fields by which transformers 5 says the same.
pub(super) fn config(newer: bool) -> Value {
    let mut config = json!({
        "model_type": "modernbert", "hidden_size": HIDDEN, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS,
        "intermediate_size": INNER, "max_position_embeddings": POSITIONS, "vocab_size": VOCABULARY, "norm_eps": EPSILON,
        "local_attention": 2 * WINDOW, "hidden_activation": "gelu",
    });
    if newer {
        config["layer_types"] =
            (0..LAYERS).map(|layer| if local(layer) { "sliding_attention" } else { "full_attention" }).collect();
        config["rope_parameters"] = json!({
            "full_attention": {"rope_theta": 160_000.0, "rope_type": "default"},
            "sliding_attention": {"rope_theta": 10_000.0, "rope_type": "default"},
        });
    } else {
        config["global_attn_every_n_layers"] = json!(3);
        config["global_rope_theta"] = json!(160_000.0);
        config["local_rope_theta"] = json!(10_000.0);
    }
    config
}

fn local(layer: usize) -> bool {
    !layer.is_multiple_of(3)
}

pub(super) fn shapes() -> Vec<Made> {
    let mut shapes = vec![
        ("embeddings.tok_embeddings.weight".to_owned(), vec![VOCABULARY, HIDDEN], 0.0),
        ("embeddings.norm.weight".to_owned(), vec![HIDDEN], 1.0),
        ("final_norm.weight".to_owned(), vec![HIDDEN], 1.0),
    ];
    for layer in 0..LAYERS {
        let name = |part: &str| format!("layers.{layer}.{part}.weight");
        shapes.push((name("attn.Wqkv"), vec![3 * HIDDEN, HIDDEN], 0.0));
        shapes.push((name("attn.Wo"), vec![HIDDEN, HIDDEN], 0.0));
        shapes.push((name("mlp.Wi"), vec![2 * INNER, HIDDEN], 0.0));
        shapes.push((name("mlp.Wo"), vec![HIDDEN, INNER], 0.0));
        shapes.push((name("mlp_norm"), vec![HIDDEN], 1.0));
        if layer > 0 {
            shapes.push((name("attn_norm"), vec![HIDDEN], 1.0));
        }
    }
    shapes
}

pub(super) fn embed(weights: &Weights, ids: &[u32], pooling: Pooling, normalize: bool) -> Vec<f64> {
    let (_, words) = &weights["embeddings.tok_embeddings.weight"];
    let word = |id: &u32| words[*id as usize * HIDDEN..][..HIDDEN].iter().map(|x| f64::from(*x)).collect::<Vec<_>>();
    let mut hidden = norm(weights, "embeddings.norm", &ids.iter().map(word).collect());
    for layer in 0..LAYERS {
        let name = |part: &str| format!("layers.{layer}.{part}");
        let input = if layer == 0 { hidden.clone() } else { norm(weights, &name("attn_norm"), &hidden) };
        let both = product(weights, &name("attn.Wqkv"), &input);
        let attended = product(weights, &name("attn.Wo"), &attention(&both, local(layer)));
        hidden = sum(&attended, &hidden);
        let inner = product(weights, &name("mlp.Wi"), &norm(weights, &name("mlp_norm"), &hidden));
        let gated = inner.iter().map(|row| (0..INNER).map(|i| gelu(row[i]) * row[INNER + i]).collect()).collect();
        hidden = sum(&product(weights, &name("mlp.Wo"), &gated), &hidden);
    }
    let hidden = norm(weights, "final_norm", &hidden);
    let pooled: Vec<f64> = match pooling {
        Pooling::Mean => (0..HIDDEN).map(|i| hidden.iter().map(|row| row[i]).sum::<f64>() / hidden.len() as f64).collect(),
        Pooling::Cls => hidden[0].clone(),
        Pooling::Last => hidden[hidden.len() - 1].clone(),
    };
    let length = if normalize { dot(&pooled, &pooled).sqrt() } else { 1.0 };
    pooled.iter().map(|x| x / length).collect()
}

/// `rows`: query, key and value side by side.
fn attention(rows: &Rows, local: bool) -> Rows {
    let theta: f64 = if local { 10_000.0 } else { 160_000.0 };
    let part = |row: usize, part: usize, head: usize| &rows[row][part * HIDDEN + head * SIZE..][..SIZE];
    let turned = |row: usize, which: usize, head: usize| {
        let values = part(row, which, head);
        let mut turned = vec![0.0; SIZE];
        for pair in 0..SIZE / 2 {
            let angle = row as f64 * theta.powf(-2.0 * pair as f64 / SIZE as f64);
            let (left, right) = (values[pair], values[pair + SIZE / 2]);
            turned[pair] = left * angle.cos() - right * angle.sin();
            turned[pair + SIZE / 2] = right * angle.cos() + left * angle.sin();
        }
        turned
    };
    let mut context = vec![vec![0.0; HIDDEN]; rows.len()];
    for head in 0..HEADS {
        for (from, context) in context.iter_mut().enumerate() {
            let query = turned(from, 0, head);
            let seen = (0..rows.len()).filter(|to| !local || from.abs_diff(*to) <= WINDOW);
            let shares: Vec<(usize, f64)> =
                seen.map(|to| (to, (dot(&query, &turned(to, 1, head)) / (SIZE as f64).sqrt()).exp())).collect();
            let total: f64 = shares.iter().map(|(_, share)| share).sum();
            for (to, share) in shares {
                (0..SIZE).for_each(|i| context[head * SIZE + i] += share / total * part(to, 2, head)[i]);
            }
        }
    }
    context
}

fn product(weights: &Weights, name: &str, rows: &Rows) -> Rows {
    let (dims, matrix) = &weights[&format!("{name}.weight")];
    let line = |index: usize| matrix[index * dims[1]..][..dims[1]].iter().map(|x| f64::from(*x));
    rows.iter().map(|row| (0..dims[0]).map(|index| line(index).zip(row).map(|(w, x)| w * x).sum()).collect()).collect()
}

fn norm(weights: &Weights, name: &str, rows: &Rows) -> Rows {
    let (_, scale) = &weights[&format!("{name}.weight")];
    let normed = |row: &Vec<f64>| {
        let mean = row.iter().sum::<f64>() / row.len() as f64;
        let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / row.len() as f64;
        row.iter().zip(scale).map(|(x, scale)| (x - mean) / (variance + EPSILON).sqrt() * f64::from(*scale)).collect()
    };
    rows.iter().map(normed).collect()
}

fn gelu(x: f64) -> f64 {
    0.5 * x * (1.0 + super::reference::erf(x / std::f64::consts::SQRT_2))
}

fn sum(left: &Rows, right: &Rows) -> Rows {
    left.iter().zip(right).map(|(left, right)| left.iter().zip(right).map(|(a, b)| a + b).collect()).collect()
}

fn dot(left: &[f64], right: &[f64]) -> f64 {
    left.iter().zip(right).map(|(a, b)| a * b).sum()
}
