//! The decisions, with worlds written down as literals. Builders here, one file a group of rules.

mod cancel;
mod clock;
mod containment;
mod continuity;
mod ends;
mod limits;
mod shards;
mod sources;
mod submission;

use std::collections::HashMap;

use em_api::spec::{Desired, Spec};
use em_api::status::Phase;
use em_api::{AttemptId, ExperimentUid, Timestamp, TrialId};
use em_slurm::{JobState, JobView};
use jiff::SignedDuration;
use serde_json::json;

use super::plan;
use super::world::{Action, Decisions, Knobs, Slurm, Sources, View, World};
use crate::admit::expand::expand;
use crate::store::attempts::{Attempt, AttemptState, Claim, End, EndKind, JobOutcome, Over, SlurmJob, Submitted};
use crate::store::counted::{Handed, OutcomeKind};
use crate::store::experiments::Stored;
use crate::store::transitions::Standing;
use crate::store::world::Open;

/// Seconds after the experiment was posted.
pub(super) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).expect("small")
}

/// Two backends × one batch size × two repetitions: two blocks of two trials.
fn spec() -> Spec {
    let body = json!({
        "apiVersion": "em/v1alpha1", "kind": "Experiment", "metadata": {"name": "test"},
        "spec": {
            "model": {"id": "sentence-transformers/all-MiniLM-L6-v2"},
            "dataset": {"source": "wordnet", "limit": 1000},
            "backends": [{"name": "a", "type": "ort", "device": "cpu"}, {"name": "b", "type": "ort", "device": "cpu"}],
            "matrix": {"batchSizes": [16], "concurrency": [2]},
            "load": {"duration": "10s", "warmup": "1s", "repetitions": 2, "minRequests": 10},
            "slurm": {"time": "1h"}
        }
    });
    crate::admit::admit(&body).expect("the spec of the tests is valid").spec
}

pub(super) fn stored() -> Stored {
    Stored {
        uid: ExperimentUid::generate(),
        name: "test".to_owned(),
        owner: "me".to_owned(),
        labels: Default::default(),
        annotations: Default::default(),
        spec: spec(),
        generation: 1,
        observed_generation: 1,
        revision: 7,
        created_version: 1,
        resource_version: 1,
        phase: Phase::Pending,
        message: None,
        conditions: Vec::new(),
        trials: None,
        estimated_seconds: 60,
        created_at: at(0),
        started_at: None,
        finished_at: None,
        deleted_at: None,
    }
}

fn world() -> World {
    let open = Open { stored: stored(), shards: expand(&spec()), attempts: Vec::new(), handed: Vec::new() };
    let view = View {
        open,
        missing_inputs: Some(Vec::new()),
        cure: "em-agent setup".to_owned(),
        sources: HashMap::new(),
        troubles: Vec::new(),
    };
    World {
        now: at(1000),
        knobs: Knobs {
            settle: SignedDuration::from_secs(20),
            missing_grace: SignedDuration::from_secs(120),
            agent_silent_after: SignedDuration::from_secs(60),
            backoff: SignedDuration::from_secs(10),
            collect_grace: SignedDuration::from_secs(5),
            cancel_again: SignedDuration::from_secs(30),
            awake_since: at(0),
            limits: Default::default(),
        },
        job_prefix: "em-testtest-".to_owned(),
        slurm: Slurm { jobs: Some(Vec::new()), unreachable: None },
        experiments: vec![view],
        submissions_left: 20,
        submit_limit: None,
    }
}

impl World {
    fn view(&mut self) -> &mut View {
        &mut self.experiments[0]
    }

    fn with_attempt(mut self, state: AttemptState) -> Self {
        let shard = self.view().open.shards[0].id;
        let number = self.view().open.attempts.len() as u32 + 1;
        let base = crate::store::testing::attempt(state);
        let attempt = Attempt { experiment: self.view().open.stored.uid, shard, number, revision: 3, ..base };
        self.view().open.attempts.push(attempt);
        self
    }

    fn last(&mut self) -> &mut Attempt {
        self.view().open.attempts.last_mut().expect("an attempt")
    }

    /// The last attempt is claimed by its job and was heard `ago` seconds ago.
    fn claimed(mut self, ago: i64) -> Self {
        let heard = self.now.checked_sub(SignedDuration::from_secs(ago)).expect("small");
        let job_id = self.last().job().map_or("7".to_owned(), |job| job.id.clone());
        let claim = Claim { job_id, epoch: 0, restart_count: 0, boot_nonce: "n".into(), node: "node1".into(), at: heard };
        self.last().claim = Some(claim);
        self.last().last_heard_at = Some(heard);
        self
    }

