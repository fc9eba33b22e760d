//! What the reconciler decides from, and what it decides: plain values, so that a test writes them down.

use std::collections::HashMap;

use em_api::inputs::EntryKind;
use em_api::{AttemptId, ExperimentUid, ShardId, Timestamp};
use em_slurm::{JobView, Witness};
use jiff::SignedDuration;

use super::limits::Limits;
use crate::store::attempts::AttemptState;
use crate::store::events::NewEvent;
use crate::store::transitions::Standing;
use crate::store::world::Open;

/// Everything that was seen, at one moment.
#[derive(Clone, Debug)]
pub struct World {
    pub now: Timestamp,
    pub knobs: Knobs,
    /// How the names of our own jobs begin; others are none of our business.
    pub job_prefix: String,
    pub slurm: Slurm,
    pub experiments: Vec<View>,
    /// Submissions that the pace allows now.
    pub submissions_left: u32,
    /// Slurm's limit on submitted jobs, in its words, while it holds our submissions back.
    pub submit_limit: Option<String>,
}

#[derive(Clone, Debug)]
pub struct Knobs {
    /// A submission that nobody can find this long after it began did not happen.
    pub settle: SignedDuration,
    /// A job that no source knows is given up after this long.
    pub missing_grace: SignedDuration,
    pub agent_silent_after: SignedDuration,
    /// First pause before a job is submitted again; doubles with each failure, up to ten minutes.
    pub backoff: SignedDuration,
    /// How long the last files of a job that is over may take to become visible.
    pub collect_grace: SignedDuration,
    /// `scancel` again when a job has not gone after this long.
    pub cancel_again: SignedDuration,
    /// When this server started, or the wall clock was last set: no time before is held against anybody.
    pub awake_since: Timestamp,
    /// On experiments that have jobs.
    pub limits: Limits,
}

#[derive(Clone, Debug, Default)]
pub struct Slurm {
    /// A listing made for this look. `None`: not asked, or no answer; nothing may be concluded from absence.
    pub jobs: Option<Vec<JobView>>,
    /// Why the last call that should have reached the controller did not.
    pub unreachable: Option<String>,
}

#[derive(Clone, Debug)]
pub struct View {
    pub open: Open,
    /// `None`: not looked at, because no job would be submitted now or because the job may download.
    pub missing_inputs: Option<Vec<(EntryKind, String)>>,
    /// The command that fills the store.
    pub cure: String,
    /// Of attempts that the listing lacks.
    pub sources: HashMap<AttemptId, Sources>,
    /// What went wrong for this experiment alone.
    pub troubles: Vec<Trouble>,
}

/// A step that failed for one experiment, and may be tried again later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    pub step: Step,
    /// CamelCase word for programs.
    pub reason: &'static str,
    /// With the cure.
    pub message: String,
    /// Not to be tried now.
    pub rests: bool,
}

/// What can fail for one experiment while others go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// To decide anything at all.
    Decide,
    /// To look for its inputs.
    Inputs,
    /// To store what was decided of an attempt.
    Record,
    Submit,
    Cancel,
    /// To take in what a job left.
    Collect,
    Show,
    Remove,
}

/// What the other sources say of a job that the listing lacks.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// Accounting's answer. `None`: not asked, or no answer.
    pub found: Option<Vec<JobView>>,
    pub witness: Option<Witness>,
}

/// One step. Each names the revision that it was decided from.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Record the intent to submit a job for a shard.
    CreateAttempt { uid: ExperimentUid, shard: ShardId, number: u32, not_before: Timestamp },
    /// Write the job directory, call `sbatch`, record what came of it.
    Submit { uid: ExperimentUid, attempt: AttemptId, revision: i64 },
    /// Move an attempt to a state.
    Move { attempt: AttemptId, revision: i64, state: AttemptState, event: Option<NewEvent>, adopted: bool },
    /// `scancel` an attempt's job, then move.
    CancelJob {
        uid: ExperimentUid,
        attempt: AttemptId,
        revision: i64,
        job_id: String,
        state: AttemptState,
        event: Option<NewEvent>,
    },
    /// Bar a second job of an attempt from claiming, where that is not done yet, then `scancel` it.
    CancelDuplicate { uid: ExperimentUid, attempt: AttemptId, revision: i64, job_id: String, barred: bool },
    /// `scancel` a job that no open attempt owns.
    CancelStray { job_id: String, name: String },
    /// Take in what the agent left in the job directory.
    ReadSpool { uid: ExperimentUid, attempt: AttemptId, revision: i64, state: AttemptState },
    /// Change what an experiment shows.
    Show { uid: ExperimentUid, revision: i64, standing: Standing, events: Vec<NewEvent> },
    /// Remove a deleted experiment.
    Remove { uid: ExperimentUid, revision: i64 },
}

/// What to do now, and when to look again at the latest.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decisions {
    pub actions: Vec<Action>,
    pub look_again_at: Option<Timestamp>,
    /// Submissions wait for the pace.
    pub held_back: bool,
    /// Experiments about which nothing could be decided, with the words of the panic.
    pub panicked: Vec<(ExperimentUid, String)>,
}

impl Decisions {
    pub(super) fn push(&mut self, action: Action) {
        self.actions.push(action);
    }

    /// Takes in what was decided about one experiment.
    pub(super) fn join(&mut self, one: Self) {
        self.actions.extend(one.actions);
        self.held_back |= one.held_back;
        if let Some(at) = one.look_again_at {
            self.later(at);
        }
    }

    /// Something becomes due at `at`, without any news.
    pub(super) fn later(&mut self, at: Timestamp) {
        self.look_again_at = Some(self.look_again_at.map_or(at, |earlier| earlier.min(at)));
    }
}

/// No pause that we make is longer: one that ends later was made before the clock was set back.
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_mins(15);

impl World {
    /// How long we have been watching something that began at `at`: never negative, and never longer than we are awake. A clock that
    /// was set, or a server that was away, ends nothing.
    pub(super) fn since(&self, at: Timestamp) -> SignedDuration {
        self.now.duration_since(self.watched_from(at)).max(SignedDuration::ZERO)
    }

    fn watched_from(&self, at: Timestamp) -> Timestamp {
        if at > self.now { self.knobs.awake_since } else { at.max(self.knobs.awake_since) }
    }

    /// Whether `duration` has passed since `at`; else when it will have.
    pub(super) fn passed(&self, at: Timestamp, duration: SignedDuration, decisions: &mut Decisions) -> bool {
        if self.since(at) >= duration {
            return true;
        }
        decisions.later(after(self.watched_from(at), duration));
        false
    }

    /// Whether a pause that ends at `at` is over.
    pub(super) fn due(&self, at: Timestamp) -> bool {
        self.now >= at || at > after(self.now, LONGEST_PAUSE)
    }
}

pub(super) fn after(at: Timestamp, duration: SignedDuration) -> Timestamp {
    at.checked_add(duration).unwrap_or(Timestamp::MAX)
}

impl View {
    pub fn lacks_inputs(&self) -> bool {
        self.missing_inputs.as_ref().is_some_and(|missing| !missing.is_empty())
    }

    /// Whether a step failed lately and is not to be tried now.
    pub(super) fn rests(&self, step: Step) -> bool {
        self.troubles.iter().any(|trouble| trouble.step == step && trouble.rests)
    }

    /// The user wants no job now.
    pub fn unwanted(&self) -> bool {
        self.open.stored.deleted_at.is_some() || self.open.stored.spec.desired != em_api::spec::Desired::Run
    }
}
