//! Which files hold the texts of a data set: the one that is named, those of a pattern, or those of a folder.

use std::path::{Path, PathBuf};

use em_api::spec::DatasetSource;

use super::DatasetError;

/// What [`prepare`](super::prepare::prepare) writes.
pub(super) const PREPARED: &str = "texts.jsonl";
/// Endings of packed files, those too that cannot be read: the refusal is to be about the packing.
const PACKED: [&str; 5] = [".gz", ".zst", ".bz2", ".xz", ".zip"];

/// At least one, in the order in which they are read.
pub(super) fn files(source: DatasetSource, path: &Path) -> Result<Vec<PathBuf>, DatasetError> {
    if !path.exists()
        && let Some((folder, pattern)) = folder_and_pattern(path)
    {
        let found: Vec<PathBuf> = listed(folder)?.into_iter().filter(|path| matches(&pattern, &name_of(path))).collect();
        return if found.is_empty() { Err(DatasetError::NoMatch { pattern: path.to_owned() }) } else { Ok(found) };
    }
    let metadata = path.metadata().map_err(|source| DatasetError::Open { path: path.to_owned(), source })?;
    if metadata.is_dir() { in_folder(source, path) } else { Ok(vec![path.to_owned()]) }
}

/// The name of a file without the ending of its packing.
pub(super) fn unpacked_name(path: &Path) -> String {
    let name = name_of(path);
    PACKED.iter().find_map(|ending| name.strip_suffix(ending)).map_or(name.clone(), str::to_owned)
}

fn in_folder(source: DatasetSource, folder: &Path) -> Result<Vec<PathBuf>, DatasetError> {
    let files = listed(folder)?;
    let (preferred, wanted) = wanted(source);
    for name in [PREPARED, preferred] {
        if let Some(file) = files.iter().find(|file| unpacked_name(file) == name) {
            return Ok(vec![file.clone()]);
        }
    }
    let suitable: Vec<PathBuf> = files.iter().filter(|file| suits(source, &unpacked_name(file))).cloned().collect();
    let Some(first) = suitable.first() else {
        let found = if files.is_empty() { "no file at all".to_owned() } else { names(&files) };
        return Err(DatasetError::NoFile { folder: folder.to_owned(), source_name: source.as_str(), wanted, found });
    };
    let family = |file: &PathBuf| name_of(file).replace(|letter: char| letter.is_ascii_digit(), "");
    if suitable.iter().all(|file| family(file) == family(first)) {
        return Ok(suitable);
    }
    // The largest of them, for an example.
    let members = |file: &&PathBuf| suitable.iter().filter(|other| family(other) == family(file)).count();
    let pattern = folder.join(pattern_of(suitable.iter().max_by_key(members).unwrap_or(first)));
    Err(DatasetError::SeveralFiles { folder: folder.to_owned(), found: names(&suitable), pattern })
}

/// The name that is looked for first, and the words for what is looked for.
fn wanted(source: DatasetSource) -> (&'static str, &'static str) {
    match source {
        DatasetSource::Wordnet | DatasetSource::Text => ("texts.txt", "texts.txt or other *.txt file"),
        DatasetSource::Tsv => ("collection.tsv", "collection.tsv or other *.tsv file"),
        DatasetSource::Jsonl => ("corpus.jsonl", "corpus.jsonl or other *.jsonl file"),
        DatasetSource::Parquet => ("", "*.parquet file"),
        DatasetSource::Msmarco => ("collection.tsv", "collection.tsv, msmarco_passage_NN.gz, *.jsonl or *.parquet file"),
    }
}

fn suits(source: DatasetSource, name: &str) -> bool {
    let extension = Path::new(name).extension().and_then(|extension| extension.to_str());
    let lines_of_json = extension == Some("jsonl") || (extension.is_none() && name.starts_with("msmarco_"));
    match source {
        DatasetSource::Wordnet | DatasetSource::Text => extension == Some("txt"),
        DatasetSource::Tsv => extension == Some("tsv"),
        DatasetSource::Jsonl => lines_of_json,
        DatasetSource::Parquet => extension == Some("parquet"),
        DatasetSource::Msmarco => lines_of_json || matches!(extension, Some("tsv" | "parquet")),
    }
}

/// Files of a folder, in the order of their names.
fn listed(folder: &Path) -> Result<Vec<PathBuf>, DatasetError> {
    let entries = std::fs::read_dir(folder).map_err(|source| DatasetError::Open { path: folder.to_owned(), source })?;
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(|path| path.is_file()).collect();
    files.sort();
    Ok(files)
}

fn folder_and_pattern(path: &Path) -> Option<(&Path, String)> {
    let pattern = name_of(path);
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    pattern.contains('*').then_some((folder, pattern))
}

/// `*` stands for any letters, also none.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((begin, rest)) => name
            .strip_prefix(begin)
            .is_some_and(|end| end.char_indices().map(|(at, _)| at).chain([end.len()]).any(|at| matches(rest, &end[at..]))),
    }
}

/// A pattern for a file and what belongs to it: `train-00000-of-00007.parquet` → `train-*.parquet`.
fn pattern_of(path: &Path) -> String {
    let name = name_of(path);
    let begin = name.find(|letter: char| letter.is_ascii_digit()).unwrap_or(name.len());
    let end = name.rfind(|letter: char| letter.is_ascii_digit()).map_or(name.len(), |at| at + 1);
    if begin < end { format!("{}*{}", &name[..begin], &name[end..]) } else { name }
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// At most eight names.
fn names(files: &[PathBuf]) -> String {
    let mut names: Vec<String> = files.iter().take(8).map(|file| name_of(file)).collect();
    if files.len() > names.len() {
        names.push(format!("{} more", files.len() - names.len()));
    }
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything() {
        for (pattern, name, fits) in [
            ("train-*.parquet", "train-00000-of-00007.parquet", true),
            ("train-*.parquet", "test-00000-of-00001.parquet", false),
            ("*", "ä", true),
            ("a*b*c", "aXbYbZc", true),
            ("a*b", "ab", true),
            ("a*ba", "aba", true),
            ("ab*ba", "aba", false),
            ("x", "x", true),
        ] {
            assert_eq!(matches(pattern, name), fits, "{pattern} {name}");
        }
        assert_eq!(pattern_of(Path::new("/x/train-00000-of-00007.parquet")), "train-*.parquet");
    }
}