    /// Slurm lists these jobs under the last attempt's name.
    fn listing(mut self, jobs: &[(&str, JobState)]) -> Self {
        let name = self.last().job_name.clone();
        self.slurm.jobs = Some(jobs.iter().map(|(id, state)| job(id, &name, state.clone())).collect());
        self
    }

    fn unlisted(mut self, sources: Sources) -> Self {
        let id = self.last().id;
        self.slurm.jobs = Some(Vec::new());
        self.view().sources.insert(id, sources);
        self
    }

    /// The last attempt handed in `outcome` for the first `trials` trials of the matrix, block after block.
    fn handed(mut self, trials: usize, outcome: OutcomeKind) -> Self {
        let attempt = self.last().id;
        let places: Vec<_> = self
            .view()
            .open
            .shards
            .iter()
            .flat_map(|shard| &shard.blocks)
            .flat_map(|block| block.trials.iter().map(|(_, trial)| (block.id, *trial)))
            .take(trials)
            .collect();
        let handed = places.into_iter().map(|(block, trial)| one(block, trial, attempt, outcome));
        self.view().open.handed.extend(handed);
        self
    }

    fn desired(mut self, desired: Desired) -> Self {
        self.view().open.stored.spec.desired = desired;
        self
    }

    fn decide(&self) -> Decisions {
        plan(self)
    }

    /// The state that the last attempt is moved to.
    fn moved(&self) -> AttemptState {
        let id = self.experiments[0].open.attempts.last().expect("an attempt").id;
        let found = self.decide().actions.into_iter().find_map(|action| match action {
            Action::Move { attempt, state, .. }
            | Action::CancelJob { attempt, state, .. }
            | Action::ReadSpool { attempt, state, .. }
                if attempt == id =>
            {
                Some(state)
            }
            _ => None,
        });
        found.unwrap_or_else(|| panic!("the attempt is moved: {:?}", self.decide().actions))
    }

    /// How the last attempt ends.
    fn end(&self) -> End {
        match self.moved() {
            AttemptState::Ended { end, .. } => end,
            other => panic!("the attempt ends, not {other:?}"),
        }
    }

    fn shown(&self) -> Standing {
        let show = self.decide().actions.into_iter().find_map(|action| match action {
            Action::Show { standing, .. } => Some(standing),
            _ => None,
        });
        show.unwrap_or_else(|| panic!("a new standing is shown: {:?}", self.decide().actions))
    }

    fn created(&self) -> Option<u32> {
        self.decide().actions.into_iter().find_map(|action| match action {
            Action::CreateAttempt { number, .. } => Some(number),
            _ => None,
        })
    }
}

fn one(block: em_api::BlockId, trial: TrialId, attempt: AttemptId, outcome: OutcomeKind) -> Handed {
    Handed {
        trial,
        block,
        attempt,
        epoch: 0,
        outcome,
        reason: (outcome == OutcomeKind::Failed).then(|| "ServiceStartFailed".to_owned()),
        verdict: None,
        started_at: at(500),
        finished_at: at(510),
        received_at: at(511),
    }
}

fn job(id: &str, name: &str, state: JobState) -> JobView {
    let raw_state = match &state {
        JobState::Unknown(word) => word.clone(),
        other => format!("{other:?}").to_uppercase(),
    };
    JobView {
        id: id.to_owned(),
        name: name.to_owned(),
        comment: String::new(),
        state,
        raw_state,
        reason: None,
        pending: None,
        nodes: None,
        restart_count: Some(0),
        submitted_at: None,
        started_at: None,
        expected_start: None,
        ends_at: None,
        exit: None,
        derived_exit: None,
        user: None,
    }
}

/// Slurm has job 7, which it listed as `state`.
fn submitted(state: &str) -> AttemptState {
    let job = SlurmJob { id: "7".into(), state: Some(state.into()), restarts: Some(0), ..SlurmJob::default() };
    AttemptState::Submitted(Submitted { job, missing_since: None, cancel: None, over: None })
}

/// Job 7 is over, and its spool was read.
fn over(outcome: JobOutcome) -> AttemptState {
    let AttemptState::Submitted(submitted) = submitted("COMPLETED") else { unreachable!("made so above") };
    let over = Some(Over { at: at(990), outcome, exit_code: Some(1), spool_read: true });
    AttemptState::Submitted(Submitted { over, ..submitted })
}

fn ended(kind: EndKind, seconds: i64) -> AttemptState {
    let end = End { kind, reason: "Reason".into(), message: "message".into() };
    AttemptState::Ended { at: at(seconds), end, job: None, over: None }
}
