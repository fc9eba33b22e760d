//! Reads a model folder as Hugging Face and sentence-transformers write it: config.json, model.safetensors, modules.json
//! with its pooling, sentence_bert_config.json. Refuses by name what the graph cannot express.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use em_api::spec::Pooling;
use memmap2::Mmap;
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use super::modern::ModernConfig;

const WEIGHTS: &str = "model.safetensors";

#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    #[error("{} cannot be read: give a folder with config.json, model.safetensors and tokenizer.json", path.display())]
    Unreadable {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{} is not the JSON that transformers and sentence-transformers write", path.display())]
    Malformed {
        path: PathBuf,
        #[source]
        source: serde_json::Error,
    },
    #[error("{}: {field} is {found:?}; supported: {supported}. The backends vllm and huggingface run other models", path.display())]
    Unsupported { path: PathBuf, field: &'static str, found: String, supported: &'static str },
    #[error("{} is not a whole safetensors file: download the model again", path.display())]
    Weights {
        path: PathBuf,
        #[source]
        source: safetensors::SafeTensorError,
    },
    #[error("{} has no tensor {name} of shape {expected:?}, which config.json promises (found {found})", path.display())]
    Tensor { path: PathBuf, name: String, expected: Vec<usize>, found: String },
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Config {
    pub(crate) model_type: String,
    pub(crate) hidden_size: usize,
    pub(crate) num_hidden_layers: usize,
    pub(crate) num_attention_heads: usize,
    pub(crate) intermediate_size: usize,
    pub(crate) max_position_embeddings: usize,
    pub(crate) type_vocab_size: usize,
    pub(crate) vocab_size: usize,
    pub(crate) layer_norm_eps: f32,
    pub(crate) hidden_act: Activation,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Activation {
    /// The exact one, by the error function.
    Gelu,
    Relu,
}

impl Config {
    pub(crate) fn head_size(&self) -> usize {
        self.hidden_size / self.num_attention_heads
    }

    /// The position table with the vector of token type 0 in each row: we know no other type.
    pub(crate) fn positions_with_type(&self, tensors: &Tensors) -> Result<Tensor, SourceError> {
        let hidden = self.hidden_size;
        let mut positions = tensors.matrix("embeddings.position_embeddings.weight", self.max_position_embeddings, hidden)?;
        let types = tensors.matrix("embeddings.token_type_embeddings.weight", self.type_vocab_size, hidden)?;
        for row in positions.values.chunks_exact_mut(hidden) {
            row.iter_mut().zip(&types.values).for_each(|(position, first_type)| *position += first_type);
        }
        Ok(positions)
    }
}

/// What config.json describes, of what we can express.
#[derive(Clone, Debug)]
pub(crate) enum Architecture {
    Bert(Config),
    ModernBert(ModernConfig),
}

impl Architecture {
    fn read(dir: &Path) -> Result<Self, SourceError> {
        let path = dir.join("config.json");
        let value: serde_json::Value = read_json(&path)?;
        let fields = Fields { path: &path, value: &value };
        fields.require(
            "model_type",
            "absent",
            &["bert", "modernbert"],
            "bert (BERT, MiniLM, bge, e5, gte and others of that shape), modernbert",
        )?;
        if value["model_type"] == "modernbert" {
            return ModernConfig::read(&fields).map(Self::ModernBert);
        }
        fields.require("hidden_act", "gelu", &["gelu", "relu"], "gelu, relu")?;
        fields.require("position_embedding_type", "absolute", &["absolute"], "absolute")?;
        let config: Config = fields.parse()?;
        fields.heads(config.num_attention_heads, config.hidden_size)?;
        Ok(Self::Bert(config))
    }

    pub(crate) fn model_type(&self) -> &'static str {
        match self {
            Self::Bert(_) => "bert",
            Self::ModernBert(_) => "modernbert",
        }
    }

    /// Numbers of a vector.
    pub(crate) fn dim(&self) -> usize {
        match self {
            Self::Bert(config) => config.hidden_size,
            Self::ModernBert(config) => config.hidden_size,
        }
    }

    pub(crate) fn vocab_size(&self) -> usize {
        match self {
            Self::Bert(config) => config.vocab_size,
            Self::ModernBert(config) => config.vocab_size,
        }
    }

    fn positions(&self) -> usize {
        match self {
            Self::Bert(config) => config.max_position_embeddings,
            Self::ModernBert(config) => config.max_position_embeddings,
        }
    }

    /// How many tokens to either side the local layers see; `None` where every layer sees the whole text.
    pub(crate) fn window(&self) -> Option<usize> {
        match self {
            Self::Bert(_) => None,
            Self::ModernBert(config) => config.layers.iter().any(|layer| layer.local).then_some(config.window),
        }
    }
}

/// The raw fields of a config.json, for refusals that name field and file.
pub(super) struct Fields<'a> {
    path: &'a Path,
    pub(super) value: &'a serde_json::Value,
}

