//! The queue: a directory of records. Everything that changes it happens under one lock, in passes that look at all of it, so that it
//! does not matter who makes a pass, how often, or where the last one stopped.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use super::LocalSettings;
use super::files::{lock, make_dir, read_text, sync_dir, unreadable, write};
use super::fit::{Allotment, fit};
use super::machine::Machine;
use super::record::{Job, Outcome, Record, Start};
use super::request::Request;
use super::supervisor::{nothing_left, spawn};
use super::view::{seen, unseen, view};
use crate::{JobScript, JobView, Witness};

pub(super) struct Queue {
    pub(super) settings: LocalSettings,
    pub(super) machine: Machine,
    /// Supervisors that we started, to be reaped.
    children: Mutex<Vec<Child>>,
    /// Jobs that are over: they do not change, and need not be read again.
    over: Mutex<HashMap<u64, JobView>>,
}

/// A pass is over in milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);

impl Queue {
    pub(super) fn open(settings: LocalSettings, machine: Machine) -> io::Result<Self> {
        make_dir(&settings.state_dir)?;
        // Records are found by their path, and processes by their record's.
        let settings = LocalSettings { state_dir: settings.state_dir.canonicalize()?, ..settings };
        make_dir(&settings.state_dir.join("jobs"))?;
        let queue = Self { settings, machine, children: Mutex::default(), over: Mutex::default() };
        queue.tidy()?;
        Ok(queue)
    }

    /// Removes what a crash left of a submission or of a record that was being forgotten.
    fn tidy(&self) -> io::Result<()> {
        let _held = self.lock()?;
        for entry in std::fs::read_dir(&self.settings.state_dir)? {
            let entry = entry?;
            if entry.file_name().to_str().is_some_and(|name| name.starts_with("new-") || name.starts_with("old-")) {
                std::fs::remove_dir_all(entry.path())?;
            }
        }
        Ok(())
    }

    /// Adds a job. `Err`: it is not in the queue, unless the error is `Uncertain`.
    pub(super) fn add(&self, script: &JobScript, request: Request, text: &[u8]) -> Result<u64, AddError> {
        let _held = self.lock()?;
        let id = self.next_id()?;
        let made = self.settings.state_dir.join(format!("new-{id}"));
        let job = Job {
            id,
            name: script.name.clone(),
            comment: script.comment.clone(),
            job_dir: script.job_dir.clone(),
            request,
            submitted_at: Timestamp::now(),
        };
        let filled = make_dir(&made).and_then(|()| Record::create(&made, &job, text));
        if let Err(error) = filled.and_then(|()| std::fs::rename(&made, self.jobs().join(id.to_string()))) {
            let _ = std::fs::remove_dir_all(&made);
            return Err(AddError::NotAdded(error));
        }
        sync_dir(&self.jobs()).map_err(AddError::Uncertain)?;
        Ok(id)
    }

    /// Ends a job, or sees to it that it will be ended. An id that is unknown or over is no error.
    pub(super) fn cancel(&self, id: u64) -> io::Result<()> {
        let _held = self.lock()?;
        let dir = self.jobs().join(id.to_string());
        if !dir.exists() {
            return Ok(());
        }
        let mut record = Record::read(dir)?;
        match (&record.outcome, &record.start) {
            (Some(_), _) => Ok(()),
            (None, Some(_)) => record.ask_to_end(),
            (None, None) => {
                record.close(Outcome { state: "CANCELLED".to_owned(), exit: Some((0, 0)), reason: None, at: Timestamp::now() })
            }
        }
    }

    /// Looks at every job: closes those that are over, starts those that fit, forgets those that were kept long enough. All jobs, in
    /// the order of their ids.
    pub(super) fn pass(&self) -> io::Result<Vec<JobView>> {
        let _held = self.lock()?;
        self.reap();
        let (mut views, mut open) = (Vec::new(), Vec::new());
        let now = Timestamp::now();
        for id in self.ids()? {
            if let Some(view) = self.remembered(id) {
                match view.ends_at {
                    Some(at) if now.duration_since(at) > self.keep() => self.forget(id)?,
                    _ => views.push(view),
                }
                continue;
            }
            let mut record = Record::read(self.jobs().join(id.to_string()))?;
            if record.outcome.is_none()
                && record.start.is_some()
                && !record.supervised()?
                && let Err(error) = self.settle(&mut record, now)
            {
                tracing::warn!(job = id, %error, "the end of the job cannot be written down yet");
                record.ending = true;
            }
            if record.outcome.is_some() {
                views.push(self.remember(&record));
            } else {
                open.push(record);
            }
        }
        let waits_for = self.start_what_fits(&mut open);
        views.extend(open.iter().zip(waits_for).map(|(record, reason)| view(record, &self.machine, reason.as_deref())));
        views.sort_by_key(|view| view.id.parse::<u64>().unwrap_or(u64::MAX));
        Ok(views)
    }

    /// What running jobs have of the machine: CPUs, memory in MB, GPUs.
    pub(super) fn in_use(&self) -> io::Result<(usize, u64, usize)> {
        let _held = self.lock()?;
        let mut sum = (0, 0, 0);
        for id in self.ids()?.into_iter().filter(|id| self.remembered(*id).is_none()) {
            let record = Record::read(self.jobs().join(id.to_string()))?;
            if let (None, Some(start)) = (&record.outcome, &record.start) {
                let request = &record.job.request;
                sum = (sum.0 + super::fit::count(request), sum.1 + request.memory_mb, sum.2 + start.has.gpus.len());
            }
        }
        Ok(sum)
    }

