//! The graph of a BERT-like encoder, from token ids to one vector a text. Weights are stored as `[in, out]`, the query's
//! with 1/√d in them, and the vectors of token type 0 lie in the position table, so that little is left to compute; the
//! operators are in the order that ONNX Runtime fuses. Query, key and value are three products: as one they measured
//! 1 to 3 % slower on the CPU (the split copies), and its own attention operators no faster.

use em_api::spec::Pooling;

use super::onnx::{Attribute, Builder, ModelProto};
use super::source::{Activation, Config, SourceError, Tensor, Tensors};

/// Inputs `input_ids`, `attention_mask`: i64 `[batch, sequence]`; output `embedding`: f32 `[batch, hidden_size]`.
pub(crate) fn model(config: &Config, tensors: &Tensors, pooling: Pooling, normalize: bool) -> Result<ModelProto, SourceError> {
    let mut graph = Builder::default();
    graph.token_input("input_ids");
    graph.token_input("attention_mask");
    shared_constants(&mut graph, config);

    let mut hidden = embeddings(&mut graph, config, tensors)?;
    let bias = attention_bias(&mut graph);
    for layer in 0..config.num_hidden_layers {
        hidden = attention(&mut graph, config, tensors, layer, &hidden, &bias)?;
        hidden = feed_forward(&mut graph, config, tensors, layer, &hidden)?;
    }
    let pooled = pool(&mut graph, pooling, &hidden);
    finish(&mut graph, &pooled, normalize);
    graph.vector_output("embedding", config.hidden_size);
    Ok(graph.finish(&config.model_type))
}

fn shared_constants(graph: &mut Builder, config: &Config) {
    let (heads, size) = (config.num_attention_heads as i64, config.head_size() as i64);
    graph.ints("split_heads", &[0, 0, heads, size]);
    graph.ints("join_heads", &[0, 0, config.hidden_size as i64]);
    graph.ints("axis_0", &[0]);
    graph.ints("axis_1", &[1]);
    graph.ints("axes_1_2", &[1, 2]);
    graph.ints("zero", &[0]);
    graph.ints("one", &[1]);
    graph.scalar("f_one", 1.0);
    graph.scalar("f_half", 0.5);
    graph.scalar("sqrt_2", std::f32::consts::SQRT_2);
    graph.scalar("lowest", f32::MIN);
}

fn embeddings(graph: &mut Builder, config: &Config, tensors: &Tensors) -> Result<String, SourceError> {
    let hidden = config.hidden_size;
    let words = tensors.matrix("embeddings.word_embeddings.weight", config.vocab_size, hidden)?;
    let positions = config.positions_with_type(tensors)?;
    graph.weight("words", &words.dims, &words.values);
    graph.weight("positions", &positions.dims, &positions.values);

    let words = graph.node("embed.words", "Gather", &["words", "input_ids"], vec![]);
    let shape = graph.node("embed.shape", "Shape", &["input_ids"], vec![]);
    let length = graph.node("embed.length", "Gather", &[&shape, "one"], vec![]);
    let positions = graph.node("embed.positions", "Slice", &["positions", "zero", &length, "axis_0"], vec![]);
    let sum = graph.node("embed.sum", "Add", &[&words, &positions], vec![]);
    layer_norm(graph, config, tensors, "embed.norm", "embeddings.LayerNorm", &sum)
}

/// 0 for tokens, the lowest float for padding: added to the scores it makes their share exactly 0. `[batch, 1, 1, sequence]`.
fn attention_bias(graph: &mut Builder) -> String {
    let mask = graph.node("mask.wide", "Unsqueeze", &["attention_mask", "axes_1_2"], vec![]);
    let mask = graph.node("mask.float", "Cast", &[&mask], vec![Attribute::int("to", 1)]);
    let inverse = graph.node("mask.inverse", "Sub", &["f_one", &mask], vec![]);
    graph.node("mask.bias", "Mul", &[&inverse, "lowest"], vec![])
}

