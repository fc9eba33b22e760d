//! Looks parts of the input store up by their manifests.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use em_api::inputs::{BUILT_IN, Entry, EntryKind, data_words, manifest_path};

#[derive(Debug, thiserror::Error)]
pub(crate) enum InputError {
    #[error("the input store {store} has no {what} `{key}`; fill it with {cure}")]
    Missing { store: PathBuf, what: &'static str, key: String, cure: String },
    #[error("the manifest {path} cannot be read; remove it and fill the store again")]
    Manifest {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{path} is gone, though its manifest is there; remove {manifest} and fill the store again")]
    Gone { path: PathBuf, manifest: PathBuf },
}

/// The entry and where its content lies.
pub(crate) fn find(store: &Path, kind: EntryKind, key: &str) -> Result<(Entry, PathBuf), InputError> {
    let manifest = manifest_path(store, kind, key);
    let read = fs::read(&manifest).and_then(|json| serde_json::from_slice::<Entry>(&json).map_err(io::Error::from));
    let entry = read.map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => InputError::Missing {
            store: store.to_owned(),
            what: what(kind),
            key: key.to_owned(),
            cure: match kind {
                EntryKind::Dataset if key != BUILT_IN => format!("`em-agent {}`", data_words(store, key, None).join(" ")),
                _ => "`emctl prepare -f EXPERIMENT` or `em-agent setup`".to_owned(),
            },
        },
        _ => InputError::Manifest { path: manifest.clone(), source },
    })?;
    let path = store.join(&entry.path);
    if path.exists() { Ok((entry, path)) } else { Err(InputError::Gone { path, manifest }) }
}

fn what(kind: EntryKind) -> &'static str {
    match kind {
        EntryKind::Model => "model",
        EntryKind::Dataset => "data set",
        EntryKind::Backend => "environment for the backend",
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use em_api::Timestamp;

    use super::*;

    #[test]
    fn a_part_is_there_when_its_manifest_and_its_content_are() {
        let store = tempfile::tempdir().unwrap();
        let find = || find(store.path(), EntryKind::Dataset, "wordnet");
        assert!(find().unwrap_err().to_string().contains("no data set `wordnet`; fill it with `emctl prepare"));
        let own = super::find(store.path(), EntryKind::Dataset, "msmarco").unwrap_err().to_string();
        assert!(own.contains("`em-agent data prepare --store") && own.contains("--source msmarco --from PATH`"), "{own}");
        let manifest = manifest_path(store.path(), EntryKind::Dataset, "wordnet");
        fs::create_dir_all(manifest.parent().unwrap()).unwrap();
        fs::write(&manifest, "{").unwrap();
        assert!(matches!(find().unwrap_err(), InputError::Manifest { .. }));
        let entry = Entry {
            kind: EntryKind::Dataset,
            key: "wordnet".to_owned(),
            path: "datasets/wordnet-1".to_owned(),
            sha256: String::new(),
            created_at: Timestamp::UNIX_EPOCH,
            details: [].into(),
        };
        fs::write(&manifest, serde_json::to_vec(&entry).unwrap()).unwrap();
        assert!(matches!(find().unwrap_err(), InputError::Gone { .. }));
        fs::create_dir_all(store.path().join(&entry.path)).unwrap();
        assert_eq!(find().unwrap().1, store.path().join("datasets/wordnet-1"));
    }
}
