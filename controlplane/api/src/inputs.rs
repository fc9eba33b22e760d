//! The input store under the job directory tree: models, data sets, environments. `em-agent setup` fills it, the
//! control plane looks whether an experiment's inputs are there, the agent uses them. A part exists when its manifest
//! does: manifests are written last, by rename.
//!
//! ```text
//! store/models/{id with / as --}@{revision}/            safetensors folder, as sentence-transformers reads it; onnx/ beside
//! store/datasets/{source}-{hash8}/texts.txt.zst|.tsv…   what the loader of that source reads
//! store/envs/{backend}-{lockhash8}/                     Python environment of vllm and huggingface
//! store/lib/onnxruntime-{version}/                      shared library of ONNX Runtime for ort
//! store/manifests/{model|dataset|backend}-{key}.json    an Entry each
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::Timestamp;
use crate::spec::{BackendKind, DatasetSource, Model};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EntryKind {
    Model,
    Dataset,
    Backend,
}

/// A manifest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    pub kind: EntryKind,
    /// [`model_key`], the data set's source, or the backend kind.
    pub key: String,
    /// Relative to the store.
    pub path: String,
    /// Of the content (model weights, data set file, lock file); SHA-256, hex.
    pub sha256: String,
    pub created_at: Timestamp,
    /// `python` (interpreter, relative to the store), `library` (libonnxruntime, relative), versions, counts …
    #[serde(default)]
    pub details: BTreeMap<String, String>,
}

/// `sentence-transformers/all-MiniLM-L6-v2` at `main` → `sentence-transformers--all-MiniLM-L6-v2@main`.
pub fn model_key(id: &str, revision: &str) -> String {
    format!("{}@{}", id.replace('/', "--"), revision.replace('/', "--"))
}

pub fn manifest_path(store: &Path, kind: EntryKind, key: &str) -> PathBuf {
    let kind = match kind {
        EntryKind::Model => "model",
        EntryKind::Dataset => "dataset",
        EntryKind::Backend => "backend",
    };
    store.join("manifests").join(format!("{kind}-{key}.json"))
}

/// What an experiment needs of the store: kind, key, and how a person would name it. `tei` and `openai` start nothing of ours;
/// a backend with its own `python` or `command` brings its environment, a model or data set with a `path` is where the user says.
pub fn required(spec: &crate::spec::Spec) -> Vec<(EntryKind, String)> {
    let mut needed = Vec::new();
    if spec.model.path.is_none() {
        needed.push((EntryKind::Model, key_of(&spec.model)));
    }
    if spec.dataset.path.is_none() {
        needed.push((EntryKind::Dataset, dataset_key(spec.dataset.source)));
    }
    for backend in &spec.backends {
        let ours = matches!(backend.kind, BackendKind::Ort | BackendKind::Vllm | BackendKind::Huggingface);
        let own = backend.python.is_some() || backend.command.is_some() || backend.url.is_some();
        let key = backend.kind.as_str().to_owned();
        if ours && !own && !needed.contains(&(EntryKind::Backend, key.clone())) {
            needed.push((EntryKind::Backend, key));
        }
    }
    needed
}

pub fn key_of(model: &Model) -> String {
    model_key(&model.id, &model.revision)
}

pub fn dataset_key(source: DatasetSource) -> String {
    source.as_str().to_owned()
}