fn attention(
    graph: &mut Builder,
    config: &Config,
    tensors: &Tensors,
    layer: usize,
    input: &str,
    bias: &str,
) -> Result<String, SourceError> {
    let source = format!("encoder.layer.{layer}.attention");
    let name = |part: &str| format!("layer{layer}.{part}");
    let hidden = config.hidden_size;
    let scale = (config.head_size() as f32).sqrt().recip();
    let mut heads = |part: &str, factor: f32, order: &[i64]| -> Result<String, SourceError> {
        let mut weight = tensors.matrix(&format!("{source}.self.{part}.weight"), hidden, hidden)?.transposed();
        let mut offset = tensors.vector(&format!("{source}.self.{part}.bias"), hidden)?;
        weight.values.iter_mut().chain(&mut offset.values).for_each(|value| *value *= factor);
        let product = linear(graph, &name(part), &weight, &offset, input);
        let apart = graph.node(&name(&format!("{part}.apart")), "Reshape", &[&product, "split_heads"], vec![]);
        Ok(graph.node(&name(&format!("{part}.heads")), "Transpose", &[&apart], vec![Attribute::ints("perm", order)]))
    };
    let query = heads("query", scale, &[0, 2, 1, 3])?;
    let key = heads("key", 1.0, &[0, 2, 3, 1])?;
    let value = heads("value", 1.0, &[0, 2, 1, 3])?;

    let scores = graph.node(&name("scores"), "MatMul", &[&query, &key], vec![]);
    let masked = graph.node(&name("masked"), "Add", &[&scores, bias], vec![]);
    let shares = graph.node(&name("shares"), "Softmax", &[&masked], vec![Attribute::int("axis", -1)]);
    let context = graph.node(&name("context"), "MatMul", &[&shares, &value], vec![]);
    let context = graph.node(&name("context.wide"), "Transpose", &[&context], vec![Attribute::ints("perm", &[0, 2, 1, 3])]);
    let context = graph.node(&name("context.joined"), "Reshape", &[&context, "join_heads"], vec![]);

    let output = dense(graph, tensors, &name("attended"), &format!("{source}.output.dense"), hidden, hidden, &context)?;
    let sum = graph.node(&name("attended.sum"), "Add", &[&output, input], vec![]);
    layer_norm(graph, config, tensors, &name("attended.norm"), &format!("{source}.output.LayerNorm"), &sum)
}

fn feed_forward(graph: &mut Builder, config: &Config, tensors: &Tensors, layer: usize, input: &str) -> Result<String, SourceError> {
    let source = format!("encoder.layer.{layer}");
    let name = |part: &str| format!("layer{layer}.{part}");
    let (hidden, wide) = (config.hidden_size, config.intermediate_size);
    let inner = dense(graph, tensors, &name("inner"), &format!("{source}.intermediate.dense"), hidden, wide, input)?;
    let active = match config.hidden_act {
        Activation::Gelu => exact_gelu(graph, &name("gelu"), &inner),
        Activation::Relu => graph.node(&name("relu"), "Relu", &[&inner], vec![]),
    };
    let outer = dense(graph, tensors, &name("outer"), &format!("{source}.output.dense"), wide, hidden, &active)?;
    let sum = graph.node(&name("outer.sum"), "Add", &[&outer, input], vec![]);
    layer_norm(graph, config, tensors, &name("outer.norm"), &format!("{source}.output.LayerNorm"), &sum)
}

/// x · ½ · (1 + erf(x/√2)), in the order that ONNX Runtime fuses with the bias before it.
fn exact_gelu(graph: &mut Builder, name: &str, input: &str) -> String {
    let scaled = graph.node(&format!("{name}.scaled"), "Div", &[input, "sqrt_2"], vec![]);
    let erf = graph.node(&format!("{name}.erf"), "Erf", &[&scaled], vec![]);
    let shifted = graph.node(&format!("{name}.shifted"), "Add", &[&erf, "f_one"], vec![]);
    let product = graph.node(&format!("{name}.product"), "Mul", &[input, &shifted], vec![]);
    graph.node(name, "Mul", &[&product, "f_half"], vec![])
}

