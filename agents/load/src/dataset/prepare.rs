//! Puts a user's data set into the input store, where experiments find it by its source alone: as `texts.jsonl`, one object with a
//! `text` a line, and nothing else changed. What is in memory at a time is one text, however many there are.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use em_api::inputs::Entry;
use em_api::spec::DatasetSource;
use serde::Serialize;

use super::store::{Hashed, Store};
use super::{DatasetError, Tally, find, read};

/// What is to be prepared.
#[derive(Clone, Debug)]
pub struct Preparation<'a> {
    pub source: DatasetSource,
    /// File, folder or pattern.
    pub from: &'a Path,
    /// Of parquet files, in place of the usual ones.
    pub column: Option<&'a str>,
    /// Texts.
    pub limit: Option<u64>,
    /// Made when missing.
    pub store: &'a Path,
}

/// How far it is.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    pub tally: &'a Tally,
    /// Of the texts that were kept.
    pub bytes: u64,
    pub passed: Duration,
}

pub struct Prepared {
    pub entry: Entry,
    /// Where the texts lie.
    pub folder: PathBuf,
    /// What this entry stood for before, relative to the store: it is left alone, a job may be reading it.
    pub replaced: Option<String>,
    /// Names of the files that were read.
    pub files: String,
    pub tally: Tally,
    /// Of the texts that were kept.
    pub bytes: u64,
    pub passed: Duration,
}

/// Time between two calls of `progress`, at the least.
const BEAT: Duration = Duration::from_millis(200);
/// Texts between two looks at the clock.
const GLANCE: u64 = 256;

#[derive(Serialize)]
struct Line<'a> {
    text: &'a str,
}

/// Blocking. The store is locked meanwhile; `waiting` hears when another setup has it.
pub fn prepare(
    asked: &Preparation<'_>,
    waiting: &dyn Fn(&str),
    progress: &mut dyn FnMut(Step<'_>),
) -> Result<Prepared, DatasetError> {
    let begin = Instant::now();
    // Before anything is made in the store.
    let files = names(&find::files(asked.source, asked.from)?);
    let store = Store::locked(asked.store, waiting)?;
    let path = store.texts();
    let failed = |source| DatasetError::Write { path: path.clone(), source };
    let mut writer = BufWriter::with_capacity(1 << 18, Hashed::new(File::create(&path).map_err(failed)?));
    let (mut bytes, mut shown) = (0, begin);
    let limit = asked.limit.unwrap_or(u64::MAX);
    let tally = read::each_text(asked.source, asked.from, asked.column, limit, &mut |text, tally| {
        let line = serde_json::to_writer(&mut writer, &Line { text }).map_err(std::io::Error::from);
        line.and_then(|()| writer.write_all(b"\n")).map_err(failed)?;
        bytes += text.len() as u64;
        if tally.kept.is_multiple_of(GLANCE) && shown.elapsed() >= BEAT {
            shown = Instant::now();
            progress(Step { tally, bytes, passed: begin.elapsed() });
        }
        Ok(())
    })?;
    let hashed = writer.into_inner().map_err(|error| failed(error.into_error()))?;
    let (file, sha256) = hashed.finish();
    file.sync_all().map_err(failed)?;
    let details = details(asked, &files, &tally, bytes);
    let (entry, replaced) = store.record(asked.source, sha256, details)?;
    let folder = asked.store.join(&entry.path);
    Ok(Prepared { entry, folder, replaced, files, tally, bytes, passed: begin.elapsed() })
}

/// What the manifest keeps beside the hash.
fn details(asked: &Preparation<'_>, files: &str, tally: &Tally, bytes: u64) -> Vec<(&'static str, String)> {
    let mut details = vec![
        ("file", find::PREPARED.to_owned()),
        ("source", files.to_owned()),
        ("texts", tally.kept.to_string()),
        ("bytes", bytes.to_string()),
        ("read", tally.read.to_string()),
        ("empty", tally.empty.to_string()),
        ("malformed", tally.malformed.to_string()),
    ];
    if !tally.first_malformed.is_empty() {
        let named: Vec<String> = tally.first_malformed.iter().map(ToString::to_string).collect();
        details.push(("first_malformed", named.join("; ")));
    }
    if let Some(column) = asked.column {
        details.push(("column", column.to_owned()));
    }
    if let Some(limit) = asked.limit {
        details.push(("limit", limit.to_string()));
    }
    details
}

/// `msmarco_passage_00.gz … msmarco_passage_69.gz (70 files)`.
fn names(files: &[PathBuf]) -> String {
    let name = |path: &PathBuf| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    match files {
        [only] => name(only),
        [first, .., last] => format!("{} … {} ({} files)", name(first), name(last), files.len()),
        [] => String::new(),
    }
}
