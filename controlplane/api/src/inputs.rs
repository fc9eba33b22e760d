//! The input store under the job directory tree: models, data sets, environments. `em-agent setup` and `em-agent data prepare` fill it, the
//! control plane looks whether an experiment's inputs are there, the agent uses them. A part exists when its manifest
//! does: manifests are written last, by rename.
//!
//! ```text
//! store/models/{id with / as --}@{revision}/            safetensors folder, as sentence-transformers reads it; onnx/ beside
//! store/datasets/{source}-{hash8}/texts.txt|.jsonl       the built-in one, and what `em-agent data prepare` made of a user's
//! store/envs/{backend}-{lockhash8}/                     Python environment of vllm and huggingface
//! store/lib/onnxruntime-{version}/                      shared library of ONNX Runtime for ort
//! store/manifests/{model|dataset|backend}-{key}.json    an Entry each
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::Timestamp;
use crate::spec::{BackendKind, DatasetSource, Device, Model, Spec};

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
pub fn required(spec: &Spec) -> Vec<(EntryKind, String)> {
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

/// What of it the store lacks; reads the disk.
pub fn missing(store: &Path, spec: &Spec) -> Vec<(EntryKind, String)> {
    required(spec).into_iter().filter(|(kind, key)| !manifest_path(store, *kind, key).is_file()).collect()
}

/// The words after `em-agent` of the commands that bring what is missing, in their order: `setup`, then `data prepare` for a data set
/// that only the user has. `profile`: `None` is `gpu` where the experiment computes on GPUs. `from`: the user's files.
pub fn commands(
    spec: &Spec,
    store: &Path,
    missing: &[(EntryKind, String)],
    profile: Option<&str>,
    from: Option<&str>,
) -> Vec<Vec<String>> {
    let own = own_data(missing);
    let mut commands = Vec::new();
    if missing.len() > usize::from(own.is_some()) {
        commands.push(setup_words(spec, store, missing, profile));
    }
    commands.extend(own.map(|key| data_words(store, key, from)));
    commands
}

/// The missing data set that nobody can fetch, if there is one.
pub fn own_data(missing: &[(EntryKind, String)]) -> Option<&str> {
    missing.iter().find(|(kind, key)| *kind == EntryKind::Dataset && key != BUILT_IN).map(|(_, key)| key.as_str())
}

/// The words after `em-agent` that bring the data set `key`; without `from` its files are `PATH`.
pub fn data_words(store: &Path, key: &str, from: Option<&str>) -> Vec<String> {
    let store = store.to_string_lossy();
    ["data", "prepare", "--store", &store, "--source", key, "--from", from.unwrap_or("PATH")].map(str::to_owned).into()
}

fn setup_words(spec: &Spec, store: &Path, missing: &[(EntryKind, String)], profile: Option<&str>) -> Vec<String> {
    let of = |wanted: EntryKind| missing.iter().filter(move |(kind, _)| *kind == wanted).map(|(_, key)| key.as_str());
    let mut words: Vec<String> = ["setup", "--store"].map(str::to_owned).into();
    words.push(store.to_string_lossy().into_owned());
    let mut push = |name: &str, value: &str| words.extend([name.to_owned(), value.to_owned()]);
    let backends: Vec<&str> = of(EntryKind::Backend).collect();
    if !backends.is_empty() {
        push("--backends", &backends.join(","));
        let on_gpus = spec.backends.iter().any(|backend| backend.device == Device::Cuda);
        if let Some(profile) = profile.or(on_gpus.then_some("gpu")) {
            push("--profile", profile);
        }
    }
    if of(EntryKind::Model).next().is_some() {
        push("--model", &spec.model.id);
        if spec.model.revision != "main" {
            push("--revision", &spec.model.revision);
        }
    }
    if of(EntryKind::Dataset).any(|key| key == BUILT_IN) {
        push("--dataset", BUILT_IN);
    }
    words
}

/// The data set that `setup` can fetch.
pub const BUILT_IN: &str = "wordnet";

pub fn key_of(model: &Model) -> String {
    model_key(&model.id, &model.revision)
}

pub fn dataset_key(source: DatasetSource) -> String {
    source.as_str().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_missing_is_asked_for() {
        let words = |device, missing: &[(EntryKind, &str)], profile| {
            let missing: Vec<_> = missing.iter().map(|(kind, key)| (*kind, (*key).to_owned())).collect();
            let commands = commands(&spec(device), Path::new("/srv/my store"), &missing, profile, None);
            commands.iter().map(|words| words.join(" ")).collect::<Vec<_>>().join(" && ")
        };
        let both = [(EntryKind::Model, "org--model@v1"), (EntryKind::Backend, "ort")];
        let begin = "setup --store /srv/my store";
        assert_eq!(words("cuda", &both, None), format!("{begin} --backends ort --profile gpu --model org/model --revision v1"));
        assert_eq!(words("cpu", &both[1..], Some("cuda12")), format!("{begin} --backends ort --profile cuda12"));
        assert_eq!(words("cpu", &[(EntryKind::Dataset, "wordnet")], None), format!("{begin} --dataset wordnet"));
        let data = "data prepare --store /srv/my store --source msmarco --from PATH";
        assert_eq!(words("cpu", &[(EntryKind::Dataset, "msmarco")], None), data, "setup would fetch what nobody asked for");
        let mixed = [(EntryKind::Dataset, "msmarco"), (EntryKind::Backend, "ort")];
        assert_eq!(words("cpu", &mixed, None), format!("{begin} --backends ort && {data}"));
    }

    fn spec(device: &str) -> Spec {
        serde_json::from_value(serde_json::json!({
            "desired": "Run",
            "model": {"id": "org/model", "revision": "v1", "pooling": "mean", "normalize": true, "dtype": "float32"},
            "dataset": {"source": "wordnet", "limit": 100, "seed": 1},
            "backends": [{"name": "ort", "type": "ort", "device": device, "args": [], "env": {}, "startTimeout": "5m", "parity": "report"}],
            "matrix": {"batchSizes": [1], "concurrency": [1]},
            "load": {"duration": "10s", "warmup": "1s", "repetitions": 1, "arrival": "constant", "wire": "openai-float", "timeout": "30s",
                     "minRequests": 1, "service": "perRepetition", "placement": "sameNode"},
            "checks": {"parity": {}},
            "slurm": {"nodes": 1, "exclusive": false, "time": "1h", "requeue": false, "modules": [], "setup": [], "env": {}, "extraArgs": [],
                      "shard": "experiment", "sameNode": false},
            "retries": 0, "maxContinuations": 0, "retryTrials": false, "priority": 0, "logsTtl": "30d", "allowDownload": false
        }))
        .expect("a spec")
    }
}
