//! BERT-like encoders packed: positions come from a table, every product has a bias, and norms follow their sums.

use em_api::spec::Pooling;

use super::super::onnx::{Builder, Float, ModelProto};
use super::super::source::{Activation, Config, SourceError, Tensors};
use super::{attention, finish, inputs, shapes};

/// Inputs: those of the module above; output `embedding`: f32 `[B, hidden_size]`.
pub(in super::super) fn model(
    config: &Config,
    tensors: &Tensors,
    float: Float,
    pooling: Pooling,
    normalize: bool,
) -> Result<ModelProto, SourceError> {
    let dim = config.hidden_size;
    let mut graph = Builder::of(float);
    inputs(&mut graph, false);
    shapes(&mut graph, dim);
    let mut hidden = embeddings(&mut graph, config, tensors)?;
    for layer in 0..config.num_hidden_layers {
        hidden = attended(&mut graph, config, tensors, layer, &hidden)?;
        hidden = feed_forward(&mut graph, config, tensors, layer, &hidden)?;
    }
    Ok(finish(graph, "bert", &hidden, dim, pooling, normalize))
}

fn embeddings(graph: &mut Builder, config: &Config, tensors: &Tensors) -> Result<String, SourceError> {
    let dim = config.hidden_size;
    let words = tensors.matrix("embeddings.word_embeddings.weight", config.vocab_size, dim)?;
    let positions = config.positions_with_type(tensors)?;
    graph.weight("words", &words.dims, &words.values);
    graph.weight("positions", &positions.dims, &positions.values);
    let words = graph.node("embed.words", "Gather", &["words", "ids"], vec![]);
    let words = graph.node("embed.row", "Reshape", &[&words, "row"], vec![]);
    let positions = graph.node("embed.positions", "Gather", &["positions", "pos"], vec![]);
    let [scale, shift] = norm(graph, config, tensors, "embeddings.LayerNorm")?;
    Ok(graph.skip_norm("embed.norm", &[&words, &positions, &scale, &shift], config.layer_norm_eps).0)
}

fn attended(graph: &mut Builder, config: &Config, tensors: &Tensors, layer: usize, input: &str) -> Result<String, SourceError> {
    let source = format!("encoder.layer.{layer}.attention");
    let name = |part: &str| format!("layer{layer}.{part}");
    let dim = config.hidden_size;
    let mut biases = Vec::with_capacity(3 * dim);
    let mut part = |part: &str| -> Result<String, SourceError> {
        let weight = tensors.matrix(&format!("{source}.self.{part}.weight"), dim, dim)?;
        biases.extend(tensors.vector(&format!("{source}.self.{part}.bias"), dim)?.values);
        Ok(graph.product(&name(part), input, &weight))
    };
    let (query, key, value) = (part("query")?, part("key")?, part("value")?);
    let bias = graph.weight(&name("attention.bias"), &[3 * dim], &biases);
    let context = attention(graph, &name("attention"), config.num_attention_heads, [&query, &key, &value, &bias, ""]);
    let output = graph.product(&name("attended"), &context, &tensors.matrix(&format!("{source}.output.dense.weight"), dim, dim)?);
    added(graph, config, tensors, &name("attended"), &format!("{source}.output"), [&output, input])
}

fn feed_forward(graph: &mut Builder, config: &Config, tensors: &Tensors, layer: usize, input: &str) -> Result<String, SourceError> {
    let source = format!("encoder.layer.{layer}");
    let name = |part: &str| format!("layer{layer}.{part}");
    let (dim, wide) = (config.hidden_size, config.intermediate_size);
    let weight = tensors.matrix(&format!("{source}.intermediate.dense.weight"), wide, dim)?;
    let inner = graph.product(&name("inner"), input, &weight);
    let bias = tensors.vector(&format!("{source}.intermediate.dense.bias"), wide)?;
    let bias = graph.weight(&name("inner.bias"), &bias.dims, &bias.values);
    let active = match config.hidden_act {
        Activation::Gelu => graph.contrib(&name("gelu"), "BiasGelu", &[&inner, &bias], vec![]),
        Activation::Relu => {
            let shifted = graph.node(&name("inner.shifted"), "Add", &[&inner, &bias], vec![]);
            graph.node(&name("relu"), "Relu", &[&shifted], vec![])
        }
    };
    let outer = graph.product(&name("outer"), &active, &tensors.matrix(&format!("{source}.output.dense.weight"), dim, wide)?);
    added(graph, config, tensors, &name("outer"), &format!("{source}.output"), [&outer, input])
}

/// The norm of `output + bias + input`; `source` holds `dense.bias` and `LayerNorm`.
fn added(
    graph: &mut Builder,
    config: &Config,
    tensors: &Tensors,
    name: &str,
    source: &str,
    [output, input]: [&str; 2],
) -> Result<String, SourceError> {
    let [scale, shift] = norm(graph, config, tensors, &format!("{source}.LayerNorm"))?;
    let bias = tensors.vector(&format!("{source}.dense.bias"), config.hidden_size)?;
    let bias = graph.weight(&format!("{name}.bias"), &bias.dims, &bias.values);
    Ok(graph.skip_norm(&format!("{name}.norm"), &[output, input, &scale, &shift, &bias], config.layer_norm_eps).0)
}

fn norm(graph: &mut Builder, config: &Config, tensors: &Tensors, source: &str) -> Result<[String; 2], SourceError> {
    let mut weight = |part: &str| {
        let name = format!("{source}.{part}");
        let tensor = tensors.vector(&name, config.hidden_size)?;
        Ok(graph.weight(&name, &tensor.dims, &tensor.values))
    };
    Ok([weight("weight")?, weight("bias")?])
}