impl Fields<'_> {
    pub(super) fn require(
        &self,
        field: &'static str,
        default: &str,
        allowed: &[&str],
        supported: &'static str,
    ) -> Result<(), SourceError> {
        let found = self.value.get(field).and_then(|value| value.as_str()).unwrap_or(default).to_owned();
        if allowed.contains(&found.as_str()) {
            return Ok(());
        }
        Err(self.unsupported(field, found, supported))
    }

    pub(super) fn heads(&self, heads: usize, hidden: usize) -> Result<(), SourceError> {
        if heads == 0 || !hidden.is_multiple_of(heads) {
            return Err(self.unsupported("num_attention_heads", heads.to_string(), "a divisor of hidden_size"));
        }
        Ok(())
    }

    pub(super) fn unsupported(&self, field: &'static str, found: String, supported: &'static str) -> SourceError {
        SourceError::Unsupported { path: self.path.to_owned(), field, found, supported }
    }

    pub(super) fn parse<T: DeserializeOwned>(&self) -> Result<T, SourceError> {
        serde_json::from_value(self.value.clone()).map_err(|source| SourceError::Malformed { path: self.path.to_owned(), source })
    }
}

/// What the small files of a model folder say.
pub(crate) struct Folder {
    dir: PathBuf,
    pub(crate) architecture: Architecture,
    pub(crate) pooling: Pooling,
    /// Tokens, special ones included; never above the position table.
    pub(crate) max_length: usize,
}

/// Tells unchanged weights without reading them.
pub(crate) struct Stamp {
    pub(crate) bytes: u64,
    /// Seconds since 1970.
    pub(crate) modified: u64,
}

impl Folder {
    pub(crate) fn read(dir: &Path) -> Result<Self, SourceError> {
        let architecture = Architecture::read(dir)?;
        let pooling = pooling(dir)?;
        let max_length = stated_length(dir)?.unwrap_or(usize::MAX).min(architecture.positions());
        Ok(Self { dir: dir.to_owned(), architecture, pooling, max_length })
    }

    pub(crate) fn stamp(&self) -> Result<Stamp, SourceError> {
        let path = self.dir.join(WEIGHTS);
        let unreadable = |source| SourceError::Unreadable { path: path.clone(), source };
        let metadata = std::fs::metadata(&path).map_err(unreadable)?;
        let modified = metadata.modified().map_err(unreadable)?;
        Ok(Stamp { bytes: metadata.len(), modified: modified.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()) })
    }

    pub(crate) fn tensors(&self) -> Result<Tensors, SourceError> {
        let path = self.dir.join(WEIGHTS);
        let unreadable = |source| SourceError::Unreadable { path: path.clone(), source };
        let file = File::open(&path).map_err(unreadable)?;
        // SAFETY: a mapped file must not be changed in place; the store replaces files by rename.
        let map = unsafe { Mmap::map(&file) }.map_err(unreadable)?;
        SafeTensors::deserialize(&map).map_err(|source| SourceError::Weights { path: path.clone(), source })?;
        Ok(Tensors { path, map })
    }
}

/// Of sentence-transformers' module list; without one the library itself takes the mean, and so do we.
fn pooling(dir: &Path) -> Result<Pooling, SourceError> {
    #[derive(Deserialize)]
    struct Module {
        path: String,
        #[serde(rename = "type")]
        kind: String,
    }
    let path = dir.join("modules.json");
    let mut pooling = Pooling::Mean;
    for module in read_optional::<Vec<Module>>(&path)?.unwrap_or_default() {
        match module.kind.rsplit('.').next() {
            Some("Transformer" | "Normalize") => {}
            Some("Pooling") => pooling = pooling_of(&dir.join(module.path).join("config.json"))?,
            _ => {
                let supported = "Transformer, Pooling, Normalize";
                return Err(SourceError::Unsupported { path, field: "type", found: module.kind, supported });
            }
        }
    }
    Ok(pooling)
}

fn pooling_of(path: &Path) -> Result<Pooling, SourceError> {
    let value: serde_json::Map<String, serde_json::Value> = read_json(path)?;
    let mut modes: Vec<&str> = value
        .iter()
        .filter(|(_, on)| on.as_bool() == Some(true))
        .filter_map(|(key, _)| key.strip_prefix("pooling_mode_"))
        .collect();
    modes.extend(value.get("pooling_mode").and_then(|mode| mode.as_str()));
    match modes.as_slice() {
        ["mean" | "mean_tokens"] => Ok(Pooling::Mean),
        ["cls" | "cls_token"] => Ok(Pooling::Cls),
        ["lasttoken"] => Ok(Pooling::Last),
        other => Err(SourceError::Unsupported {
            path: path.to_owned(),
            field: "pooling_mode",
            found: other.join("+"),
            supported: "one of mean, cls, lasttoken",
        }),
    }
}

