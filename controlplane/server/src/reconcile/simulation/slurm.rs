//! A Slurm made up for the simulation: jobs with a truth of their own, and what its commands show of it, late, wrongly or not at all.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use em_api::Timestamp;
use em_slurm::{
    CancelError, ClusterView, ExitStatus, JobScript, JobState, JobView, PendingReason, ReadError, Scheduler, SubmitError, Submitted,
};
use jiff::SignedDuration;

use crate::clock::now;
use crate::probe::{self, Place};
use crate::reconcile::world::after;

/// What a job truly is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Truth {
    Pending,
    Running,
    Ended(&'static str),
    /// Forgotten by a controller that crashed; its processes are gone too.
    Lost,
}

#[derive(Clone, Debug)]
pub(super) struct Job {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) shard: String,
    pub(super) dir: PathBuf,
    pub(super) truth: Truth,
    pub(super) submitted: Timestamp,
    pub(super) shown_from: Timestamp,
    /// Shown for its true state while it lives.
    pub(super) odd_word: Option<&'static str>,
    pub(super) reason: Option<&'static str>,
    pub(super) starts_at: Timestamp,
    pub(super) started: Option<Timestamp>,
    pub(super) ends_at: Timestamp,
    /// Its end shows only from here.
    pub(super) end_shown_from: Timestamp,
    pub(super) restarts: u32,
    pub(super) exit: (i32, i32),
    /// The controller no longer lists it.
    pub(super) purged: bool,
    /// `scancel` was called, by us or by somebody.
    pub(super) term: bool,
    /// One of two that a single submission made.
    pub(super) doubled: bool,
}

