//! What goes wrong and what people do, drawn at random.

use jiff::SignedDuration;
use rand::Rng;
use rand::seq::IndexedRandom;

use super::slurm::{Accounting, SubmitFault, Truth};
use super::stage::Stage;
use crate::clock::now;
use crate::probe::simulated::Probe;
use crate::reconcile::world::after;

pub(super) const SUBMIT_FAULTS: [SubmitFault; 10] = [
    SubmitFault::AnswerLost,
    SubmitFault::TakenLate(4),
    SubmitFault::TakenLate(15),
    SubmitFault::TimedOut,
    SubmitFault::Refused,
    SubmitFault::RefusedWithRecord,
    SubmitFault::Limited,
    SubmitFault::Unreachable,
    SubmitFault::Doubled,
    SubmitFault::Doubled,
];

/// Words for live jobs that no version of ours knows, or that mean something else than they seem.
const ODD_WORDS: [&str; 5] = ["DANCING", "POWER_UP_NODE", "REQUEUE_HOLD", "STAGE_OUT", "SPECIAL_EXIT"];

impl Stage {
    /// One thing happens.
    pub(super) async fn fault(&mut self) {
        match self.rng.random_range(0..100) {
            0..6 => self.user_creates().await,
            6..16 => self.user_acts().await,
            16..30 => {
                let places = self.rng.random_range(0..14);
                self.note(format!("the server will be killed after {places} places"));
                self.planned = Probe::Kill(places);
                self.wake();
            }
            30..44 => {
                let places = self.rng.random_range(0..10);
                self.note(format!("somebody will act after {places} places"));
                self.planned = Probe::Pause(places);
                self.wake();
            }
            44..48 => {
                let until = self.in_seconds(3..300);
                self.note("the server is stopped".to_owned());
                self.stop_server(until);
            }
            48..60 => {
                let fault = *SUBMIT_FAULTS.choose(&mut self.rng).expect("some");
                self.note(format!("the next submission: {fault:?}"));
                self.slurm.state().fault = Some(fault);
            }
            60..70 => self.controller(),
            70..90 => self.job(),
            _ => self.agent(),
        }
    }

    /// While the server is in the middle of something: time passes, and somebody else acts.
    pub(super) async fn meanwhile(&mut self) {
        self.note("meanwhile".to_owned());
        let wait = [0, 0, 1, 5, 30].choose(&mut self.rng).copied().unwrap_or(0);
        self.pass_to(after(now(), SignedDuration::from_secs(wait)));
        self.jobs_move();
        match self.rng.random_range(0..6) {
            0..3 => self.user_changes_her_mind().await,
            3 => self.job(),
            _ => {
                let next = (0..self.agents.len()).min_by_key(|index| self.agents[*index].next_at);
                match next {
                    Some(index) => self.agent_acts(index).await,
                    None => self.user_acts().await,
                }
            }
        }
    }

    fn controller(&mut self) {
        let what = self.rng.random_range(0..10);
        let until = self.in_seconds(5..60);
        let silent = self.rng.random_bool(0.5);
        let mut slurm = self.slurm.state();
        let what = match what {
            0 => {
                slurm.down = true;
                "is down"
            }
            1 => {
                slurm.hangs = true;
                "hangs"
            }
            2 | 3 => {
                (slurm.down, slurm.hangs) = (false, false);
                "answers"
            }
            4 => {
                slurm.accounting = if silent { Accounting::Silent } else { Accounting::Off };
                "has no accounting"
            }
            5 => {
                slurm.accounting = Accounting::On;
                "has accounting"
            }
            6 | 7 => {
                slurm.blank_until = until;
                "has forgotten jobs for a while"
            }
            8 => {
                slurm.jobs.iter_mut().filter(|job| !job.live()).for_each(|job| job.purged = true);
                "forgets jobs that are over"
            }
            _ => {
                // Its last seconds were not saved: ids begin where they were, and what ran is ended by the nodes.
                let at = now();
                let lost = |job: &&mut super::slurm::Job| {
                    job.shard != "foreign" && job.live() && at.duration_since(job.submitted) < SignedDuration::from_secs(10)
                };
                let mut first = slurm.next_id;
                for job in slurm.jobs.iter_mut().filter(lost) {
                    job.truth = Truth::Lost;
                    first = first.min(job.id.parse().unwrap_or(first));
                }
                slurm.next_id = first;
                "crashes and loses its last seconds"
            }
        };
        drop(slurm);
        self.note(format!("the controller {what}"));
    }