fn stated_length(dir: &Path) -> Result<Option<usize>, SourceError> {
    #[derive(Deserialize)]
    struct SentenceConfig {
        max_seq_length: Option<usize>,
    }
    #[derive(Deserialize)]
    struct TokenizerConfig {
        /// 1e30 where transformers knows none.
        model_max_length: Option<f64>,
    }
    if let Some(SentenceConfig { max_seq_length: Some(length) }) = read_optional(&dir.join("sentence_bert_config.json"))? {
        return Ok(Some(length));
    }
    let config: Option<TokenizerConfig> = read_optional(&dir.join("tokenizer_config.json"))?;
    Ok(config.and_then(|config| config.model_max_length).map(|length| length as usize))
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, SourceError> {
    let bytes = std::fs::read(path).map_err(|source| SourceError::Unreadable { path: path.to_owned(), source })?;
    serde_json::from_slice(&bytes).map_err(|source| SourceError::Malformed { path: path.to_owned(), source })
}

fn read_optional<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, SourceError> {
    match read_json(path) {
        Err(SourceError::Unreadable { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}

/// The weights of a folder, checked for shape and widened to f32 when taken.
pub(crate) struct Tensors {
    path: PathBuf,
    map: Mmap,
}

/// Row-major.
pub(crate) struct Tensor {
    pub(crate) dims: Vec<usize>,
    pub(crate) values: Vec<f32>,
}

impl Tensors {
    pub(crate) fn sha256(&self) -> String {
        hex::encode(Sha256::digest(&self.map))
    }

    pub(crate) fn matrix(&self, name: &str, rows: usize, columns: usize) -> Result<Tensor, SourceError> {
        self.take(name, vec![rows, columns])
    }

    pub(crate) fn vector(&self, name: &str, length: usize) -> Result<Tensor, SourceError> {
        self.take(name, vec![length])
    }

    /// Weights saved from a model with a head on top carry the prefix `bert.` or `model.`.
    fn take(&self, name: &str, dims: Vec<usize>) -> Result<Tensor, SourceError> {
        let missing =
            |found: String| SourceError::Tensor { path: self.path.clone(), name: name.to_owned(), expected: dims.clone(), found };
        let all = SafeTensors::deserialize(&self.map).map_err(|source| SourceError::Weights { path: self.path.clone(), source })?;
        let Some(view) = ["", "bert.", "model."].iter().find_map(|prefix| all.tensor(&format!("{prefix}{name}")).ok()) else {
            return Err(missing("none".into()));
        };
        if view.shape() != dims {
            return Err(missing(format!("{:?}", view.shape())));
        }
        let pair = |bytes: &[u8]| [bytes[0], bytes[1]];
        let data = view.data();
        let values = match view.dtype() {
            Dtype::F32 => data.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(),
            Dtype::F16 => data.chunks_exact(2).map(|b| half::f16::from_le_bytes(pair(b)).to_f32()).collect(),
            Dtype::BF16 => data.chunks_exact(2).map(|b| half::bf16::from_le_bytes(pair(b)).to_f32()).collect(),
            other => return Err(missing(format!("type {other:?}; F32, F16 and BF16 are read"))),
        };
        Ok(Tensor { dims, values })
    }
}

impl Tensor {
    pub(crate) fn transposed(&self) -> Self {
        let (rows, columns) = (self.dims[0], self.dims[1]);
        let mut values = vec![0.0; self.values.len()];
        for (row, line) in self.values.chunks_exact(columns).enumerate() {
            for (column, value) in line.iter().enumerate() {
                values[column * rows + row] = *value;
            }
        }
        Self { dims: vec![columns, rows], values }
    }

    /// The rows `from..to`.
    pub(crate) fn rows(&self, from: usize, to: usize) -> Self {
        let columns = self.dims[1];
        Self { dims: vec![to - from, columns], values: self.values[from * columns..to * columns].to_vec() }
    }

    /// Each head's rows reordered from halves to pairs: `0, n/2, 1, n/2 + 1, …`, as the interleaved rotary embedding wants.
    pub(crate) fn interleaved(&self, heads: usize) -> Self {
        let (rows, columns) = (self.dims[0], self.dims[1]);
        let size = rows / heads;
        let source = |row: usize| {
            let (head, place) = (row / size, row % size);
            head * size + place % 2 * (size / 2) + place / 2
        };
        let values = (0..rows).flat_map(|row| self.values[source(row) * columns..][..columns].to_vec()).collect();
        Self { dims: self.dims.clone(), values }
    }
}
