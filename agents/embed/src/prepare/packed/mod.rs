//! Graphs for the GPU without padding: all texts of a batch lie one after another in one row of tokens, and offsets say
//! where each begins. Built from ONNX Runtime's own CUDA operators, in the form that measured best on an H100 (about
//! 280 kernels for ModernBERT-base, half of their time in matrix products); pooling and normalisation are inside.

mod bert;
mod modern;

use em_api::spec::Pooling;

pub(super) use bert::model as bert;
pub(super) use modern::model as modern;

use super::onnx::{Attribute, Builder, Dimension, ModelProto};

/// Tokens that a packed graph takes at once; a single text may be as long as its model allows, also beyond that.
pub(crate) const MOST_TOKENS_OF_A_RUN: usize = 8192;

/// Pooling adds up this share of each token, so that the sum of 8,192 tokens stays within half precision.
const SHARE: f32 = 1.0 / 16.0;

/// Declares the inputs that all packed graphs have. T tokens, B texts, none longer than S:
/// `ids` i32 `[T]`; `pos` i64 `[1, T]`, the place in its text; `seg` i32 `[1, T]`, the text that the token is pooled into,
/// -1 for none; `cu` i32 `[B + 1]`, where texts begin; `off` i32 `[B, S]`, of which only the shape counts; `rows` i32
/// `[B, 1]` = 0, 1, …; and with local layers `band` `[1, 1, S, S]`, 0 where a token sees another, else very low.
fn inputs(graph: &mut Builder, band: bool) {
    let one = || Dimension::fixed(1);
    let named = Dimension::named;
    graph.input_i32("ids", vec![named("tokens")]);
    graph.input_i64("pos", vec![one(), named("tokens")]);
    graph.input_i32("seg", vec![one(), named("tokens")]);
    graph.input_i32("cu", vec![named("bounds")]);
    graph.input_i32("off", vec![named("batch"), named("longest")]);
    graph.input_i32("rows", vec![named("batch"), one()]);
    if band {
        graph.input_float("band", vec![one(), one(), named("longest"), named("longest")]);
    }
}

/// `flat` and `row`: the shapes `[T, hidden]`, which attention takes, and `[1, T, hidden]`, which the norms take.
fn shapes(graph: &mut Builder, hidden: usize) {
    graph.ints("flat", &[-1, hidden as i64]);
    graph.ints("row", &[1, -1, hidden as i64]);
}

/// Attention within each text. `inputs`: query, key and value `[1, T, hidden]`, then bias and band or "". `[1, T, hidden]`.
fn attention(graph: &mut Builder, name: &str, heads: usize, inputs: [&str; 5]) -> String {
    let [query, key, value, bias, band] = inputs;
    let mut flat = |part: &str, input: &str| graph.node(&format!("{name}.{part}.flat"), "Reshape", &[input, "flat"], vec![]);
    let (query, key, value) = (flat("query", query), flat("key", key), flat("value", value));
    let mut inputs = vec![query.as_str(), &key, &value, bias, "off", "cu"];
    if !band.is_empty() {
        inputs.push(band);
    }
    let heads = vec![Attribute::int("num_heads", heads as i64)];
    let context = graph.contrib(&format!("{name}.context"), "PackedMultiHeadAttention", &inputs, heads);
    graph.node(&format!("{name}.row"), "Reshape", &[&context, "row"], vec![])
}

/// Adds up the tokens of each text as `seg` says and ends the graph. For cls and last, `seg` names one token a text.
fn finish(mut graph: Builder, name: &str, hidden: &str, dim: usize, pooling: Pooling, normalize: bool) -> ModelProto {
    let tokens = graph.node("pool.tokens", "Reshape", &[hidden, "flat"], vec![]);
    let own = graph.node("pool.own", "Equal", &["rows", "seg"], vec![]);
    graph.scalar("share", SHARE);
    graph.scalar("none", 0.0);
    let shares = graph.node("pool.shares", "Where", &[&own, "share", "none"], vec![]);
    let sum = graph.node("pool.sum", "MatMul", &[&shares, &tokens], vec![]);
    let sum = graph.widened("pool.sum.wide", &sum);
    if normalize {
        // x / |x| in one kernel: its divisor is the root of the mean of squares.
        graph.wide_weight("unit", &[dim], &vec![(dim as f32).sqrt().recip(); dim]);
        let attributes = vec![Attribute::int("axis", -1), Attribute::float("epsilon", 1e-12)];
        graph.node("embedding", "SimplifiedLayerNormalization", &[&sum, "unit"], attributes);
    } else {
        graph.ints("axis_1", &[1]);
        let shares = graph.widened("pool.shares.wide", &shares);
        let parts = vec![Attribute::int("keepdims", 1)];
        let total = match pooling {
            Pooling::Mean => graph.node("pool.total", "ReduceSum", &[&shares, "axis_1"], parts),
            Pooling::Cls | Pooling::Last => graph.wide_weight("pool.total", &[1], &[SHARE]),
        };
        graph.wide_weight("least", &[1], &[1e-9]);
        let total = graph.node("pool.total.safe", "Max", &[&total, "least"], vec![]);
        graph.node("embedding", "Div", &[&sum, &total], vec![]);
    }
    graph.vector_output("embedding", dim);
    graph.finish(name)
}
