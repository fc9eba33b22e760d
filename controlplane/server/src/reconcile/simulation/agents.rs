//! The agents of the simulation: they claim, measure, deliver and leave as the real one does, late, twice, cut off or silent.

use std::collections::VecDeque;
use std::path::PathBuf;

use em_api::agent::{ClaimRequest, Directive, Record, RecordBody};
use em_api::measurement::{Measurement, Outcome};
use em_api::plan::{Plan, PlannedTrial};
use em_api::{AttemptId, Timestamp};
use jiff::SignedDuration;
use rand::Rng;

use super::stage::Stage;
use crate::clock::now;
use crate::reconcile::world::after;
use crate::results::fixture;
use crate::store::claims::ClaimOutcome;
use crate::store::handed_in::{Delivery, PutOutcome};
use crate::store::records::AppendOutcome;

/// Without an answer for this long the job directory decides the claim.
const CLAIM_TIMEOUT: SignedDuration = SignedDuration::from_secs(120);
/// The job's TERM comes this long before its time limit.
const TERM_BEFORE: SignedDuration = SignedDuration::from_secs(90);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Claiming { since: Timestamp },
    Working,
    Leaving,
    Gone,
}

#[derive(Debug)]
pub(super) struct Agent {
    /// Index of its job, and which run of it.
    pub(super) job: usize,
    pub(super) restarts: u32,
    pub(super) step: Step,
    pub(super) plan: Plan,
    dir: PathBuf,
    nonce: String,
    pub(super) epoch: u32,
    confirmed: bool,
    todo: VecDeque<(String, u32, PlannedTrial)>,
    running: Option<(String, u32, PlannedTrial, Timestamp)>,
    undelivered: VecDeque<Measurement>,
    pub(super) next_at: Timestamp,
    /// Cannot reach the server until then.
    pub(super) cut_off_until: Timestamp,
    /// Does nothing any more.
    pub(super) hung: bool,
    /// Its job runs elsewhere or is over, and it has not noticed.
    pub(super) zombie: bool,
    stopped: bool,
    seq: u64,
}

/// Who was told to work on an attempt.
#[derive(Clone, Debug)]
pub(super) struct Grant {
    pub(super) epoch: u32,
    pub(super) job_id: String,
    restarts: u32,
    nonce: String,
}

/// A claim in a job directory: `mkdir claims/{epoch}`.
#[derive(Clone, Debug)]
pub(super) struct FolderClaim {
    restarts: u32,
    nonce: String,
}

impl Agent {
    pub(super) fn start(stage: &mut Stage, job: usize) -> Option<Self> {
        let (dir, restarts) = {
            let slurm = stage.slurm.state();
            (slurm.jobs[job].dir.clone(), slurm.jobs[job].restarts)
        };
        // A job of somebody else's.
        let text = std::fs::read_to_string(crate::job::plan_path(&dir)).ok()?;
        let plan: Plan = serde_json::from_str(&text).expect("the plan that the server wrote");
        let todo = plan
            .services
            .iter()
            .flat_map(|service| service.trials.iter().map(|trial| (service.backend.clone(), service.repetition, *trial)))
            .collect();
        let at = now();
        Some(Self {
            job,
            restarts,
            step: Step::Claiming { since: at },
            plan,
            dir,
            nonce: format!("{job}-{restarts}"),
            epoch: 0,
            confirmed: false,
            todo,
            running: None,
            undelivered: VecDeque::new(),
            next_at: after(at, SignedDuration::from_secs(1)),
            cut_off_until: at,
            hung: false,
            zombie: false,
            stopped: false,
            seq: 0,
        })
    }

    pub(super) fn attempt(&self) -> AttemptId {
        self.plan.attempt
    }

    fn leave(&mut self) {
        self.step = Step::Leaving;
        self.next_at = after(now(), SignedDuration::from_secs(1));
    }

    /// Does what is due.
    pub(super) async fn act(&mut self, stage: &mut Stage) {
        let at = now();
        self.next_at = after(at, SignedDuration::from_secs(8));
        if self.hung {
            return;
        }
        let reachable = stage.server_answers() && at >= self.cut_off_until;
        match self.step {
            Step::Claiming { since } => {
                self.next_at = after(at, SignedDuration::from_secs(3));
                if reachable {
                    self.claim(stage).await;
                } else if at.duration_since(since) >= CLAIM_TIMEOUT {
                    self.claim_by_folder(stage);
                }
            }
            Step::Working => self.work(stage, reachable).await,
            Step::Leaving => self.go(stage, reachable).await,
            Step::Gone => {}
        }
    }