    /// Something happens to a live job.
    pub(super) fn job(&mut self) {
        let live: Vec<usize> = {
            let slurm = self.slurm.state();
            let ours = |index: &usize| slurm.jobs[*index].live() && slurm.jobs[*index].shard != "foreign";
            (0..slurm.jobs.len()).filter(ours).collect()
        };
        let Some(&index) = live.choose(&mut self.rng) else { return };
        let (what, lag) = (self.rng.random_range(0..10), self.rng.random_range(0..6));
        let odd = *ODD_WORDS.choose(&mut self.rng).expect("some");
        let (requeued, zombie) = (self.rng.random_bool(0.5), self.rng.random_bool(0.5));
        let mut slurm = self.slurm.state();
        let running = slurm.jobs[index].truth == Truth::Running;
        let what = match what {
            0 if running => {
                slurm.end(index, "FAILED", (1, 0), lag);
                "fails"
            }
            1 if running => {
                slurm.end(index, "OUT_OF_MEMORY", (0, 9), lag);
                "runs out of memory"
            }
            2..5 if running && requeued => {
                let starts = after(now(), SignedDuration::from_secs(5 + lag));
                let job = &mut slurm.jobs[index];
                (job.truth, job.starts_at, job.started, job.submitted) = (Truth::Pending, starts, None, now());
                job.restarts += 1;
                "is requeued"
            }
            2 | 3 if running => {
                slurm.end(index, "NODE_FAIL", (0, 1), lag);
                "loses its node"
            }
            4 if running => {
                slurm.end(index, "PREEMPTED", (0, 15), lag);
                "is preempted"
            }
            5 | 6 => {
                slurm.jobs[index].odd_word = Some(odd);
                "shows an odd word"
            }
            7 if !running => {
                slurm.jobs[index].reason = Some("PartitionTimeLimit");
                "can never start"
            }
            8 => {
                slurm.jobs[index].odd_word = None;
                "shows its true word"
            }
            9 if lag == 0 => {
                slurm.end(index, "CANCELLED", (0, 0), 0);
                "is cancelled by somebody"
            }
            _ => return,
        };
        let left = matches!(slurm.jobs[index].truth, Truth::Pending | Truth::Ended("NODE_FAIL"));
        drop(slurm);
        if left && zombie {
            self.agents.iter_mut().filter(|agent| agent.job == index).for_each(|agent| agent.zombie = true);
        }
        let id = self.job_id(index);
        self.note(format!("job {id} {what}"));
    }

    fn agent(&mut self) {
        if self.agents.is_empty() {
            return;
        }
        let index = self.rng.random_range(0..self.agents.len());
        let (hangs, until) = (self.rng.random_bool(0.2), self.in_seconds(5..400));
        let agent = &mut self.agents[index];
        agent.hung |= hangs;
        agent.cut_off_until = until;
        let job = agent.job;
        let id = self.job_id(job);
        self.note(format!("the agent of job {id} {}", if hangs { "hangs" } else { "is cut off" }));
    }

    /// All faults end; what they broke stays broken.
    pub(super) async fn calm_down(&mut self) {
        self.planned = Probe::Off;
        {
            let mut slurm = self.slurm.state();
            (slurm.down, slurm.hangs, slurm.fault, slurm.accounting) = (false, false, None, Accounting::On);
            slurm.blank_until = now();
            slurm.jobs.iter_mut().for_each(|job| job.odd_word = None);
        }
        let at = now();
        self.agents.iter_mut().for_each(|agent| agent.cut_off_until = at);
        // Nothing ends what hangs on a node that Slurm has given up.
        self.agents.retain(|agent| !(agent.zombie && agent.hung));
        self.checks.calm_since = Some(at);
        self.note("calm".to_owned());
    }
}
