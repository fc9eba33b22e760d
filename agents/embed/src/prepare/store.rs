//! Where a model lies: a folder given as it is, or an id looked up in the input store; and how a file appears there whole.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use em_api::inputs::{Entry, EntryKind, manifest_path, model_key};

use super::PrepareError;

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("{model} is not a folder here; to take it from the input store give --store DIR (or EM_STORE)")]
    NoStore { model: String },
    #[error(
        "the store {} does not hold {model} at {revision}: em-agent setup --store {} --model {model} puts it there",
        store.display(), store.display()
    )]
    Absent { model: String, revision: String, store: PathBuf },
    #[error("the manifest {} cannot be read: em-agent setup writes it anew", path.display())]
    Manifest {
        path: PathBuf,
        #[source]
        source: serde_json::Error,
    },
}

/// The folder of a model given as a path or as an id in a store.
pub fn model_dir(model: &str, revision: &str, store: Option<&Path>) -> Result<PathBuf, StoreError> {
    if Path::new(model).is_dir() {
        return Ok(PathBuf::from(model));
    }
    let Some(store) = store else {
        return Err(StoreError::NoStore { model: model.to_owned() });
    };
    let path = manifest_path(store, EntryKind::Model, &model_key(model, revision));
    let Ok(bytes) = std::fs::read(&path) else {
        return Err(StoreError::Absent { model: model.to_owned(), revision: revision.to_owned(), store: store.to_owned() });
    };
    let entry: Entry = serde_json::from_slice(&bytes).map_err(|source| StoreError::Manifest { path, source })?;
    Ok(store.join(entry.path))
}

/// Tells apart the half files of one process.
static WRITES: AtomicU64 = AtomicU64::new(0);

/// Readers see the old file or the new one, also after a crash. The folder is made if it is not there.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), PrepareError> {
    let failed = |source| PrepareError::Write { path: path.to_owned(), source };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    let mut partial = path.as_os_str().to_owned();
    partial.push(format!(".{}-{}.partial", std::process::id(), WRITES.fetch_add(1, Ordering::Relaxed)));
    let partial = PathBuf::from(partial);
    let write = || {
        let mut file = std::fs::File::create(&partial)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&partial, path)
    };
    write().map_err(|source| {
        // The half file is of no use to anyone; failing to remove it changes nothing about the error.
        let _ = std::fs::remove_file(&partial);
        failed(source)
    })
}

/// Files beside `path` that begin and end so and are no longer read, but for `keep`. One that cannot be removed costs only room.
pub(super) fn remove_others(path: &Path, begin: &str, end: &str, keep: Option<&str>) {
    let Some(files) = path.parent().and_then(|folder| std::fs::read_dir(folder).ok()) else { return };
    for file in files.filter_map(Result::ok) {
        let name = file.file_name().to_string_lossy().into_owned();
        if name.starts_with(begin) && name.ends_with(end) && Some(name.as_str()) != keep {
            let _ = std::fs::remove_file(file.path());
        }
    }
}
