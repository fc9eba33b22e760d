//! What experiments bring themselves: interpreters, programs, keys. And whether the store's builds fit this node's driver.

use std::path::Path;

use em_api::inputs::Entry;
use em_api::spec::{Backend, BackendKind};
use em_embed::launch::KeySource;

use super::Check;
use super::checks::imports;

/// Least free space of a store that is still to be filled or to take compile caches.
const LEAST_FREE_BYTES: u64 = 2 << 30;

/// Of a plan's backends.
pub(super) async fn of_plan(backends: &[Backend]) -> Vec<Check> {
    let mut checks = Vec::new();
    for backend in backends {
        let name = &backend.name;
        if let Some(python) = &backend.python {
            checks.push(Check::of(format!("python of {name}"), own_python(Path::new(python), backend.kind).await));
        }
        if let Some(binary) = &backend.binary {
            checks.push(Check::of(format!("program of {name}"), program(Path::new(binary))));
        }
        if let Some(image) = backend.image.as_ref().filter(|image| !image.contains("://")) {
            let path = Path::new(image.trim_start_matches("apptainer:"));
            let there =
                if path.exists() { Ok(image.clone()) } else { Err(format!("{image} is not there on this node; give its path")) };
            checks.push(Check::of(format!("image of {name}"), there));
        }
        if backend.api_key_file.is_some() || backend.api_key_env.is_some() {
            let key = KeySource::of(backend).read().map(|_| "there, and not shown".to_owned());
            checks.push(Check::of(format!("API key of {name}"), key));
        }
    }
    checks
}

/// A conda environment or venv of the user's own.
pub(super) async fn own_python(python: &Path, kind: BackendKind) -> Result<String, String> {
    let cure = "install the packages of deploy/conda/environment.yml there, or leave `python` out and use the store's";
    imports(python, kind.as_str(), cure).await
}

fn program(path: &Path) -> Result<String, String> {
    let may_run = rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok() && path.is_file();
    if may_run {
        Ok(path.display().to_string())
    } else {
        Err(format!("{} is no program on this node; correct `binary`", path.display()))
    }
}

/// What was built for another CUDA than the driver runs fails at its start, with words that few understand.
pub(super) fn fits_driver(entry: &Entry, cuda_major: Option<i32>) -> Result<(), String> {
    let setup = |profile: &str| format!("run `em-agent setup --profile {profile} --backends {}`", entry.key);
    match (entry.details.get("profile").map(String::as_str), cuda_major) {
        (Some("cuda13"), Some(driver)) if driver < 13 => {
            Err(format!("is built for CUDA 13, this node's driver runs {driver} at most: {}", setup("cuda12")))
        }
        (Some("cuda12" | "cuda13"), None) => {
            Err(format!("is built for GPUs, and there is no NVIDIA driver here: look on a GPU node, or {}", setup("cpu")))
        }
        _ => Ok(()),
    }
}

pub(super) fn space(store: &Path) -> Result<String, String> {
    let found = rustix::fs::statvfs(store).map_err(|error| format!("{}: {error}", store.display()))?;
    let free = found.f_bavail * found.f_frsize;
    let told = format!("{:.1} GiB free at {}", free as f64 / f64::from(1 << 30), store.display());
    if free >= LEAST_FREE_BYTES { Ok(told) } else { Err(format!("{told}; make room, or set up a store elsewhere (--store)")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(profile: &str) -> Entry {
        serde_json::from_value(serde_json::json!({
            "kind": "backend", "key": "vllm", "path": "envs/vllm-1", "sha256": "", "created_at": "2026-11-24T00:00:00Z",
            "details": {"profile": profile},
        }))
        .expect("an entry")
    }

    #[test]
    fn a_build_for_a_newer_cuda_names_the_profile_to_take() {
        assert!(fits_driver(&entry("cuda13"), Some(12)).expect_err("too new").contains("--profile cuda12 --backends vllm"));
        assert!(fits_driver(&entry("cuda12"), None).expect_err("no driver").contains("--profile cpu"));
        for (profile, driver) in [("cuda13", Some(13)), ("cuda12", Some(13)), ("cpu", None), ("cpu", Some(13))] {
            assert_eq!(fits_driver(&entry(profile), driver), Ok(()), "{profile} {driver:?}");
        }
    }
}
