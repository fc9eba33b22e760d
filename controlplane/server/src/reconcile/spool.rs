//! Takes in what an agent left in its job directory: measurements and records of each epoch. What came over the network before is
//! recognised; unreadable files are reported and left where they are.

use std::path::Path;

use em_api::AttemptId;
use em_api::agent::Record;
use em_api::measurement::Measurement;
use tracing::warn;

use crate::store::handed_in::{Delivery, PutOutcome};
use crate::store::{self, Store};

/// A measurement holds histograms and series of one window.
const LARGEST_MEASUREMENT: u64 = 64 << 20;
/// A stream beyond this is cut: its job directory keeps it.
const LARGEST_RECORDS: u64 = 256 << 20;
/// Records in one transaction.
const BATCH: usize = 500;

/// What was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Imported {
    /// Not known before.
    pub(super) measurements: usize,
    pub(super) unreadable: usize,
}

/// What a job directory held.
#[derive(Default)]
pub(super) struct Spool {
    measurements: Vec<Measurement>,
    records: Vec<(u32, Vec<Record>)>,
    unreadable: usize,
}

/// Stores it. Safe to repeat.
pub(super) async fn import(store: &Store, attempt: AttemptId, spool: Spool) -> store::Result<Imported> {
    let mut imported = Imported { measurements: 0, unreadable: spool.unreadable };
    for measurement in &spool.measurements {
        let (outcome, _) = store.put_measurement(attempt, measurement, Delivery::Spool).await?;
        match outcome {
            PutOutcome::Accepted => imported.measurements += 1,
            PutOutcome::Same | PutOutcome::Differs | PutOutcome::Fenced => {}
            PutOutcome::Foreign(message) => warn!(attempt.id = %attempt, "a spooled measurement was left out: {message}"),
        }
    }
    for (epoch, records) in &spool.records {
        for batch in records.chunks(BATCH) {
            store.import_records(attempt, *epoch, batch).await?;
        }
    }
    Ok(imported)
}

/// Blocking.
pub(super) fn read(job_dir: &Path) -> Spool {
    let mut spool = Spool::default();
    let Ok(epochs) = std::fs::read_dir(job_dir.join(em_api::plan::SPOOL_DIR)) else { return spool };
    for folder in epochs.flatten() {
        let name = folder.file_name();
        let Some(epoch) = name.to_str().and_then(|name| name.strip_prefix('e')).and_then(|number| number.parse().ok()) else {
            continue;
        };
        read_epoch(&folder.path(), epoch, &mut spool);
    }
    // What ended first counts first.
    spool.measurements.sort_by_key(|measurement| measurement.finished_at);
    spool
}

fn read_epoch(folder: &Path, epoch: u32, spool: &mut Spool) {
    let Ok(files) = std::fs::read_dir(folder) else { return };
    for file in files.flatten() {
        let name = file.file_name().to_string_lossy().into_owned();
        if name.starts_with("measurement-") && name.ends_with(".json") {
            match text(&file.path(), LARGEST_MEASUREMENT).and_then(|text| serde_json::from_str::<Measurement>(&text).ok()) {
                Some(measurement) if measurement.epoch == epoch => spool.measurements.push(measurement),
                _ => {
                    warn!("{} is no measurement of this version", file.path().display());
                    spool.unreadable += 1;
                }
            }
        } else if name == "records.jsonl" {
            // The last line of a killed agent may be torn.
            let text = text(&file.path(), LARGEST_RECORDS).unwrap_or_default();
            spool.records.push((epoch, text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()));
        }
    }
}

fn text(path: &Path, largest: u64) -> Option<String> {
    use std::io::Read as _;
    let mut text = Vec::new();
    std::fs::File::open(path).ok()?.take(largest).read_to_end(&mut text).ok()?;
    Some(String::from_utf8_lossy(&text).into_owned())
}

/// The end of what the job wrote to standard error: often the only words about why it failed. Blocking.
pub(super) fn stderr_tail(job_dir: &Path, job_id: &str) -> Option<String> {
    const TAIL: u64 = 1_000;
    let text = end_of(&job_dir.join(format!("slurm_{job_id}.err")), TAIL)?;
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

fn end_of(path: &Path, bytes: u64) -> Option<String> {
    use std::io::{Read as _, Seek as _};
    let mut file = std::fs::File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(std::io::SeekFrom::Start(length.saturating_sub(bytes))).ok()?;
    let mut end = Vec::new();
    file.take(bytes).read_to_end(&mut end).ok()?;
    // The cut may fall into a character.
    Some(String::from_utf8_lossy(&end).trim_start_matches(char::REPLACEMENT_CHARACTER).to_owned())
}
