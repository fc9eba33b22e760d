//! What a run without a server left, as `POST /import` takes it: a zip of its folder → [`Import`], which belongs together. Nothing is
//! written to disk, so no name in the archive leads anywhere; names that are not ours are passed over.

use std::collections::BTreeMap;
use std::io::{Cursor, Read as _};

use em_api::agent::Record;
use em_api::measurement::{Measurement, Outcome};
use em_api::plan::{EXPERIMENT_FILE, PLAN_FILE, Plan, SPOOL_DIR};
use em_api::problem::FieldError;
use em_api::{BlockId, Timestamp};
use serde::de::DeserializeOwned;
use zip::ZipArchive;

use crate::admit::expand::{Block, Shard, expand};
use crate::admit::{Admitted, admit};

/// The largest body that is taken.
pub const LARGEST_ZIP: usize = 256 << 20;
/// All files of the archive together, unpacked.
const LARGEST_CONTENT: u64 = 1 << 30;
/// Measurements of the largest experiment in a few epochs, and what lies beside them.
const MOST_FILES: usize = 50_000;

/// An experiment that was measured elsewhere.
#[derive(Debug)]
pub struct Import {
    pub admitted: Admitted,
    pub plan: Plan,
    /// The plan's own ids; its matrix is that of the spec.
    pub shard: Shard,
    pub measurements: Vec<Measurement>,
    /// Of each epoch.
    pub records: BTreeMap<u32, Vec<Record>>,
}

