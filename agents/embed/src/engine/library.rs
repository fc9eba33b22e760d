//! Finds the shared library of ONNX Runtime: the one named, else the environment's, else the newest in the store that the
//! model lies in. A library without the CUDA provider is no candidate for device cuda.

use std::path::{Path, PathBuf};

use em_api::spec::Device;

use super::EngineError;

const CUDA_PROVIDER: &str = "libonnxruntime_providers_cuda.so";

pub(crate) fn find(given: Option<&Path>, model_dir: &Path, device: Device) -> Result<PathBuf, EngineError> {
    let environment = std::env::var_os("ORT_DYLIB_PATH").map(PathBuf::from);
    if let Some(path) = given.map(Path::to_owned).or(environment) {
        let missing = |_| EngineError::NoLibrary { tried: format!("{} is no file", path.display()) };
        return path.canonicalize().map_err(missing);
    }
    let Some(libraries) = libraries_of_store(model_dir) else {
        return Err(EngineError::NoLibrary { tried: format!("{} lies in no store", model_dir.display()) });
    };
    newest(&libraries, device).ok_or_else(|| {
        let with = if device == Device::Cuda { format!(" with {CUDA_PROVIDER}") } else { String::new() };
        EngineError::NoLibrary { tried: format!("no onnxruntime-*{with} under {}", libraries.display()) }
    })
}

/// `store/models/NAME` → `store/lib`.
fn libraries_of_store(model_dir: &Path) -> Option<PathBuf> {
    let model_dir = model_dir.canonicalize().ok()?;
    let models = model_dir.parent().filter(|folder| folder.file_name().is_some_and(|name| name == "models"))?;
    Some(models.parent()?.join("lib"))
}

fn newest(libraries: &Path, device: Device) -> Option<PathBuf> {
    let folders = std::fs::read_dir(libraries).ok()?.filter_map(Result::ok).map(|entry| entry.path());
    let suitable = folders.filter(|folder| device == Device::Cpu || folder.join(CUDA_PROVIDER).is_file());
    suitable.filter_map(|folder| Some((version(&folder)?, library_in(&folder)?))).max().map(|(_, library)| library)
}

/// `onnxruntime-1.31.1`, `onnxruntime-gpu-1.25.0` → the numbers.
fn version(folder: &Path) -> Option<Vec<u32>> {
    let name = folder.file_name()?.to_str()?.strip_prefix("onnxruntime-")?;
    let numbers = name.strip_prefix("gpu-").unwrap_or(name);
    numbers.split('.').map(|number| number.parse().ok()).collect()
}

fn library_in(folder: &Path) -> Option<PathBuf> {
    let files = std::fs::read_dir(folder).ok()?.filter_map(Result::ok).map(|entry| entry.path());
    files
        .filter(|path| path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with("libonnxruntime.so")))
        .max()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store_with(libraries: &[&str]) -> (tempfile::TempDir, PathBuf) {
        let store = tempfile::tempdir().expect("a folder");
        for library in libraries {
            let path = store.path().join("lib").join(library);
            std::fs::create_dir_all(path.parent().expect("lib/…")).expect("folders");
            std::fs::write(path, b"").expect("a file");
        }
        let model = store.path().join("models/m@main");
        std::fs::create_dir_all(&model).expect("folders");
        (store, model)
    }

    #[test]
    fn the_newest_of_the_store_is_taken_by_number_not_by_letter() {
        let (_store, model) =
            store_with(&["onnxruntime-1.9.0/libonnxruntime.so.1.9.0", "onnxruntime-1.31.1/libonnxruntime.so.1.31.1"]);
        let found = newest(&libraries_of_store(&model).expect("a store"), Device::Cpu).expect("found");
        assert!(found.ends_with("onnxruntime-1.31.1/libonnxruntime.so.1.31.1"), "{found:?}");
    }

    #[test]
    fn cuda_needs_a_library_with_its_provider() {
        let (_store, model) = store_with(&["onnxruntime-1.31.1/libonnxruntime.so.1.31.1"]);
        assert_eq!(newest(&libraries_of_store(&model).expect("a store"), Device::Cuda), None);
        let (_store, model) = store_with(&[
            "onnxruntime-1.31.1/libonnxruntime.so.1.31.1",
            "onnxruntime-gpu-1.25.0/libonnxruntime.so.1.25.0",
            "onnxruntime-gpu-1.25.0/libonnxruntime_providers_cuda.so",
        ]);
        let found = newest(&libraries_of_store(&model).expect("a store"), Device::Cuda).expect("found");
        assert!(found.ends_with("onnxruntime-gpu-1.25.0/libonnxruntime.so.1.25.0"), "{found:?}");
    }
}