    /// A started job without supervisor: it ended, or never began, or nobody knows.
    fn settle(&self, record: &mut Record, now: Timestamp) -> io::Result<()> {
        let Some(start) = &record.start else { return Ok(()) };
        let same_boot = start.boot_id == self.machine.boot_id;
        let end = record.end()?;
        if end.is_none() && same_boot && !record.may_have_run() && !record.cancel_asked() {
            return record.never_began();
        }
        if same_boot && !nothing_left(&record.dir)? {
            // Killed just now; the next pass sees whether they are gone.
            return Ok(());
        }
        let witness = witness(record, start.at);
        let outcome = end.map_or_else(|| unseen(same_boot, record.cancel_asked(), witness, now), |end| seen(&end, witness));
        record.close(outcome)
    }

    /// Why each job waits; `None` for those that run.
    fn start_what_fits(&self, open: &mut [Record]) -> Vec<Option<String>> {
        let running: Vec<(&Request, &Allotment)> =
            open.iter().filter_map(|record| Some((&record.job.request, &record.start.as_ref()?.has))).collect();
        // Settings may have changed since it was accepted; then it must not hold back the others.
        let possible = |record: &&Record| record.start.is_none() && record.job.request.fits_empty(&self.machine);
        let pending: Vec<&Request> = open.iter().filter(possible).map(|record| &record.job.request).collect();
        let mut answers = fit(&pending, &running, &self.machine, self.settings.jobs_at_once.get()).into_iter();
        let mut first_waits = true;
        let mut reasons = Vec::new();
        for record in open {
            let reason = if record.start.is_some() {
                None
            } else if !record.job.request.fits_empty(&self.machine) {
                Some("PartitionConfig".to_owned())
            } else if let Some(has) = answers.next().flatten() {
                self.start(record, has).err().map(|error| {
                    tracing::warn!(job = record.job.id, %error, "the job could not be started; it is tried again");
                    format!("could not be started: {error}")
                })
            } else {
                let reason = if first_waits { "Resources" } else { "Priority" };
                first_waits = false;
                Some(reason.to_owned())
            };
            reasons.push(reason);
        }
        reasons
    }

    fn start(&self, record: &mut Record, has: Allotment) -> io::Result<()> {
        let at = Timestamp::now();
        let until = record.job.request.minutes.and_then(|minutes| at.checked_add(self.settings.minute * minutes).ok());
        let start = Start { at, until, boot_id: self.machine.boot_id.clone(), has };
        record.begin(start.clone())?;
        match spawn(record, &start, &self.machine, &self.settings) {
            Ok(child) => {
                self.children.lock().unwrap_or_else(PoisonError::into_inner).push(child);
                Ok(())
            }
            Err(error) => {
                record.never_began()?;
                Err(error)
            }
        }
    }

    fn lock(&self) -> io::Result<std::fs::File> {
        lock(&self.settings.state_dir.join("lock"), PATIENCE)
    }

    fn jobs(&self) -> PathBuf {
        self.settings.state_dir.join("jobs")
    }

    /// Never given before, even if the counter was lost.
    fn next_id(&self) -> io::Result<u64> {
        let path = self.settings.state_dir.join("last-id");
        let counted: u64 = match read_text(&path)? {
            Some(text) => text.trim().parse().map_err(|_| unreadable(&path, text.trim()))?,
            None => 0,
        };
        let id = counted.max(self.ids()?.last().copied().unwrap_or(0)) + 1;
        write(&self.settings.state_dir, "last-id", id.to_string().as_bytes())?;
        Ok(id)
    }

    fn ids(&self) -> io::Result<Vec<u64>> {
        let mut ids = Vec::new();
        for entry in std::fs::read_dir(self.jobs())? {
            ids.extend(entry?.file_name().to_str().and_then(|name| name.parse::<u64>().ok()));
        }
        ids.sort_unstable();
        Ok(ids)
    }

    fn remembered(&self, id: u64) -> Option<JobView> {
        self.over.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    fn remember(&self, record: &Record) -> JobView {
        let view = view(record, &self.machine, None);
        self.over.lock().unwrap_or_else(PoisonError::into_inner).insert(record.job.id, view.clone());
        view
    }

    fn keep(&self) -> jiff::SignedDuration {
        jiff::SignedDuration::try_from(self.settings.keep).unwrap_or(jiff::SignedDuration::MAX)
    }

    /// Out of the way in one step, then removed.
    fn forget(&self, id: u64) -> io::Result<()> {
        let old: &Path = &self.settings.state_dir.join(format!("old-{id}"));
        std::fs::rename(self.jobs().join(id.to_string()), old)?;
        self.over.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        std::fs::remove_dir_all(old)
    }

    fn reap(&self) {
        let mut children = self.children.lock().unwrap_or_else(PoisonError::into_inner);
        children.retain_mut(|child| !matches!(child.try_wait(), Ok(Some(_))));
    }
}

/// The script's own word, if it is of this job: an earlier one in the same directory is older than the start.
fn witness(record: &Record, started_at: Timestamp) -> Option<Witness> {
    let witness = Witness::read(&record.job.job_dir).ok().flatten()?;
    witness.ended_at.filter(|at| at.as_second() >= started_at.as_second()).map(|_| witness)
}

#[derive(Debug)]
pub(super) enum AddError {
    NotAdded(io::Error),
    /// It is in the queue, but perhaps not after a power failure.
    Uncertain(io::Error),
}

impl From<io::Error> for AddError {
    fn from(error: io::Error) -> Self {
        Self::NotAdded(error)
    }
}
