//! A random BERT of two layers in a temporary folder, as Hugging Face and sentence-transformers would have written it, with
//! a tokenizer of words `w0 … w40` that bakes in padding to 12 and truncation to 8 (as MiniLM's does).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::{Value, json};

/// Heads of eight numbers: the CUDA operators want multiples of that.
pub(super) const HIDDEN: usize = 32;
pub(super) const HEADS: usize = 4;
pub(super) const INNER: usize = 40;
pub(super) const LAYERS: usize = 2;
pub(super) const POSITIONS: usize = 32;
/// [PAD], [UNK], [CLS], [SEP], w0 … w40.
pub(super) const VOCABULARY: usize = 45;
pub(super) const EPSILON: f64 = 1e-6;

pub(super) type Weights = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

pub(super) struct Model {
    folder: tempfile::TempDir,
    pub(super) weights: Weights,
}

impl Model {
    pub(super) fn new(seed: u64) -> Self {
        Self::of(&config(), random(seed, shapes()))
    }

    /// With the tokenizer and pooling of [`Model::new`].
    pub(super) fn of(config: &Value, weights: Weights) -> Self {
        let model = Self { folder: tempfile::tempdir().expect("a temporary folder"), weights };
        model.json("config.json", config);
        model.json("tokenizer.json", &tokenizer());
        model.pooling(&["mean_tokens"]);
        model.save("", Dtype::F32);
        model
    }

    pub(super) fn dir(&self) -> &Path {
        self.folder.path()
    }

    pub(super) fn pooling(&self, modes: &[&str]) {
        self.json(
            "modules.json",
            &json!([
                {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
                {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
                {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
            ]),
        );
        let mut config = serde_json::Map::from_iter([("word_embedding_dimension".to_owned(), json!(HIDDEN))]);
        for mode in ["cls_token", "mean_tokens", "max_tokens", "lasttoken"] {
            config.insert(format!("pooling_mode_{mode}"), json!(modes.contains(&mode)));
        }
        self.json("1_Pooling/config.json", &Value::Object(config));
    }

    pub(super) fn json(&self, name: &str, value: &Value) {
        let path = self.dir().join(name);
        std::fs::create_dir_all(path.parent().expect("inside the folder")).expect("a folder");
        std::fs::write(path, value.to_string()).expect("a file");
    }

    pub(super) fn with_config(self, field: &str, value: Value) -> Self {
        let mut config = config();
        config[field] = value;
        self.json("config.json", &config);
        self
    }

    /// Writes the weights, and keeps what a reader will see of them.
    pub(super) fn rounded(mut self, prefix: &str, dtype: Dtype) -> Self {
        for (_, values) in self.weights.values_mut() {
            for value in values {
                *value = match dtype {
                    Dtype::F16 => half::f16::from_f32(*value).to_f32(),
                    Dtype::BF16 => half::bf16::from_f32(*value).to_f32(),
                    _ => *value,
                };
            }
        }
        self.save(prefix, dtype);
        self
    }

    pub(super) fn save(&self, prefix: &str, dtype: Dtype) -> PathBuf {
        let bytes = self.weights.iter().map(|(name, (dims, values))| {
            let data: Vec<u8> = match dtype {
                Dtype::F16 => values.iter().flat_map(|value| half::f16::from_f32(*value).to_le_bytes()).collect(),
                Dtype::BF16 => values.iter().flat_map(|value| half::bf16::from_f32(*value).to_le_bytes()).collect(),
                _ => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            };
            (format!("{prefix}{name}"), dims.clone(), data)
        });
        let bytes: Vec<_> = bytes.collect();
        let views = bytes
            .iter()
            .map(|(name, dims, data)| (name, TensorView::new(dtype, dims.clone(), data).expect("as many bytes as the shape says")));
        let path = self.dir().join("model.safetensors");
        safetensors::serialize_to_file(views, None, &path).expect("a file");
        path
    }
}

/// Token ids of `[CLS] w… [SEP]`.
pub(super) fn ids(words: &[u32]) -> Vec<u32> {
    std::iter::once(2).chain(words.iter().map(|word| word + 4)).chain([3]).collect()
}

pub(super) fn text(words: &[u32]) -> String {
    words.iter().map(|word| format!("w{word}")).collect::<Vec<_>>().join(" ")
}

fn config() -> Value {
    json!({
        "model_type": "bert", "hidden_size": HIDDEN, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS,
        "intermediate_size": INNER, "max_position_embeddings": POSITIONS, "type_vocab_size": 2, "vocab_size": VOCABULARY,
        "layer_norm_eps": EPSILON, "hidden_act": "gelu",
    })
}

fn tokenizer() -> Value {
    let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"];
    let words = special.iter().map(|word| (*word).to_owned()).chain((0..).map(|number| format!("w{number}")));
    let vocabulary: serde_json::Map<_, _> = words.take(VOCABULARY).zip((0..).map(Value::from)).collect();
    json!({
        "version": "1.0",
        "truncation": {"max_length": 8, "strategy": "LongestFirst", "stride": 0, "direction": "Right"},
        "padding": {"strategy": {"Fixed": 12}, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"},
        "added_tokens": [], "normalizer": null, "decoder": null,
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "[SEP]", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
            "special_tokens": {"[CLS]": {"id": "[CLS]", "ids": [2], "tokens": ["[CLS]"]}, "[SEP]": {"id": "[SEP]", "ids": [3], "tokens": ["[SEP]"]}},
        },
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "[UNK]"},
    })
}

/// A tensor to make up: its name, its shape, and the number that its values lie around.
pub(super) type Made = (String, Vec<usize>, f32);

pub(super) fn random(seed: u64, shapes: Vec<Made>) -> Weights {
    let mut state = seed;
    let mut weights = Weights::new();
    for (name, dims, centre) in shapes {
        let values = (0..dims.iter().product()).map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            centre + ((state >> 40) as f32 / (1_u64 << 24) as f32 - 0.5) * 0.8
        });
        let values = values.collect();
        weights.insert(name, (dims, values));
    }
    weights
}

fn shapes() -> Vec<Made> {
    let mut shapes = Vec::new();
    let mut add = |name: String, dims: &[usize], centre: f32| shapes.push((name, dims.to_vec(), centre));
    add("embeddings.word_embeddings.weight".into(), &[VOCABULARY, HIDDEN], 0.0);
    add("embeddings.position_embeddings.weight".into(), &[POSITIONS, HIDDEN], 0.0);
    add("embeddings.token_type_embeddings.weight".into(), &[2, HIDDEN], 0.0);
    let mut norms = vec!["embeddings.LayerNorm".to_owned()];
    for layer in 0..LAYERS {
        let layer = format!("encoder.layer.{layer}");
        for (name, outputs, inputs) in [
            ("attention.self.query", HIDDEN, HIDDEN),
            ("attention.self.key", HIDDEN, HIDDEN),
            ("attention.self.value", HIDDEN, HIDDEN),
            ("attention.output.dense", HIDDEN, HIDDEN),
            ("intermediate.dense", INNER, HIDDEN),
            ("output.dense", HIDDEN, INNER),
        ] {
            add(format!("{layer}.{name}.weight"), &[outputs, inputs], 0.0);
            add(format!("{layer}.{name}.bias"), &[outputs], 0.0);
        }
        norms.extend([format!("{layer}.attention.output.LayerNorm"), format!("{layer}.output.LayerNorm")]);
    }
    for norm in norms {
        add(format!("{norm}.weight"), &[HIDDEN], 1.0);
        add(format!("{norm}.bias"), &[HIDDEN], 0.0);
    }
    shapes
}
