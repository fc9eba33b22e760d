//! The graph of a BERT-like encoder for the CPU, from token ids to one vector a text, without padding where it costs: all
//! texts of a batch lie one after another, and only attention spreads them out, one row a text, by gathering query, key and
//! value into place. Weights are stored as `[in, out]`, the query's with 1/√d in them, and the vectors of token type 0 lie in
//! the position table. Query, key and value are three products: as one they measured 1 to 3 % slower on the CPU.

use super::onnx::{Attribute, Builder, Dimension, ModelProto};
use super::source::{Activation, Config, SourceError, Tensor, Tensors};

/// T tokens of B texts, none longer than S. Inputs: `ids` i64 `[T]`; `places` i64 `[T]`, the token's place in its text; `rows`
/// i64 `[T]`, its text; `slots` i64 `[B, S]`, the token at each place of each text, any where there is none; `bias` f32
/// `[B, 1, 1, S]`, 0 for tokens and very low where there is none; `share` f32 `[B, T]`, of each token in its text's vector.
/// Output `embedding`: f32 `[B, hidden_size]`.
pub(crate) fn model(config: &Config, tensors: &Tensors, normalize: bool) -> Result<ModelProto, SourceError> {
    let mut graph = Builder::default();
    inputs(&mut graph);
    shared_constants(&mut graph, config);
    spread(&mut graph);

    let mut hidden = embeddings(&mut graph, config, tensors)?;
    for layer in 0..config.num_hidden_layers {
        hidden = attention(&mut graph, config, tensors, layer, &hidden)?;
        hidden = feed_forward(&mut graph, config, tensors, layer, &hidden)?;
    }
    let pooled = graph.node("pool", "MatMul", &["share", &hidden], vec![]);
    finish(&mut graph, &pooled, normalize);
    graph.vector_output("embedding", config.hidden_size);
    Ok(graph.finish(&config.model_type))
}

fn inputs(graph: &mut Builder) {
    let named = Dimension::named;
    for name in ["ids", "places", "rows"] {
        graph.input_i64(name, vec![named("tokens")]);
    }
    graph.input_i64("slots", vec![named("batch"), named("longest")]);
    graph.input_float("bias", vec![named("batch"), Dimension::fixed(1), Dimension::fixed(1), named("longest")]);
    graph.input_float("share", vec![named("batch"), named("tokens")]);
}

fn shared_constants(graph: &mut Builder, config: &Config) {
    let (heads, size) = (config.num_attention_heads, config.head_size());
    graph.ints("split_heads", &[-1, size as i64]);
    graph.ints("join_heads", &[-1, config.hidden_size as i64]);
    graph.ints("heads", &[heads as i64]);
    graph.ints("each_head", &(0..heads as i64).collect::<Vec<_>>());
    graph.ints("head_column", &[heads as i64, 1]);
    graph.ints("axis_1", &[1]);
    graph.ints("one", &[1]);
}

/// With heads as rows of their own (row = token · heads + head): `to_slots` `[B, heads, S]`, where each place of each text
/// takes its rows from, and `to_tokens` `[T, heads]`, where each token finds them again.
fn spread(graph: &mut Builder) {
    let slots = graph.node("slots.wide", "Unsqueeze", &["slots", "axis_1"], vec![]);
    let slots = graph.node("slots.first", "Mul", &[&slots, "heads"], vec![]);
    let column = graph.node("slots.heads", "Reshape", &["each_head", "head_column"], vec![]);
    graph.node("to_slots", "Add", &[&slots, &column], vec![]);

    let shape = graph.node("slots.shape", "Shape", &["slots"], vec![]);
    let longest = graph.node("slots.longest", "Gather", &[&shape, "one"], vec![]);
    let rows = graph.node("rows.wide", "Unsqueeze", &["rows", "axis_1"], vec![]);
    let rows = graph.node("rows.first", "Mul", &[&rows, "heads"], vec![]);
    let rows = graph.node("rows.heads", "Add", &[&rows, "each_head"], vec![]);
    let rows = graph.node("rows.start", "Mul", &[&rows, &longest], vec![]);
    let places = graph.node("places.wide", "Unsqueeze", &["places", "axis_1"], vec![]);
    graph.node("to_tokens", "Add", &[&rows, &places], vec![]);
}

fn embeddings(graph: &mut Builder, config: &Config, tensors: &Tensors) -> Result<String, SourceError> {
    let hidden = config.hidden_size;
    let words = tensors.matrix("embeddings.word_embeddings.weight", config.vocab_size, hidden)?;
    let positions = config.positions_with_type(tensors)?;
    graph.weight("words", &words.dims, &words.values);
    graph.weight("positions", &positions.dims, &positions.values);
    let words = graph.node("embed.words", "Gather", &["words", "ids"], vec![]);
    let positions = graph.node("embed.positions", "Gather", &["positions", "places"], vec![]);
    let sum = graph.node("embed.sum", "Add", &[&words, &positions], vec![]);
    layer_norm(graph, config, tensors, "embed.norm", "embeddings.LayerNorm", &sum)
}

