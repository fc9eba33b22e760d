//! Which file of a folder of the input store holds the texts.

use std::path::{Path, PathBuf};

use em_api::spec::DatasetSource;

use super::DatasetError;

/// The name a source looks for first, and the extension it accepts when there is exactly one such file.
fn names(source: DatasetSource) -> (&'static str, &'static str) {
    match source {
        DatasetSource::Wordnet | DatasetSource::Text => ("texts.txt", "txt"),
        DatasetSource::Msmarco | DatasetSource::Tsv => ("collection.tsv", "tsv"),
        DatasetSource::Jsonl => ("corpus.jsonl", "jsonl"),
        DatasetSource::Parquet => ("", "parquet"),
    }
}

/// `path` itself when it is a file, else the file in it.
pub(super) fn file_of(source: DatasetSource, path: &Path) -> Result<PathBuf, DatasetError> {
    let open = |source: std::io::Error| DatasetError::Open { path: path.to_owned(), source };
    let file = if path.metadata().map_err(open)?.is_dir() { in_folder(source, path)? } else { path.to_owned() };
    match file.extension().and_then(|extension| extension.to_str()) {
        Some("gz" | "zst" | "bz2" | "xz" | "zip") => Err(DatasetError::Compressed { path: file }),
        _ => Ok(file),
    }
}

fn in_folder(source: DatasetSource, folder: &Path) -> Result<PathBuf, DatasetError> {
    let (name, extension) = names(source);
    let preferred = folder.join(name);
    if preferred.is_file() {
        return Ok(preferred);
    }
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .map_err(|source| DatasetError::Open { path: folder.to_owned(), source })?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.is_file())
        .collect();
    files.sort();
    let suitable: Vec<&PathBuf> = files.iter().filter(|path| path.extension().is_some_and(|found| found == extension)).collect();
    match suitable[..] {
        [only] => Ok(only.clone()),
        [] => Err(DatasetError::NoFile {
            folder: folder.to_owned(),
            source_name: source.as_str(),
            wanted: name,
            found: if files.is_empty() { "no file at all".to_owned() } else { listed(&files) },
        }),
        _ => Err(DatasetError::SeveralFiles { folder: folder.to_owned(), wanted: extension, found: listed(&files) }),
    }
}

/// At most eight names.
fn listed(files: &[PathBuf]) -> String {
    let names: Vec<String> =
        files.iter().take(8).filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned())).collect();
    names.join(", ")
}