    fn request(&self, stage: &Stage) -> ClaimRequest {
        ClaimRequest {
            attempt: self.attempt(),
            slurm_job_id: stage.slurm.state().jobs[self.job].id.clone(),
            restart_count: self.restarts,
            boot_nonce: self.nonce.clone(),
            node: "node1".to_owned(),
            version: "simulated".to_owned(),
        }
    }

    async fn claim(&mut self, stage: &mut Stage) {
        let folder = stage.folder_claims.entry(self.attempt()).or_default();
        // A claim of this run or a later one, by another process.
        if folder.last().is_some_and(|held| held.restarts >= self.restarts && held.nonce != self.nonce) {
            return self.leave();
        }
        let request = self.request(stage);
        match stage.store.claim(&request).await {
            Ok(ClaimOutcome::Granted(answer)) => {
                stage.granted(
                    Grant { epoch: answer.epoch, job_id: request.slurm_job_id, restarts: self.restarts, nonce: self.nonce.clone() },
                    self.attempt(),
                );
                let folder = stage.folder_claims.entry(self.attempt()).or_default();
                if !folder.iter().any(|held| held.nonce == self.nonce) {
                    folder.push(FolderClaim { restarts: self.restarts, nonce: self.nonce.clone() });
                }
                (self.epoch, self.confirmed) = (answer.epoch, true);
                if answer.directive == Directive::Cancel {
                    self.stopped = true;
                    return self.leave();
                }
                self.step = Step::Working;
            }
            Ok(ClaimOutcome::Taken { .. } | ClaimOutcome::Over) => self.leave(),
            // Deleted together with its experiment.
            Err(_) => self.leave(),
        }
    }

    fn claim_by_folder(&mut self, stage: &mut Stage) {
        let folder = stage.folder_claims.entry(self.attempt()).or_default();
        if folder.last().is_some_and(|held| held.restarts >= self.restarts) {
            return self.leave();
        }
        self.epoch = u32::try_from(folder.len()).expect("few");
        folder.push(FolderClaim { restarts: self.restarts, nonce: self.nonce.clone() });
        self.step = Step::Working;
    }

    async fn work(&mut self, stage: &mut Stage, reachable: bool) {
        let at = now();
        let (term, limit) = {
            let slurm = stage.slurm.state();
            let job = &slurm.jobs[self.job];
            (job.term, job.started.map(|_| job.ends_at))
        };
        let near_limit = limit.is_some_and(|limit| limit.duration_since(at) <= TERM_BEFORE);
        self.stopped |= !self.zombie && (term || near_limit);
        if let Some((.., ends)) = &self.running
            && (*ends <= at || self.stopped)
        {
            let (backend, repetition, trial, ends) = self.running.take().expect("seen above");
            let measurement = self.measurement(stage, &backend, repetition, trial, ends <= at);
            self.spool(&measurement);
            self.undelivered.push_back(measurement);
        }
        if reachable {
            self.deliver(stage).await;
        }
        if self.step != Step::Working {
            return;
        }
        if self.stopped {
            return self.leave();
        }
        if self.running.is_none() {
            let Some((backend, repetition, trial)) = self.todo.pop_front() else { return self.leave() };
            let ends = after(at, SignedDuration::from_secs(stage.rng.random_range(5..30)));
            self.running = Some((backend, repetition, trial, ends));
        }
        if let Some((.., ends)) = &self.running {
            self.next_at = self.next_at.min(*ends);
        }
    }

    fn measurement(&mut self, stage: &mut Stage, backend: &str, repetition: u32, trial: PlannedTrial, whole: bool) -> Measurement {
        let outcome = if !whole {
            Some(Outcome::Interrupted { message: "stopped".to_owned() })
        } else if stage.rng.random_bool(0.05) {
            let message = "the service did not start".to_owned();
            Some(Outcome::Failed { reason: "ServiceStartFailed".to_owned(), message, log_tail: String::new() })
        } else {
            None
        };
        let made = fixture::trial(backend, trial.batch_size, repetition, 200);
        let finished_at = now();
        Measurement {
            trial: trial.id,
            block: trial.block,
            attempt: self.attempt(),
            epoch: self.epoch,
            load: trial.load,
            started_at: finished_at,
            finished_at,
            outcome: outcome.unwrap_or(made.outcome),
            ..made
        }
    }