fn attention(graph: &mut Builder, config: &Config, tensors: &Tensors, layer: usize, input: &str) -> Result<String, SourceError> {
    let source = format!("encoder.layer.{layer}.attention");
    let name = |part: &str| format!("layer{layer}.{part}");
    let hidden = config.hidden_size;
    let scale = (config.head_size() as f32).sqrt().recip();
    let mut heads = |part: &str, factor: f32| -> Result<String, SourceError> {
        let mut weight = tensors.matrix(&format!("{source}.self.{part}.weight"), hidden, hidden)?.transposed();
        let mut offset = tensors.vector(&format!("{source}.self.{part}.bias"), hidden)?;
        weight.values.iter_mut().chain(&mut offset.values).for_each(|value| *value *= factor);
        let shifted = linear(graph, &name(part), &weight, &offset, input);
        let apart = graph.node(&name(&format!("{part}.apart")), "Reshape", &[&shifted, "split_heads"], vec![]);
        Ok(graph.node(&name(&format!("{part}.heads")), "Gather", &[&apart, "to_slots"], vec![]))
    };
    let query = heads("query", scale)?;
    let key = heads("key", 1.0)?;
    let value = heads("value", 1.0)?;

    // Becomes part of the product.
    let key = graph.node(&name("key.turned"), "Transpose", &[&key], vec![Attribute::ints("perm", &[0, 1, 3, 2])]);
    let scores = graph.node(&name("scores"), "MatMul", &[&query, &key], vec![]);
    let masked = graph.node(&name("masked"), "Add", &[&scores, "bias"], vec![]);
    let shares = graph.node(&name("shares"), "Softmax", &[&masked], vec![Attribute::int("axis", -1)]);
    let context = graph.node(&name("context"), "MatMul", &[&shares, &value], vec![]);
    let context = graph.node(&name("context.apart"), "Reshape", &[&context, "split_heads"], vec![]);
    let context = graph.node(&name("context.tokens"), "Gather", &[&context, "to_tokens"], vec![]);
    let context = graph.node(&name("context.joined"), "Reshape", &[&context, "join_heads"], vec![]);
    add_and_norm(graph, config, tensors, &name("attended"), &format!("{source}.output"), hidden, [&context, input])
}

fn feed_forward(graph: &mut Builder, config: &Config, tensors: &Tensors, layer: usize, input: &str) -> Result<String, SourceError> {
    let source = format!("encoder.layer.{layer}");
    let name = |part: &str| format!("layer{layer}.{part}");
    let (hidden, wide) = (config.hidden_size, config.intermediate_size);
    let dense = format!("{source}.intermediate.dense");
    let weight = tensors.matrix(&format!("{dense}.weight"), wide, hidden)?.transposed();
    let offset = tensors.vector(&format!("{dense}.bias"), wide)?;
    let inner = linear(graph, &name("inner"), &weight, &offset, input);
    let active = match config.hidden_act {
        Activation::Gelu => graph.contrib(&name("gelu"), "Gelu", &[&inner], vec![]),
        Activation::Relu => graph.node(&name("relu"), "Relu", &[&inner], vec![]),
    };
    add_and_norm(graph, config, tensors, &name("outer"), &format!("{source}.output"), wide, [&active, input])
}

/// Dense, its bias, the way around it, and the norm: `inputs` are what goes through the dense layer and what goes around.
fn add_and_norm(
    graph: &mut Builder,
    config: &Config,
    tensors: &Tensors,
    name: &str,
    source: &str,
    width: usize,
    inputs: [&str; 2],
) -> Result<String, SourceError> {
    let weight = tensors.matrix(&format!("{source}.dense.weight"), config.hidden_size, width)?.transposed();
    let offset = tensors.vector(&format!("{source}.dense.bias"), config.hidden_size)?;
    let dense = linear(graph, name, &weight, &offset, inputs[0]);
    let sum = graph.node(&format!("{name}.sum"), "Add", &[&dense, inputs[1]], vec![]);
    layer_norm(graph, config, tensors, &format!("{name}.norm"), &format!("{source}.LayerNorm"), &sum)
}

/// `weight`: `[in, out]`. The product takes the bias along; as operators of their own, or inside Gelu and the norm
/// (`BiasGelu`, `SkipLayerNormalization`), all measured 8 to 10 % slower.
fn linear(graph: &mut Builder, name: &str, weight: &Tensor, bias: &Tensor, input: &str) -> String {
    let weight = graph.weight(&format!("{name}.weight"), &weight.dims, &weight.values);
    let bias = graph.weight(&format!("{name}.bias"), &bias.dims, &bias.values);
    graph.node(name, "Gemm", &[input, &weight, &bias], vec![])
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
