//! What must never happen, whatever comes: two live jobs of one shard, a finished trial that moves, an ended experiment that lives
//! again. A made-up Slurm and agent take random steps; between them the real `plan` decides and its actions are done to the rows.

use proptest::prelude::*;

use super::*;
use crate::reconcile::shard;
use crate::store::trials::{TrialRow, states};

#[derive(Clone, Copy, Debug)]
enum Sbatch {
    Works,
    /// The job exists; the answer is lost, and the controller shows the job only after so many seconds.
    TakenLate(i64),
    NothingHappened,
    Unreachable,
    /// The server dies while `sbatch` runs.
    Crash {
        taken: bool,
    },
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Pass(i64),
    /// The reconciler looks: with a listing or without, accounting answering or not.
    Look {
        listing: bool,
        accounting: bool,
        sbatch: Sbatch,
    },
    /// The live job gets this state.
    Slurm(usize),
    /// A crash of the controller loses the live job.
    Lose,
    /// The controller forgets jobs that are over.
    Purge,
    Claim,
    /// The agent hands in its next trial.
    HandIn(OutcomeKind),
    Wish(Desired),
}

const WORDS: [&str; 9] =
    ["RUNNING", "COMPLETED", "FAILED", "TIMEOUT", "PREEMPTED", "NODE_FAIL", "OUT_OF_MEMORY", "CANCELLED", "LAUNCH_FAILED"];

fn step() -> impl Strategy<Value = Step> {
    let sbatch = prop_oneof![
        4 => Just(Sbatch::Works),
        1 => (0..20_i64).prop_map(Sbatch::TakenLate),
        1 => Just(Sbatch::NothingHappened),
        1 => Just(Sbatch::Unreachable),
        1 => any::<bool>().prop_map(|taken| Sbatch::Crash { taken }),
    ];
    let outcome =
        prop_oneof![3 => Just(OutcomeKind::Measured), 1 => Just(OutcomeKind::Failed), 1 => Just(OutcomeKind::Interrupted)];
    let desired = prop_oneof![4 => Just(Desired::Run), 1 => Just(Desired::Suspended), 1 => Just(Desired::Cancelled)];
    prop_oneof![
        4 => prop_oneof![1..8_i64, 20..200_i64].prop_map(Step::Pass),
        8 => (any::<bool>(), any::<bool>(), sbatch).prop_map(|(listing, accounting, sbatch)| Step::Look { listing, accounting, sbatch }),
        3 => (0..WORDS.len()).prop_map(Step::Slurm),
        1 => Just(Step::Lose),
        1 => Just(Step::Purge),
        3 => Just(Step::Claim),
        4 => outcome.prop_map(Step::HandIn),
        1 => desired.prop_map(Step::Wish),
    ]
}

struct SimJob {
    view: JobView,
    seen_from: Timestamp,
    purged: bool,
}

struct Sim {
    world: World,
    jobs: Vec<SimJob>,
    settled: bool,
}

impl Sim {
    fn new() -> Self {
        let mut world = world();
        world.view().open.stored.spec.max_continuations = 3;
        Self { world, jobs: Vec::new(), settled: false }
    }

    fn open(&mut self) -> &mut Open {
        &mut self.world.experiments[0].open
    }

