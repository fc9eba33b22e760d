//! ModernBERT: what its config.json says, and its graph for the CPU (padded, fp32). Local layers see `window` tokens to
//! either side, by a band added to the scores; positions turn query and key (rotary embedding) instead of a table.

use em_api::spec::Pooling;
use serde::Deserialize;

use super::bert::finish;
use super::onnx::{Attribute, Builder, ModelProto};
use super::source::{Fields, SourceError, Tensor, Tensors};

#[derive(Clone, Debug)]
pub(crate) struct ModernConfig {
    pub(crate) hidden_size: usize,
    pub(crate) num_attention_heads: usize,
    pub(crate) intermediate_size: usize,
    pub(crate) max_position_embeddings: usize,
    pub(crate) vocab_size: usize,
    pub(crate) norm_eps: f32,
    pub(crate) layers: Vec<Layer>,
    /// Tokens to either side that a local layer sees.
    pub(crate) window: usize,
    pub(crate) global_theta: f64,
    pub(crate) local_theta: f64,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Layer {
    pub(crate) local: bool,
}

#[derive(Deserialize)]
struct Raw {
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    intermediate_size: usize,
    max_position_embeddings: usize,
    vocab_size: usize,
    #[serde(default = "norm_eps")]
    norm_eps: f32,
    local_attention: usize,
    #[serde(default = "every_third")]
    global_attn_every_n_layers: usize,
    layer_types: Option<Vec<String>>,
    global_rope_theta: Option<f64>,
    local_rope_theta: Option<f64>,
    rope_parameters: Option<RopeParameters>,
}

/// As transformers 5 writes it.
#[derive(Deserialize)]
struct RopeParameters {
    full_attention: Option<Rope>,
    sliding_attention: Option<Rope>,
}

#[derive(Deserialize)]
struct Rope {
    rope_theta: f64,
    #[serde(default)]
    rope_type: Option<String>,
}

fn norm_eps() -> f32 {
    1e-5
}

fn every_third() -> usize {
    3
}

const GLOBAL_THETA: f64 = 160_000.0;
const LOCAL_THETA: f64 = 10_000.0;

impl ModernConfig {
    pub(super) fn read(fields: &Fields) -> Result<Self, SourceError> {
        fields.require("hidden_activation", "gelu", &["gelu"], "gelu")?;
        for field in ["attention_bias", "mlp_bias", "norm_bias"] {
            if fields.value.get(field).and_then(serde_json::Value::as_bool) == Some(true) {
                return Err(fields.unsupported(field, "true".into(), "false"));
            }
        }
        let raw: Raw = fields.parse()?;
        fields.heads(raw.num_attention_heads, raw.hidden_size)?;
        if !(raw.hidden_size / raw.num_attention_heads).is_multiple_of(2) {
            let found = raw.num_attention_heads.to_string();
            return Err(fields.unsupported("num_attention_heads", found, "heads of an even size"));
        }
        let every = raw.global_attn_every_n_layers.max(1);
        let layers = match &raw.layer_types {
            None => (0..raw.num_hidden_layers).map(|layer| Layer { local: !layer.is_multiple_of(every) }).collect(),
            Some(types) if types.len() == raw.num_hidden_layers => {
                types.iter().map(|kind| layer(fields, kind)).collect::<Result<_, _>>()?
            }
            Some(types) => {
                let supported = "one for each of num_hidden_layers";
                return Err(fields.unsupported("layer_types", format!("{} layers", types.len()), supported));
            }
        };
        let rope = raw.rope_parameters.as_ref();
        let theta = |of: fn(&RopeParameters) -> Option<&Rope>, own: Option<f64>, default: f64| match rope.and_then(of) {
            Some(Rope { rope_type: Some(kind), .. }) if kind != "default" => {
                Err(fields.unsupported("rope_parameters", kind.clone(), "the type default"))
            }
            Some(rope) => Ok(rope.rope_theta),
            None => Ok(own.unwrap_or(default)),
        };
        Ok(Self {
            hidden_size: raw.hidden_size,
            num_attention_heads: raw.num_attention_heads,
            intermediate_size: raw.intermediate_size,
            max_position_embeddings: raw.max_position_embeddings,
            vocab_size: raw.vocab_size,
            norm_eps: raw.norm_eps,
            layers,
            window: raw.local_attention / 2,
            global_theta: theta(|rope| rope.full_attention.as_ref(), raw.global_rope_theta, GLOBAL_THETA)?,
            local_theta: theta(|rope| rope.sliding_attention.as_ref(), raw.local_rope_theta, LOCAL_THETA)?,
        })
    }

    pub(crate) fn head_size(&self) -> usize {
        self.hidden_size / self.num_attention_heads
    }