    fn spool(&self, measurement: &Measurement) {
        let folder = self.dir.join(em_api::plan::SPOOL_DIR).join(format!("e{}", self.epoch));
        std::fs::create_dir_all(&folder).expect("the job directory");
        let text = serde_json::to_string(measurement).expect("serialises");
        std::fs::write(folder.join(format!("measurement-{}.json", measurement.trial)), text).expect("the job directory");
    }

    async fn deliver(&mut self, stage: &mut Stage) {
        if !self.confirmed {
            self.claim(stage).await;
            if !self.confirmed || self.step != Step::Working {
                return;
            }
        }
        let fenced = stage.fenced(self);
        // A heartbeat, unless a measurement says as much.
        let heartbeat = self.undelivered.is_empty() || stage.rng.random_bool(0.5);
        if heartbeat && let Ok(AppendOutcome::Fenced) | Err(_) = stage.store.append_records(self.attempt(), self.epoch, &[]).await {
            return self.leave();
        }
        while let Some(measurement) = self.undelivered.front() {
            let twice = stage.rng.random_bool(0.1);
            for _ in 0..=u8::from(twice) {
                let Ok((outcome, directive)) = stage.store.put_measurement(self.attempt(), measurement, Delivery::Agent).await
                else {
                    return self.leave();
                };
                if fenced && outcome != PutOutcome::Fenced {
                    stage.broken(format!(
                        "epoch {} of {} is fenced, and its measurement was {outcome:?}",
                        self.epoch,
                        self.attempt()
                    ));
                }
                let job = stage.slurm.state().jobs[self.job].id.clone();
                stage.note(format!("measurement of job {job}: {outcome:?}"));
                if outcome == PutOutcome::Fenced {
                    return self.leave();
                }
                self.stopped |= directive == Directive::Cancel;
            }
            self.undelivered.pop_front();
            stage.wake();
        }
    }

    /// The last words, then the end of the job.
    async fn go(&mut self, stage: &mut Stage, reachable: bool) {
        self.step = Step::Gone;
        if reachable && self.confirmed {
            self.seq += 1;
            let farewell = Record { seq: self.seq, at: now(), body: RecordBody::Farewell { message: "done".to_owned() } };
            // Fenced, or deleted: nobody wants to know.
            let _ = stage.store.append_records(self.attempt(), self.epoch, &[farewell]).await;
            stage.wake();
        }
        if self.zombie {
            return;
        }
        if stage.rng.random_bool(0.7) {
            let witness = format!("0 {} {}\n", self.restarts, now().as_second());
            std::fs::write(self.dir.join(em_slurm::WITNESS_FILE), witness).expect("the job directory");
        }
        let mut slurm = stage.slurm.state();
        let word = if slurm.jobs[self.job].term { "CANCELLED" } else { "COMPLETED" };
        slurm.end(self.job, word, (0, 0), 1);
    }
}

impl Stage {
    /// A claim was granted: nobody else may hold the attempt.
    fn granted(&mut self, grant: Grant, attempt: AttemptId) {
        let grants = self.grants.entry(attempt).or_default();
        let broken = grants.last().and_then(|held| {
            let again = held.nonce == grant.nonce && held.epoch == grant.epoch;
            let requeued = held.job_id == grant.job_id && grant.restarts > held.restarts && grant.epoch == held.epoch + 1;
            (!again && !requeued).then(|| format!("{attempt} is held by {held:?} and was granted to {grant:?}"))
        });
        grants.push(grant);
        if let Some(broken) = broken {
            self.broken(broken);
        }
        self.wake();
    }

    /// Whether a later epoch was granted.
    fn fenced(&self, agent: &Agent) -> bool {
        self.grants.get(&agent.attempt()).and_then(|grants| grants.last()).is_some_and(|held| held.epoch > agent.epoch)
    }
}