impl Job {
    pub(super) fn live(&self) -> bool {
        matches!(self.truth, Truth::Pending | Truth::Running)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SubmitFault {
    AnswerLost,
    /// The controller takes it after so many seconds.
    TakenLate(i64),
    TimedOut,
    Refused,
    /// Refused, and yet there is a record of it.
    RefusedWithRecord,
    Limited,
    Unreachable,
    Doubled,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Accounting {
    On,
    /// The site has none: an empty answer.
    Off,
    Silent,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) jobs: Vec<Job>,
    pub(super) next_id: u64,
    /// No connection.
    pub(super) down: bool,
    /// It answers nothing in time.
    pub(super) hangs: bool,
    /// Until then jobs that were listed before are missing in the listing, though they live.
    pub(super) blank_until: Timestamp,
    pub(super) accounting: Accounting,
    pub(super) fault: Option<SubmitFault>,
    /// Until a job starts, in seconds.
    pub(super) queue_s: i64,
    pub(super) limit: SignedDuration,
    /// Of this process of the server: a new one has a budget of its own.
    pub(super) reads: VecDeque<Timestamp>,
    /// Calls of `scancel`: id and name.
    pub(super) cancelled: Vec<(String, String)>,
    /// Calls, for the trace.
    pub(super) said: Vec<String>,
    /// Promises broken in a call.
    pub(super) broken: Vec<String>,
}

pub(super) struct SimSlurm(Mutex<State>);

/// How the names of this server's jobs begin.
fn ours(name: &str, prefix: &str) -> bool {
    name.starts_with(prefix)
}

impl SimSlurm {
    pub(super) fn new() -> Self {
        Self(Mutex::new(State {
            jobs: Vec::new(),
            next_id: 100,
            down: false,
            hangs: false,
            blank_until: Timestamp::MIN,
            accounting: Accounting::On,
            fault: None,
            queue_s: 5,
            limit: SignedDuration::from_mins(20),
            reads: VecDeque::new(),
            cancelled: Vec::new(),
            said: Vec::new(),
            broken: Vec::new(),
        }))
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    pub(super) fn add(&mut self, name: &str, shard: &str, dir: PathBuf, shown_after: i64) -> String {
        let (id, at) = (self.next_id.to_string(), now());
        self.next_id += 1;
        self.jobs.push(Job {
            id: id.clone(),
            name: name.to_owned(),
            shard: shard.to_owned(),
            dir,
            truth: Truth::Pending,
            submitted: at,
            shown_from: after(at, SignedDuration::from_secs(shown_after)),
            odd_word: None,
            reason: None,
            starts_at: after(at, SignedDuration::from_secs(shown_after + self.queue_s)),
            started: None,
            ends_at: at,
            end_shown_from: at,
            restarts: 0,
            exit: (0, 0),
            purged: false,
            term: false,
            doubled: false,
        });
        id
    }

    /// `shown_after`: seconds until the listing has it.
    pub(super) fn end(&mut self, index: usize, word: &'static str, exit: (i32, i32), shown_after: i64) {
        let at = now();
        let job = &mut self.jobs[index];
        (job.truth, job.exit, job.ends_at, job.odd_word) = (Truth::Ended(word), exit, at, None);
        job.end_shown_from = after(at, SignedDuration::from_secs(shown_after));
    }

    fn read(&mut self) {
        let at = now();
        self.reads.retain(|read| at.duration_since(*read) < SignedDuration::from_secs(60));
        self.reads.push_back(at);
        if self.reads.len() > 20 {
            self.broken.push(format!("{} reads within a minute", self.reads.len()));
        }
    }

    fn answers(&self, program: &'static str) -> Result<(), ReadError> {
        if self.down {
            return Err(ReadError::Unreachable { program, stderr: "connect failure".to_owned() });
        }
        if self.hangs {
            return Err(ReadError::TimedOut { program, after: std::time::Duration::from_secs(30) });
        }
        Ok(())
    }

    fn take(&mut self, script: &JobScript) -> Result<Submitted, SubmitError> {
        let fault = self.fault.take();
        if self.down || fault == Some(SubmitFault::Unreachable) {
            return Err(SubmitError::Unreachable { stderr: "connect failure".to_owned() });
        }
        let ambiguous = |detail: &str| Err(SubmitError::Ambiguous { detail: detail.to_owned() });
        let shard = script.comment.split_whitespace().find_map(|word| word.strip_prefix("shard=")).unwrap_or_default().to_owned();
        let (name, dir) = (script.name.as_str(), script.job_dir.clone());
        match fault {
            Some(SubmitFault::Refused) => return Err(SubmitError::Rejected { stderr: "Invalid qos specification".to_owned() }),
            Some(SubmitFault::Limited) => return Err(SubmitError::Limited { stderr: "AssocMaxSubmitJobLimit".to_owned() }),
            Some(SubmitFault::TimedOut) => return ambiguous("no answer in time"),
            _ if self.hangs => return ambiguous("no answer in time"),
            Some(SubmitFault::RefusedWithRecord) => {
                self.add(name, &shard, dir, 0);
                let index = self.jobs.len() - 1;
                self.end(index, "FAILED", (1, 0), 0);
                self.jobs[index].reason = Some("BadConstraints");
                return Err(SubmitError::Rejected { stderr: "Requested node configuration is not available".to_owned() });
            }
            _ => {}
        }
        self.no_second(name, &shard);
        let late = if let Some(SubmitFault::TakenLate(seconds)) = fault { seconds } else { 0 };
        let id = self.add(name, &shard, dir.clone(), late);
        match fault {
            Some(SubmitFault::AnswerLost | SubmitFault::TakenLate(_)) => ambiguous("killed"),
            Some(SubmitFault::Doubled) => {
                self.add(name, &shard, dir, 0);
                let from = self.jobs.len() - 2;
                self.jobs[from..].iter_mut().for_each(|job| job.doubled = true);
                // Either may start first, before anybody has seen them.
                if self.next_id.is_multiple_of(2) {
                    self.jobs[from].starts_at = after(now(), SignedDuration::from_secs(8));
                    self.jobs[from + 1].starts_at = after(now(), SignedDuration::from_secs(1));
                }
                ambiguous("killed")
            }
            _ => Ok(Submitted { id, cluster: None }),
        }
    }

    /// The promises about submissions, at the moment of one.
    fn no_second(&mut self, name: &str, shard: &str) {
        let twin =
            self.jobs.iter().find(|job| job.name == name && job.truth != Truth::Lost && job.reason != Some("BadConstraints"));
        let rival = self.jobs.iter().find(|job| job.shard == shard && job.live() && !job.term && !job.doubled);
        let said = match (twin, rival) {
            (Some(job), _) => format!("{name} is submitted although job {} of this name exists ({:?})", job.id, job.truth),
            (_, Some(job)) => format!("{name} is submitted although job {} of its shard lives", job.id),
            (None, None) => return,
        };
        self.broken.push(said);
    }

    fn view(&self, job: &Job, accounting: bool) -> JobView {
        let at = now();
        let word = match job.truth {
            Truth::Pending => job.odd_word.unwrap_or("PENDING"),
            Truth::Running => job.odd_word.unwrap_or("RUNNING"),
            Truth::Ended(_) if at < job.end_shown_from => {
                if job.started.is_some() {
                    "COMPLETING"
                } else {
                    "PENDING"
                }
            }
            Truth::Ended(word) => word,
            // Only accounting still has it.
            Truth::Lost => {
                if job.started.is_some() {
                    "RUNNING"
                } else {
                    "PENDING"
                }
            }
        };
        let state = JobState::parse(word);
        let ended = state.ended();
        let status = ExitStatus { code: job.exit.0, signal: job.exit.1 };
        let reason = job.reason.filter(|_| !accounting);
        JobView {
            id: job.id.clone(),
            name: job.name.clone(),
            comment: String::new(),
            raw_state: word.to_owned(),
            reason: reason.map(str::to_owned),
            pending: reason.filter(|_| state == JobState::Pending).and_then(PendingReason::parse),
            nodes: job.started.map(|_| "node1".to_owned()),
            restart_count: (!accounting).then_some(job.restarts),
            submitted_at: Timestamp::from_second(job.submitted.as_second()).ok(),
            started_at: job.started,
            expected_start: None,
            ends_at: job.started.map(|_| job.ends_at),
            exit: ended.then_some(status),
            derived_exit: None,
            user: None,
            state,
        }
    }
}

#[async_trait]
impl Scheduler for SimSlurm {
    fn kind(&self) -> &'static str {
        "simulated"
    }

    async fn submit(&self, job: &JobScript) -> Result<Submitted, SubmitError> {
        probe::point(Place::Free).await;
        let answer = {
            let mut state = self.state();
            let answer = state.take(job);
            state.said.push(format!("sbatch: {answer:?}"));
            answer
        };
        probe::point(Place::Free).await;
        answer
    }

    async fn list(&self, prefix: &str) -> Result<Vec<JobView>, ReadError> {
        let answer = {
            let mut state = self.state();
            state.read();
            let at = now();
            state.answers("squeue").map(|()| {
                let hidden = |job: &Job| at < state.blank_until && at.duration_since(job.submitted) > SignedDuration::from_secs(60);
                let shown = |job: &&Job| {
                    let listed = !job.purged && job.truth != Truth::Lost && job.shown_from <= at;
                    listed && !hidden(job) && ours(&job.name, prefix)
                };
                state.jobs.iter().filter(shown).map(|job| state.view(job, false)).collect()
            })
        };
        probe::point(Place::Free).await;
        answer
    }

    async fn accounted(&self, names: &[&str]) -> Result<Vec<JobView>, ReadError> {
        let mut state = self.state();
        state.read();
        state.answers("sacct")?;
        match state.accounting {
            Accounting::Off => Ok(Vec::new()),
            Accounting::Silent => Err(ReadError::Unreachable { program: "sacct", stderr: "Connection refused".to_owned() }),
            Accounting::On => {
                let at = now();
                let known =
                    |job: &&Job| names.contains(&job.name.as_str()) && job.shown_from <= at && job.reason != Some("BadConstraints");
                Ok(state.jobs.iter().filter(known).map(|job| state.view(job, true)).collect())
            }
        }
    }

    async fn cancel(&self, id: &str) -> Result<(), CancelError> {
        {
            let mut state = self.state();
            if state.down || state.hangs {
                return Err(CancelError::Unreachable { id: id.to_owned(), stderr: "connect failure".to_owned() });
            }
            let Some(index) = state.jobs.iter().rposition(|job| job.id == id && job.truth != Truth::Lost) else { return Ok(()) };
            let name = state.jobs[index].name.clone();
            state.cancelled.push((id.to_owned(), name));
            state.said.push(format!("scancel {id}"));
            match state.jobs[index].truth {
                Truth::Pending => {
                    state.jobs[index].term = true;
                    state.end(index, "CANCELLED", (0, 0), 0);
                }
                Truth::Running => state.jobs[index].term = true,
                Truth::Ended(_) | Truth::Lost => {}
            }
        }
        probe::point(Place::Free).await;
        Ok(())
    }

    async fn cluster(&self) -> Result<ClusterView, ReadError> {
        Ok(ClusterView::default())
    }
}