    /// Cosines and sines of each position's angles, each row `repeat` times: `[positions, repeat · head_size / 2]`.
    pub(crate) fn rotations(&self, theta: f64, positions: usize, repeat: usize) -> [Vec<f32>; 2] {
        let half = self.head_size() / 2;
        let frequency = |pair: usize| theta.powf(-(2.0 * pair as f64) / self.head_size() as f64);
        let frequencies: Vec<f64> = (0..repeat * half).map(|column| frequency(column % half)).collect();
        let table = |of: fn(f64) -> f64| {
            let rows = (0..positions).map(|position| position as f64);
            rows.flat_map(|position| frequencies.iter().map(move |frequency| of(position * frequency) as f32)).collect()
        };
        [table(f64::cos), table(f64::sin)]
    }

    /// The norm that follows a layer's feed-forward part: the next layer's first, or the last of all.
    pub(crate) fn norm_after(&self, layer: usize) -> String {
        if layer + 1 < self.layers.len() { format!("layers.{}.attn_norm.weight", layer + 1) } else { "final_norm.weight".into() }
    }
}

fn layer(fields: &Fields, kind: &str) -> Result<Layer, SourceError> {
    match kind {
        "full_attention" => Ok(Layer { local: false }),
        "sliding_attention" => Ok(Layer { local: true }),
        other => Err(fields.unsupported("layer_types", other.to_owned(), "full_attention, sliding_attention")),
    }
}

/// Inputs and output as [`super::bert::model`]'s.
pub(super) fn model(
    config: &ModernConfig,
    tensors: &Tensors,
    pooling: Pooling,
    normalize: bool,
) -> Result<ModelProto, SourceError> {
    let mut graph = Builder::default();
    graph.token_input("input_ids");
    graph.token_input("attention_mask");
    constants(&mut graph, config);
    biases(&mut graph, config);

    let words = tensors.matrix("embeddings.tok_embeddings.weight", config.vocab_size, config.hidden_size)?;
    graph.weight("words", &words.dims, &words.values);
    let words = graph.node("embed.words", "Gather", &["words", "input_ids"], vec![]);
    let mut hidden = norm(&mut graph, config, tensors, "embed.norm", "embeddings.norm.weight", &words)?;
    let mut normed = hidden.clone();
    for layer in 0..config.layers.len() {
        let attended = attention(&mut graph, config, tensors, layer, &normed)?;
        hidden = graph.node(&format!("layer{layer}.attended.sum"), "Add", &[&attended, &hidden], vec![]);
        let source = format!("layers.{layer}.mlp_norm.weight");
        normed = norm(&mut graph, config, tensors, &format!("layer{layer}.attended.norm"), &source, &hidden)?;
        let outer = feed_forward(&mut graph, config, tensors, layer, &normed)?;
        hidden = graph.node(&format!("layer{layer}.outer.sum"), "Add", &[&outer, &hidden], vec![]);
        normed = norm(&mut graph, config, tensors, &format!("layer{layer}.outer.norm"), &config.norm_after(layer), &hidden)?;
    }
    let pooled = pool(&mut graph, pooling, &normed);
    finish(&mut graph, &pooled, normalize);
    graph.vector_output("embedding", config.hidden_size);
    Ok(graph.finish("modernbert"))
}

fn constants(graph: &mut Builder, config: &ModernConfig) {
    graph.ints("axis_0", &[0]);
    graph.ints("axis_1", &[1]);
    graph.ints("axes_1_2", &[1, 2]);
    graph.ints("axes_0_1", &[0, 1]);
    graph.ints("zero", &[0]);
    graph.ints("one", &[1]);
    graph.whole("first", 0);
    graph.whole("step", 1);
    graph.scalar("f_zero", 0.0);
    graph.scalar("f_one", 1.0);
    // Added to a score it makes the share exactly 0, also twice.
    graph.scalar("lowest", -1e9);
    for (name, theta) in [("global", config.global_theta), ("local", config.local_theta)] {
        let [cos, sin] = config.rotations(theta, config.max_position_embeddings, 1);
        let dims = [config.max_position_embeddings, config.head_size() / 2];
        graph.weight(&format!("{name}.cos"), &dims, &cos);
        graph.weight(&format!("{name}.sin"), &dims, &sin);
    }
}

/// `bias.global`, `bias.local`: `[batch, 1, sequence, sequence]`, 0 where a token sees another.
fn biases(graph: &mut Builder, config: &ModernConfig) {
    let mask = graph.node("mask.wide", "Unsqueeze", &["attention_mask", "axes_1_2"], vec![]);
    let mask = graph.node("mask.float", "Cast", &[&mask], vec![Attribute::int("to", 1)]);
    let inverse = graph.node("mask.inverse", "Sub", &["f_one", &mask], vec![]);
    let padding = graph.node("mask.bias", "Mul", &[&inverse, "lowest"], vec![]);

    let shape = graph.node("mask.shape", "Shape", &["input_ids"], vec![]);
    let length = graph.node("mask.length", "Gather", &[&shape, "step"], vec![]);
    let places = graph.node("mask.places", "Range", &["first", &length, "step"], vec![]);
    let row = graph.node("mask.row", "Unsqueeze", &[&places, "axis_0"], vec![]);
    let column = graph.node("mask.column", "Unsqueeze", &[&places, "axis_1"], vec![]);
    let apart = graph.node("mask.apart", "Sub", &[&row, &column], vec![]);
    let apart = graph.node("mask.distance", "Abs", &[&apart], vec![]);
    // How far a token sees.
    for (name, reach) in [("local", config.window), ("global", config.max_position_embeddings)] {
        let reach = graph.whole(&format!("mask.{name}.reach"), reach as i64);
        let near = graph.node(&format!("mask.{name}.near"), "LessOrEqual", &[&apart, &reach], vec![]);
        let band = graph.node(&format!("mask.{name}.band"), "Where", &[&near, "f_zero", "lowest"], vec![]);
        let band = graph.node(&format!("mask.{name}.wide"), "Unsqueeze", &[&band, "axes_0_1"], vec![]);
        graph.node(&format!("bias.{name}"), "Add", &[&padding, &band], vec![]);
    }
}

fn attention(
    graph: &mut Builder,
    config: &ModernConfig,
    tensors: &Tensors,
    layer: usize,
    input: &str,
) -> Result<String, SourceError> {
    let kind = if config.layers[layer].local { "local" } else { "global" };
    let name = |part: &str| format!("layer{layer}.{part}");
    let (hidden, heads) = (config.hidden_size, config.num_attention_heads as i64);
    let all = tensors.matrix(&format!("layers.{layer}.attn.Wqkv.weight"), 3 * hidden, hidden)?;
    let mut part = |place: usize, part: &str, turned: bool| {
        let product = graph.product(&name(part), input, &all.rows(place * hidden, (place + 1) * hidden));
        if !turned {
            return product;
        }
        let inputs = [product.as_str(), "zero", &format!("{kind}.cos"), &format!("{kind}.sin")];
        graph.contrib(&name(&format!("{part}.turned")), "RotaryEmbedding", &inputs, vec![Attribute::int("num_heads", heads)])
    };
    let (query, key, value) = (part(0, "query", true), part(1, "key", true), part(2, "value", false));
    let inputs = [query.as_str(), &key, &value, "", "", &format!("bias.{kind}")];
    let context = graph.contrib(&name("context"), "MultiHeadAttention", &inputs, vec![Attribute::int("num_heads", heads)]);
    let weight = tensors.matrix(&format!("layers.{layer}.attn.Wo.weight"), hidden, hidden)?;
    Ok(graph.product(&name("attended"), &context, &weight))
}

/// `Wo · (gelu(left) · right)`, where left and right are the halves of Wi.
fn feed_forward(
    graph: &mut Builder,
    config: &ModernConfig,
    tensors: &Tensors,
    layer: usize,
    input: &str,
) -> Result<String, SourceError> {
    let name = |part: &str| format!("layer{layer}.{part}");
    let (hidden, wide) = (config.hidden_size, config.intermediate_size);
    let both = tensors.matrix(&format!("layers.{layer}.mlp.Wi.weight"), 2 * wide, hidden)?;
    let outer = tensors.matrix(&format!("layers.{layer}.mlp.Wo.weight"), hidden, wide)?;
    let active = gated(graph, &name("inner"), &both, wide, input);
    Ok(graph.product(&name("outer"), &active, &outer))
}

/// `gelu(left) · right` by two products; the general form, for any width.
pub(super) fn gated(graph: &mut Builder, name: &str, both: &Tensor, wide: usize, input: &str) -> String {
    let mut half = |part: &str, from: usize| graph.product(&format!("{name}.{part}"), input, &both.rows(from, from + wide));
    let (left, right) = (half("left", 0), half("right", wide));
    let active = graph.contrib(&format!("{name}.gelu"), "Gelu", &[&left], vec![]);
    graph.node(&format!("{name}.gated"), "Mul", &[&active, &right], vec![])
}

fn norm(
    graph: &mut Builder,
    config: &ModernConfig,
    tensors: &Tensors,
    name: &str,
    source: &str,
    input: &str,
) -> Result<String, SourceError> {
    let scale = tensors.vector(source, config.hidden_size)?;
    let scale = graph.weight(&format!("{name}.weight"), &scale.dims, &scale.values);
    let attributes = vec![Attribute::int("axis", -1), Attribute::float("epsilon", config.norm_eps)];
    Ok(graph.node(name, "LayerNormalization", &[input, &scale], attributes))
}

/// `[batch, sequence, hidden]` → `[batch, hidden]`, padding left out.
fn pool(graph: &mut Builder, pooling: Pooling, hidden: &str) -> String {
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
