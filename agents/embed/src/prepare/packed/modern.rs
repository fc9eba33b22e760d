//! ModernBERT packed. Four heads turn as one wide head, from weights whose rows are reordered to pairs (the operator's
//! kernel is slow on narrow heads), and the gated feed-forward part is one product where an operator takes its width.

use em_api::spec::Pooling;

use super::super::modern::{ModernConfig, gated};
use super::super::onnx::{Attribute, Builder, Float, ModelProto};
use super::super::source::{SourceError, Tensor, Tensors};
use super::{MOST_TOKENS_OF_A_RUN, attention, finish, inputs, shapes};

/// Inputs: those of the module above; output `embedding`: f32 `[B, hidden_size]`.
pub(in super::super) fn model(
    config: &ModernConfig,
    tensors: &Tensors,
    float: Float,
    pooling: Pooling,
    normalize: bool,
) -> Result<ModelProto, SourceError> {
    let dim = config.hidden_size;
    let mut graph = Builder::of(float);
    inputs(&mut graph, config.layers.iter().any(|layer| layer.local));
    shapes(&mut graph, dim);
    rotations(&mut graph, config);

    let words = tensors.matrix("embeddings.tok_embeddings.weight", config.vocab_size, dim)?;
    graph.weight("words", &words.dims, &words.values);
    let words = graph.node("embed.words", "Gather", &["words", "ids"], vec![]);
    let scale = norm(&mut graph, config, tensors, "embeddings.norm.weight")?;
    let attributes = vec![Attribute::int("axis", -1), Attribute::float("epsilon", config.norm_eps)];
    let embedded = graph.node("embed.norm", "LayerNormalization", &[&words, &scale], attributes);
    let mut hidden = graph.node("embed.row", "Reshape", &[&embedded, "row"], vec![]);
    // Layer 0 has no norm of its own before its attention.
    let mut normed = hidden.clone();
    for layer in 0..config.layers.len() {
        let name = |part: &str| format!("layer{layer}.{part}");
        let attended = attended(&mut graph, config, tensors, layer, &normed)?;
        let scale = norm(&mut graph, config, tensors, &format!("layers.{layer}.mlp_norm.weight"))?;
        (normed, hidden) = graph.skip_norm(&name("attended.norm"), &[&attended, &hidden, &scale], config.norm_eps);
        let outer = feed_forward(&mut graph, config, tensors, layer, &normed)?;
        let scale = norm(&mut graph, config, tensors, &config.norm_after(layer))?;
        (normed, hidden) = graph.skip_norm(&name("outer.norm"), &[&outer, &hidden, &scale], config.norm_eps);
    }
    Ok(finish(graph, "modernbert", &normed, dim, pooling, normalize))
}

/// How many heads turn as one: the kernel wants at most 256 numbers.
fn heads_at_once(config: &ModernConfig) -> usize {
    let fits = |count: &usize| config.num_attention_heads.is_multiple_of(*count) && count * config.head_size() <= 256;
    [4, 2].into_iter().find(fits).unwrap_or(1)
}

fn rotations(graph: &mut Builder, config: &ModernConfig) {
    let together = heads_at_once(config);
    // The operator refuses a run of more tokens than its table has rows, wherever in their texts they stand.
    let rows = config.max_position_embeddings.max(MOST_TOKENS_OF_A_RUN);
    let dims = [rows, together * config.head_size() / 2];
    for (name, theta) in [("global", config.global_theta), ("local", config.local_theta)] {
        let [cos, sin] = config.rotations(theta, rows, together);
        graph.weight(&format!("{name}.cos"), &dims, &cos);
        graph.weight(&format!("{name}.sin"), &dims, &sin);
    }
}

fn norm(graph: &mut Builder, config: &ModernConfig, tensors: &Tensors, source: &str) -> Result<String, SourceError> {
    let scale = tensors.vector(source, config.hidden_size)?;
    Ok(graph.weight(source, &scale.dims, &scale.values))
}