/// `[batch, sequence, hidden]` → `[batch, hidden]`, padding left out.
pub(super) fn pool(graph: &mut Builder, pooling: Pooling, hidden: &str) -> String {
    match pooling {
        Pooling::Mean => {
            let mask = graph.node("pool.mask", "Cast", &["attention_mask"], vec![Attribute::int("to", 1)]);
            let row = graph.node("pool.row", "Unsqueeze", &[&mask, "axis_1"], vec![]);
            let sum = graph.node("pool.sum", "MatMul", &[&row, hidden], vec![]);
            let sum = graph.node("pool.flat", "Squeeze", &[&sum, "axis_1"], vec![]);
            let count = graph.node("pool.count", "ReduceSum", &[&mask, "axis_1"], vec![Attribute::int("keepdims", 1)]);
            graph.scalar("least_count", 1e-9);
            let count = graph.node("pool.count.safe", "Max", &[&count, "least_count"], vec![]);
            graph.node("pool.mean", "Div", &[&sum, &count], vec![])
        }
        Pooling::Cls => {
            let first = graph.node("pool.first", "Gather", &[hidden, "zero"], vec![Attribute::int("axis", 1)]);
            graph.node("pool.cls", "Squeeze", &[&first, "axis_1"], vec![])
        }
        Pooling::Last => {
            let count = graph.node("pool.count", "ReduceSum", &["attention_mask", "axis_1"], vec![Attribute::int("keepdims", 1)]);
            let last = graph.node("pool.index", "Sub", &[&count, "one"], vec![]);
            graph.node("pool.last", "GatherND", &[hidden, &last], vec![Attribute::int("batch_dims", 1)])
        }
    }
}

pub(super) fn finish(graph: &mut Builder, pooled: &str, normalize: bool) {
    if normalize {
        let along = vec![Attribute::ints("axes", &[-1]), Attribute::int("keepdims", 1)];
        let norm = graph.node("norm.length", "ReduceL2", &[pooled], along);
        graph.scalar("least_norm", 1e-12);
        let norm = graph.node("norm.safe", "Max", &[&norm, "least_norm"], vec![]);
        graph.node("embedding", "Div", &[pooled, &norm], vec![]);
    } else {
        graph.node("embedding", "Identity", &[pooled], vec![]);
    }
}

fn dense(
    graph: &mut Builder,
    tensors: &Tensors,
    name: &str,
    source: &str,
    inputs: usize,
    outputs: usize,
    input: &str,
) -> Result<String, SourceError> {
    let weight = tensors.matrix(&format!("{source}.weight"), outputs, inputs)?.transposed();
    let bias = tensors.vector(&format!("{source}.bias"), outputs)?;
    Ok(linear(graph, name, &weight, &bias, input))
}

/// `weight`: `[in, out]`.
fn linear(graph: &mut Builder, name: &str, weight: &Tensor, bias: &Tensor, input: &str) -> String {
    let weight = graph.weight(&format!("{name}.weight"), &weight.dims, &weight.values);
    let bias = graph.weight(&format!("{name}.bias"), &bias.dims, &bias.values);
    let product = graph.node(&format!("{name}.product"), "MatMul", &[input, &weight], vec![]);
    graph.node(name, "Add", &[&product, &bias], vec![])
}

fn layer_norm(
    graph: &mut Builder,
    config: &Config,
    tensors: &Tensors,
    name: &str,
    source: &str,
    input: &str,
) -> Result<String, SourceError> {
    let scale = tensors.vector(&format!("{source}.weight"), config.hidden_size)?;
    let bias = tensors.vector(&format!("{source}.bias"), config.hidden_size)?;
    let scale = graph.weight(&format!("{name}.weight"), &scale.dims, &scale.values);
    let bias = graph.weight(&format!("{name}.bias"), &bias.dims, &bias.values);
    let attributes = vec![Attribute::int("axis", -1), Attribute::float("epsilon", config.layer_norm_eps)];
    Ok(graph.node(name, "LayerNormalization", &[input, &scale, &bias], attributes))
}