#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error("the body is no sound zip file: {0}")]
    Zip(#[from] zip::result::ZipError),
    #[error("the archive holds too much: {MOST_FILES} files and {LARGEST_CONTENT} bytes unpacked are the most")]
    TooLarge,
    #[error("the archive holds no {0}; import the folder that `emctl script --standalone` wrote, after its run")]
    Missing(&'static str),
    #[error("{file} cannot be read: {detail}")]
    Unreadable { file: String, detail: String },
    #[error("the experiment is not valid")]
    Spec(Vec<FieldError>),
    #[error("the parts of the archive do not belong together: {0}")]
    Contradiction(String),
}

impl Import {
    /// Reads and checks the whole archive. Blocking.
    pub fn read(zip: &[u8]) -> Result<Self, ImportError> {
        let files = unpack(zip)?;
        let of = |name: &'static str| files.get(name).ok_or(ImportError::Missing(name));
        let admitted = admit(&parse(EXPERIMENT_FILE, of(EXPERIMENT_FILE)?)?).map_err(ImportError::Spec)?;
        let plan: Plan = parse(PLAN_FILE, of(PLAN_FILE)?)?;
        let shard = matrix(&admitted, &plan)?;
        let (mut measurements, mut records) = (Vec::new(), BTreeMap::new());
        for (name, bytes) in &files {
            match in_spool(name) {
                Some((epoch, file)) if file.starts_with("measurement-") && file.ends_with(".json") => {
                    let measurement: Measurement = parse(name, bytes)?;
                    check(&measurement, epoch, &plan).map_err(ImportError::Contradiction)?;
                    measurements.push(measurement);
                }
                Some((epoch, "records.jsonl")) => {
                    // The last line of a killed agent may be torn.
                    let lines = bytes.split(|byte| *byte == b'\n');
                    records.insert(epoch, lines.filter_map(|line| serde_json::from_slice(line).ok()).collect());
                }
                _ => {}
            }
        }
        // What ended first counts first.
        measurements.sort_by_key(|measurement| measurement.finished_at);
        Ok(Self { admitted, plan, shard, measurements, records })
    }

    /// How many trials have a measurement, and how many there are.
    pub fn measured(&self) -> (usize, usize) {
        let measured = |measurement: &&Measurement| matches!(measurement.outcome, Outcome::Measured { .. });
        let mut trials: Vec<_> = self.measurements.iter().filter(measured).map(|measurement| measurement.trial).collect();
        trials.sort_unstable();
        trials.dedup();
        (trials.len(), self.shard.blocks.iter().map(|block| block.trials.len()).sum())
    }

    /// Begin of the first and end of the last trial.
    pub fn span(&self) -> Option<(Timestamp, Timestamp)> {
        let started_at = self.measurements.iter().map(|measurement| measurement.started_at).min()?;
        Some((started_at, self.measurements.iter().map(|measurement| measurement.finished_at).max()?))
    }
}

fn unpack(zip: &[u8]) -> Result<BTreeMap<String, Vec<u8>>, ImportError> {
    let mut archive = ZipArchive::new(Cursor::new(zip))?;
    if archive.len() > MOST_FILES {
        return Err(ImportError::TooLarge);
    }
    let (mut files, mut left) = (BTreeMap::new(), LARGEST_CONTENT);
    for index in 0..archive.len() {
        let entry = archive.by_index(index)?;
        let name = entry.name().to_owned();
        if !entry.is_file() || !(name == EXPERIMENT_FILE || name == PLAN_FILE || in_spool(&name).is_some()) {
            continue;
        }
        let mut bytes = Vec::new();
        // What the header says of the length need not be true.
        let length = entry.take(left + 1).read_to_end(&mut bytes);
        let length = length.map_err(|error| ImportError::Unreadable { file: name.clone(), detail: error.to_string() })? as u64;
        left = left.checked_sub(length).ok_or(ImportError::TooLarge)?;
        files.insert(name, bytes);
    }
    Ok(files)
}

/// `spool/e3/FILE` → 3 and FILE.
fn in_spool(name: &str) -> Option<(u32, &str)> {
    let (epoch, file) = name.strip_prefix(SPOOL_DIR)?.strip_prefix("/e")?.split_once('/')?;
    (!file.contains('/')).then_some((epoch.parse().ok()?, file))
}

fn parse<T: DeserializeOwned>(file: &str, bytes: &[u8]) -> Result<T, ImportError> {
    serde_json::from_slice(bytes).map_err(|error| ImportError::Unreadable { file: file.to_owned(), detail: error.to_string() })
}

/// The plan's blocks, which must be those of the spec.
fn matrix(admitted: &Admitted, plan: &Plan) -> Result<Shard, ImportError> {
    let mut planned: BTreeMap<BlockId, Block> = BTreeMap::new();
    for service in &plan.services {
        for trial in &service.trials {
            let block = planned.entry(trial.block).or_insert_with(|| Block {
                id: trial.block,
                repetition: service.repetition,
                batch_size: trial.batch_size,
                load: trial.load,
                trials: Vec::new(),
            });
            if (block.repetition, block.batch_size, block.load) != (service.repetition, trial.batch_size, trial.load) {
                return Err(ImportError::Contradiction(format!("block {} of the plan is of two kinds", block.id)));
            }
            block.trials.push((service.backend.clone(), trial.id));
        }
    }
    let mut planned: Vec<Block> = planned.into_values().collect();
    let mut blocks = Vec::new();
    for wanted in expand(&admitted.spec).into_iter().flat_map(|shard| shard.blocks) {
        let same =
            |block: &Block| (block.repetition, block.batch_size, block.load) == (wanted.repetition, wanted.batch_size, wanted.load);
        let found = planned.iter().position(same).map(|index| planned.swap_remove(index));
        let in_order = |block: Block| -> Option<Block> {
            let of = |backend: &String| block.trials.iter().find(|(name, _)| name == backend).cloned();
            let trials: Vec<_> = wanted.trials.iter().filter_map(|(backend, _)| of(backend)).collect();
            (trials.len() == wanted.trials.len() && trials.len() == block.trials.len()).then_some(Block { trials, ..block })
        };
        let Some(block) = found.and_then(in_order) else {
            let (repetition, batch_size) = (wanted.repetition, wanted.batch_size);
            let words = format!("the plan lacks trials of the experiment at repetition {repetition}, batch size {batch_size}");
            return Err(ImportError::Contradiction(words));
        };
        blocks.push(block);
    }
    if planned.is_empty() {
        Ok(Shard { id: plan.shard, blocks })
    } else {
        Err(ImportError::Contradiction("the plan has trials that the experiment has not".to_owned()))
    }
}

fn check(measurement: &Measurement, epoch: u32, plan: &Plan) -> Result<(), String> {
    let of = |service: &&em_api::plan::ServiceRun| service.trials.iter().any(|trial| trial.id == measurement.trial);
    let Some(service) = plan.services.iter().find(of) else {
        return Err(format!("the plan has no trial {}", measurement.trial));
    };
    let same = measurement.attempt == plan.attempt && measurement.epoch == epoch && measurement.backend == service.backend;
    if same { Ok(()) } else { Err(format!("the measurement of trial {} is of another run", measurement.trial)) }
}