    fn live(&self) -> impl Iterator<Item = &SimJob> {
        self.jobs.iter().filter(|job| !job.view.state.ended())
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Pass(seconds) => self.world.now = self.world.now.checked_add(SignedDuration::from_secs(seconds)).expect("small"),
            Step::Look { listing, accounting, sbatch } => self.look(listing, accounting, sbatch),
            Step::Slurm(word) => {
                if let Some(job) = self.jobs.iter_mut().rev().find(|job| !job.view.state.ended()) {
                    (job.view.state, job.view.raw_state) = (JobState::parse(WORDS[word]), WORDS[word].to_owned());
                }
            }
            Step::Lose => self.jobs.retain(|job| job.view.state.ended()),
            Step::Purge => self.jobs.iter_mut().filter(|job| job.view.state.ended()).for_each(|job| job.purged = true),
            Step::Claim => self.claim(),
            Step::HandIn(outcome) => self.hand_in(outcome),
            Step::Wish(desired) => {
                if !self.open().stored.phase.ended() && self.open().stored.spec.desired != Desired::Cancelled {
                    self.open().stored.spec.desired = desired;
                    self.settled = false;
                }
            }
        }
    }

    fn claim(&mut self) {
        let now = self.world.now;
        let Some(job) = self.live().next().map(|job| job.view.clone()) else { return };
        let Some(attempt) = self.open().attempts.iter_mut().find(|one| one.job_name == job.name && !one.ended()) else { return };
        attempt.last_heard_at = Some(now);
        if attempt.claim.is_none() && job.raw_state == "RUNNING" {
            attempt.claim = Some(Claim {
                job_id: job.id.clone(),
                epoch: 0,
                restart_count: 0,
                boot_nonce: "n".into(),
                node: "n".into(),
                at: now,
            });
            if attempt.job().is_none() {
                let job = SlurmJob { id: job.id, ..SlurmJob::default() };
                attempt.state = AttemptState::Submitted(Submitted { job, missing_since: None, cancel: None, over: None });
            }
            attempt.revision += 1;
        }
    }

    fn hand_in(&mut self, outcome: OutcomeKind) {
        let now = self.world.now;
        let open = self.open();
        let Some(attempt) = open.attempts.iter().rev().find(|one| one.claim.is_some()).map(|one| one.id) else { return };
        let done = |trial: &TrialId| open.handed.iter().any(|one| one.attempt == attempt && one.trial == *trial);
        let next = open.shards[0]
            .blocks
            .iter()
            .flat_map(|block| block.trials.iter().map(|(_, trial)| (block.id, *trial)))
            .find(|(_, trial)| !done(trial));
        if let Some((block, trial)) = next {
            let handed = Handed { received_at: now, ..one(block, trial, attempt, outcome) };
            open.handed.push(handed);
        }
    }

    /// Looks until it comes to rest, as the reconciler does.
    fn look(&mut self, listing: bool, accounting: bool, sbatch: Sbatch) {
        let now = self.world.now;
        let listed: Vec<JobView> =
            self.jobs.iter().filter(|job| !job.purged && job.seen_from <= now).map(|job| job.view.clone()).collect();
        self.world.slurm = Slurm {
            jobs: listing.then(|| listed.clone()),
            unreachable: (!listing).then(|| "away".to_owned()).filter(|_| accounting),
        };
        let names: Vec<(AttemptId, String)> = self.open().attempts.iter().map(|one| (one.id, one.job_name.clone())).collect();
        let found = |name: &str| {
            self.jobs.iter().filter(|job| job.view.name == name && job.seen_from <= now).map(|job| job.view.clone()).collect()
        };
        let sources: HashMap<AttemptId, Sources> = names
            .into_iter()
            .filter(|(_, name)| listing && !listed.iter().any(|job| job.name == *name))
            .map(|(id, name)| (id, Sources { found: accounting.then(|| found(&name)), witness: None }))
            .collect();
        self.world.view().sources = sources;
        for round in 0.. {
            assert!(round < 50, "the reconciler does not come to rest: {:?}", plan(&self.world));
            if self.settled {
                return;
            }
            let actions = plan(&self.world).actions;
            let rests = actions.is_empty();
            for action in actions {
                if !self.apply(action, sbatch) {
                    return;
                }
            }
            if rests {
                return;
            }
            // The next look of the reconciler has no new listing.
            self.world.slurm.jobs = None;
            self.world.view().sources.clear();
        }
    }

    /// `false`: the server has died.
    fn apply(&mut self, action: Action, sbatch: Sbatch) -> bool {
        let now = self.world.now;
        match action {
            Action::CreateAttempt { number, .. } => {
                assert!(self.open().attempts.iter().all(Attempt::ended), "two open attempts of one shard");
                self.world = self.world.clone().with_attempt(AttemptState::Intended { not_before: now });
                assert_eq!(self.world.last().number, number);
            }
            Action::Submit { attempt, revision, .. } => {
                let (shard, view) = (self.open().shards[0].clone(), self.world.view().clone());
                let planned = shard::unfinished(&view, &shard);
                assert!(
                    !planned.is_empty() && planned.iter().all(|block| !shard::counted(&view, block).finished),
                    "finished blocks rest"
                );
                self.set(attempt, revision, AttemptState::Submitting { since: now });
                return self.sbatch(attempt, sbatch);
            }
            Action::Move { attempt, revision, state, .. } | Action::ReadSpool { attempt, revision, state, .. } => {
                self.set(attempt, revision, state);
            }
            Action::CancelJob { attempt, revision, job_id, state, .. } => {
                self.scancel(&job_id);
                self.set(attempt, revision, state);
            }
            Action::CancelDuplicate { job_id, .. } => panic!("job {job_id} is a second one"),
            Action::CancelStray { job_id, name } => {
                assert!(!self.open().attempts.iter().any(|one| one.job_name == name && !one.ended()), "job {job_id} has an owner");
                self.scancel(&job_id);
            }
            Action::Show { standing, .. } => {
                let stored = &mut self.open().stored;
                assert!(!stored.phase.ended() || stored.phase == standing.phase, "an ended experiment moves");
                (stored.phase, stored.message, stored.conditions) = (standing.phase, standing.message, standing.conditions);
                (stored.observed_generation, stored.started_at, stored.finished_at) =
                    (standing.observed_generation, standing.started_at, standing.finished_at);
                stored.revision += 1;
                self.settled = standing.settled;
            }
            Action::Remove { .. } => panic!("nobody deletes here"),
        }
        true
    }

    fn set(&mut self, attempt: AttemptId, revision: i64, state: AttemptState) {
        let attempt = self.open().attempts.iter_mut().find(|one| one.id == attempt).expect("an attempt");
        if attempt.revision == revision {
            attempt.state = state;
            attempt.revision += 1;
        }
    }

    fn sbatch(&mut self, attempt: AttemptId, sbatch: Sbatch) -> bool {
        let now = self.world.now;
        let name = self.world.last().job_name.clone();
        let id = (self.jobs.len() + 10).to_string();
        let taken = match sbatch {
            Sbatch::Works => Some(0),
            Sbatch::TakenLate(seconds) => Some(seconds),
            Sbatch::Crash { taken: true } => Some(19),
            _ => None,
        };
        if let Some(seconds) = taken {
            let seen_from = now.checked_add(SignedDuration::from_secs(seconds)).expect("small");
            self.jobs.push(SimJob { view: job(&id, &name, JobState::Pending), seen_from, purged: false });
        }
        let revision = self.world.last().revision;
        match sbatch {
            Sbatch::Works => {
                let job = SlurmJob { id, state: Some("PENDING".into()), ..SlurmJob::default() };
                self.set(
                    attempt,
                    revision,
                    AttemptState::Submitted(Submitted { job, missing_since: None, cancel: None, over: None }),
                );
            }
            Sbatch::Unreachable => {
                let not_before = now.checked_add(SignedDuration::from_secs(10)).expect("small");
                self.set(attempt, revision, AttemptState::Intended { not_before });
                self.world.slurm.unreachable = Some("away".to_owned());
            }
            Sbatch::TakenLate(_) | Sbatch::NothingHappened => {}
            Sbatch::Crash { .. } => {
                self.world.knobs.awake_since = now;
                return false;
            }
        }
        true
    }

    /// Slurm kills at once.
    fn scancel(&mut self, id: &str) {
        for job in self.jobs.iter_mut().filter(|job| job.view.id == id && !job.view.state.ended()) {
            (job.view.state, job.view.raw_state) = (JobState::Cancelled, "CANCELLED".to_owned());
        }
    }

    /// Which measurement counts for each trial of a finished block.
    fn finished(&self) -> Vec<(TrialId, usize)> {
        let view = &self.world.experiments[0];
        let blocks = view.open.shards[0].blocks.iter().map(|block| shard::counted(view, block)).filter(|counted| counted.finished);
        blocks.flat_map(|counted| counted.by_trial).collect()
    }

    fn trial_phases(&self) -> Vec<em_api::status::TrialPhase> {
        let open = &self.world.experiments[0].open;
        let rows: Vec<TrialRow> = open
            .shards
            .iter()
            .flat_map(|shard| shard.blocks.iter().map(move |block| (shard.id, block)))
            .flat_map(|(shard, block)| {
                block.trials.iter().map(move |(backend, id)| TrialRow {
                    id: *id,
                    block: block.id,
                    shard,
                    backend: backend.clone(),
                    repetition: block.repetition,
                    batch_size: block.batch_size,
                    load: block.load,
                })
            })
            .collect();
        states(&rows, &open.handed, &open.attempts, open.stored.phase, open.stored.spec.retry_trials)
            .into_iter()
            .map(|state| state.phase)
            .collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, max_shrink_iters: 5_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_shard_ever_has_two_live_jobs_and_no_finished_trial_moves(steps in prop::collection::vec(step(), 1..60)) {
        let mut sim = Sim::new();
        for step in steps {
            let (finished, phases) = (sim.finished(), sim.trial_phases());
            sim.take(step);
            prop_assert!(sim.live().count() <= 1, "two live jobs after {step:?}");
            let now = sim.finished();
            prop_assert!(finished.iter().all(|one| now.contains(one)), "a finished trial moved at {step:?}");
            for (before, after) in phases.iter().zip(sim.trial_phases()) {
                let measured = *before == em_api::status::TrialPhase::Succeeded;
                prop_assert!(!measured || after == *before, "a measured trial became {after:?} at {step:?}");
            }
            let spent = |kind| sim.world.experiments[0].open.attempts.iter().filter(|one| one.end().is_some_and(|(end, _)| end.kind == kind)).count();
            prop_assert!(spent(EndKind::Retry) <= 3 && spent(EndKind::Continuation) <= 4, "beyond the bounds");
        }
    }
}
