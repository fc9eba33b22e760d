//! What a start needs of the input store, looked up when it is needed: the model's folder, interpreters, libraries.

use std::path::{Path, PathBuf};

use em_api::inputs::{self, Entry, EntryKind};
use em_api::spec::{Backend, BackendKind, Device, Dtype};

use super::{Launch, gpu};

/// The folder of `model.path`, or the store's. Errors: the cure, in words.
pub(super) fn model_folder(launch: &Launch) -> Result<PathBuf, String> {
    let model = &launch.model;
    if let Some(path) = &model.path {
        let folder = PathBuf::from(path);
        return if folder.is_dir() { Ok(folder) } else { Err(format!("model.path: {path} is no folder on this node")) };
    }
    let missing = || {
        let store = launch.store_dir.display();
        format!(
            "model {} is not in the store: run `em-agent setup --store {store} --model {}`, or set model.path",
            model.id, model.id
        )
    };
    let entry = entry(launch, EntryKind::Model, &inputs::key_of(model))?.ok_or_else(missing)?;
    let folder = launch.store_dir.join(&entry.path);
    if folder.is_dir() { Ok(folder) } else { Err(missing()) }
}

/// The store's entry for this kind of backend, and the file that it names under `detail`.
pub(super) fn backend_file(launch: &Launch, detail: &str) -> Result<(Entry, PathBuf), String> {
    let kind = launch.backend.kind;
    let missing = || {
        let (store, own) = (launch.store_dir.display(), if kind == BackendKind::Ort { "" } else { ", or name your own `python`" });
        format!("backend {kind} is not in the store: run `em-agent setup --store {store} --backends {kind}`{own}")
    };
    let entry = entry(launch, EntryKind::Backend, kind.as_str())?.ok_or_else(missing)?;
    let file =
        entry.details.get(detail).map(|path| launch.store_dir.join(path)).filter(|path| path.exists()).ok_or_else(missing)?;
    match (entry.details.get("profile").map(String::as_str), launch.backend.device) {
        (Some("cpu"), Device::Cuda) => Err(format!(
            "device: cuda was asked of {}, but the store's {kind} is built for CPUs: run `em-agent setup --profile gpu --backends {kind}`",
            launch.backend.name
        )),
        (Some("cuda13"), Device::Cuda) if gpu::cuda_major().is_some_and(|major| major < 13) => Err(format!(
            "the store's {kind} is built for CUDA 13, but this node's driver is of CUDA 12: run `em-agent setup --profile cuda12 --backends {kind}`"
        )),
        (Some("gpu" | "cuda12" | "cuda13"), Device::Cpu) if kind == BackendKind::Vllm => Err(format!(
            "device: cpu was asked of {}, but the store's vllm is built for CUDA: run `em-agent setup --profile cpu --backends vllm`",
            launch.backend.name
        )),
        _ => Ok((entry, file)),
    }
}

/// Folders of the CUDA libraries that setup put beside ONNX Runtime; none where the node's own are used.
pub(super) fn cuda_libraries(launch: &Launch, entry: &Entry) -> Vec<String> {
    let Some(root) = entry.details.get("cuda_libraries") else { return Vec::new() };
    let Ok(folders) = std::fs::read_dir(launch.store_dir.join(root).join("nvidia")) else { return Vec::new() };
    let mut folders: Vec<PathBuf> = folders.flatten().map(|folder| folder.path().join("lib")).filter(|lib| lib.is_dir()).collect();
    folders.sort();
    folders.into_iter().map(|folder| folder.display().to_string()).collect()
}

/// The folder of a package in the environment of an interpreter.
pub(super) fn package(python: &Path, name: &str) -> Option<PathBuf> {
    let lib = python.parent()?.parent()?.join("lib");
    let versions = std::fs::read_dir(lib).ok()?.flatten().map(|entry| entry.path().join("site-packages").join(name));
    versions.into_iter().find(|folder| folder.is_dir())
}

pub(super) fn device(backend: &Backend) -> &'static str {
    match backend.device {
        Device::Cuda => "cuda",
        Device::Cpu => "cpu",
    }
}

pub(super) fn dtype(launch: &Launch) -> Dtype {
    launch.backend.dtype.unwrap_or(launch.model.dtype)
}

/// `None`: there is no manifest.
fn entry(launch: &Launch, kind: EntryKind, key: &str) -> Result<Option<Entry>, String> {
    let path = inputs::manifest_path(&launch.store_dir, kind, key);
    match std::fs::read_to_string(&path) {
        Ok(text) => {
            serde_json::from_str(&text).map(Some).map_err(|error| format!("the manifest {} is broken: {error}", path.display()))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("cannot read {}: {error}", path.display())),
    }
}
