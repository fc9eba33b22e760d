//! The cache that the hub's own tools fill: `models--{org}--{name}/refs/{revision}`, `snapshots/{commit}/…` as links to `blobs/{hash}`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::HubError;
use super::download::{Expected, verify};

#[derive(Clone, Debug)]
pub struct CacheFolder(pub PathBuf);

pub(super) struct Snapshot {
    pub(super) commit: String,
    /// By their names in the model, where they lie.
    pub(super) files: BTreeMap<String, PathBuf>,
}

impl CacheFolder {
    /// `revision`: a branch, a tag, or a commit.
    pub(super) fn snapshot(&self, id: &str, revision: &str) -> Option<Snapshot> {
        let model = self.0.join(format!("models--{}", id.replace('/', "--")));
        let named = std::fs::read_to_string(model.join("refs").join(revision));
        let commit = named.map_or_else(|_| revision.to_owned(), |commit| commit.trim().to_owned());
        let folder = model.join("snapshots").join(&commit);
        let mut files = BTreeMap::new();
        collect(&folder, "", &mut files);
        (!files.is_empty()).then_some(Snapshot { commit, files })
    }
}

fn collect(folder: &Path, before: &str, files: &mut BTreeMap<String, PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = format!("{before}{}", entry.file_name().to_string_lossy());
        let path = entry.path();
        if path.is_dir() {
            if before.is_empty() {
                collect(&path, &format!("{name}/"), files);
            }
        } else if path.is_file() {
            files.insert(name, path);
        }
    }
}

/// A blob's own name is its hash.
pub(super) fn copy(file: &Path, name: &str, target: &Path) -> Result<(), HubError> {
    let blob = std::fs::canonicalize(file).map_err(|source| HubError::Io { path: file.to_owned(), source })?;
    let hash = blob.file_name().map(|hash| hash.to_string_lossy().into_owned()).unwrap_or_default();
    let hex = hash.bytes().all(|byte| byte.is_ascii_hexdigit());
    match hash.len() {
        64 if hex => verify(&blob, name, &Expected::Sha256(hash))?,
        40 if hex => verify(&blob, name, &Expected::GitBlob(hash))?,
        // A cache made without links tells no hashes.
        _ => {}
    }
    copy_bytes(&blob, target)
}

/// Whether the cache's file is the right one; then it was copied.
pub(super) fn copy_verified(file: &Path, target: &Path, expected: &Expected) -> Result<bool, HubError> {
    if verify(file, "", expected).is_err() {
        return Ok(false);
    }
    copy_bytes(file, target)?;
    Ok(true)
}

fn copy_bytes(file: &Path, target: &Path) -> Result<(), HubError> {
    let fail = |source| HubError::Io { path: target.to_owned(), source };
    if let Some(folder) = target.parent() {
        std::fs::create_dir_all(folder).map_err(fail)?;
    }
    std::fs::copy(file, target).map(|_| ()).map_err(fail)
}