fn attended(
    graph: &mut Builder,
    config: &ModernConfig,
    tensors: &Tensors,
    layer: usize,
    input: &str,
) -> Result<String, SourceError> {
    let (dim, heads) = (config.hidden_size, config.num_attention_heads);
    let name = |part: &str| format!("layer{layer}.{part}");
    let (kind, band) = if config.layers[layer].local { ("local", "band") } else { ("global", "") };
    let all = tensors.matrix(&format!("layers.{layer}.attn.Wqkv.weight"), 3 * dim, dim)?;
    let wide_heads = (heads / heads_at_once(config)) as i64;
    // Three products: as one they need a copy to be split, which costs more than it saves.
    let mut turned = |part: &str, place: usize| {
        let product = graph.product(&name(part), input, &all.rows(place * dim, (place + 1) * dim).interleaved(heads));
        let inputs = [product.as_str(), "pos", &format!("{kind}.cos"), &format!("{kind}.sin")];
        let attributes = vec![Attribute::int("interleaved", 1), Attribute::int("num_heads", wide_heads)];
        graph.contrib(&name(&format!("{part}.turned")), "RotaryEmbedding", &inputs, attributes)
    };
    let (query, key) = (turned("query", 0), turned("key", 1));
    let value = graph.product(&name("value"), input, &all.rows(2 * dim, 3 * dim));
    let context = attention(graph, &name("attention"), heads, [&query, &key, &value, "", band]);
    let weight = tensors.matrix(&format!("layers.{layer}.attn.Wo.weight"), dim, dim)?;
    Ok(graph.product(&name("attended"), &context, &weight))
}

fn feed_forward(
    graph: &mut Builder,
    config: &ModernConfig,
    tensors: &Tensors,
    layer: usize,
    input: &str,
) -> Result<String, SourceError> {
    let (dim, wide) = (config.hidden_size, config.intermediate_size);
    let name = |part: &str| format!("layer{layer}.{part}");
    let both = tensors.matrix(&format!("layers.{layer}.mlp.Wi.weight"), 2 * wide, dim)?;
    let outer = tensors.matrix(&format!("layers.{layer}.mlp.Wo.weight"), dim, wide)?;
    let Some(width) = split_gelu_width(wide) else {
        let active = gated(graph, &name("inner"), &both, wide, input);
        return Ok(graph.product(&name("outer"), &active, &outer));
    };
    // The operator gives left · gelu(right), so the gate (the second half) comes first; zeros fill each half up.
    let gate_first = stacked(&[both.rows(wide, 2 * wide), both.rows(0, wide)], width);
    let inner = graph.product(&name("inner"), input, &gate_first);
    let bias = graph.weight(&name("inner.bias"), &[2 * width], &vec![0.0; 2 * width]);
    let active = graph.contrib(&name("inner.gated"), "BiasSplitGelu", &[&inner, &bias], vec![]);
    let weight = graph.weight(&name("outer.weight"), &[width, dim], &stacked(&[outer.transposed()], width).values);
    Ok(graph.node(&name("outer"), "MatMul", &[&active, &weight], vec![]))
}

/// The operator BiasSplitGelu takes halves of these widths; more than a seventh of zeros would cost more than it saves.
fn split_gelu_width(wide: usize) -> Option<usize> {
    [1280, 2560, 5120].into_iter().find(|&width| width >= wide && width - wide <= width / 7)
}

/// The parts' rows one after another, each part filled up with rows of zeros to `rows`.
fn stacked(parts: &[Tensor], rows: usize) -> Tensor {
    let columns = parts[0].dims[1];
    let mut values = Vec::with_capacity(parts.len() * rows * columns);
    for part in parts {
        values.extend_from_slice(&part.values);
        values.resize(values.len() + (rows - part.dims[0]) * columns, 0.0);
    }
    Tensor { dims: vec![parts.len() * rows, columns], values }
}
