//! The server of a history: started, at work until it rests, stopped or killed at a place.

use std::future::poll_fn;
use std::path::PathBuf;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use em_api::Timestamp;
use jiff::SignedDuration;
use rand::Rng;
use tokio_util::sync::CancellationToken;

use super::stage::{Stage, open};
use crate::clock::{self, now};
use crate::job::JobSettings;
use crate::probe::simulated::{self as probe, Probe};
use crate::reconcile::limits::Limits;
use crate::reconcile::world::{Knobs, after};
use crate::reconcile::{Look, MOST_ROUNDS, PAUSE_AFTER_ERROR, Reconciler, SHORTEST_PAUSE, Timing};

pub(super) enum Server {
    Up(Box<Reconciler>),
    /// Killed or stopped.
    Down {
        until: Timestamp,
    },
    /// At work: somebody else acts meanwhile.
    Busy,
}

impl Stage {
    pub(super) async fn server_acts(&mut self) {
        match self.server {
            Server::Up(_) if self.look_at <= now() => self.look().await,
            Server::Down { until } if until <= now() => self.start_server().await,
            _ => {}
        }
    }

    async fn start_server(&mut self) {
        self.store.close().await;
        self.store = open(&self.dir, &self.metrics).await;
        let jobs = JobSettings {
            job_dir: self.dir.join("jobs"),
            store_dir: self.dir.join("store"),
            agent: PathBuf::from("/bin/em-agent"),
            advertise: "http://127.0.0.1:1".to_owned(),
            claim_timeout: "2m".parse().expect("a duration"),
        };
        let knobs = Knobs {
            settle: SignedDuration::from_secs(20),
            missing_grace: SignedDuration::from_mins(2),
            agent_silent_after: SignedDuration::from_secs(60),
            backoff: SignedDuration::from_secs(10),
            collect_grace: SignedDuration::from_secs(5),
            cancel_again: SignedDuration::from_secs(30),
            awake_since: now(),
            limits: Limits::default(),
        };
        // Half as many looks make twice as many histories.
        let timing = Timing { submit_at_once: 1, fast_poll_interval: Duration::from_secs(6), ..Timing::default() };
        let (slurm, metrics) = (self.slurm.clone(), self.metrics.clone());
        let reconciler = Reconciler::new(self.store.clone(), slurm, jobs, knobs, timing, metrics);
        reconciler.memory.lock().await.pace.hot(clock::instant());
        self.server = Server::Up(Box::new(reconciler));
        self.look_at = now();
        self.slurm.state().reads.clear();
        self.note("the server is up".to_owned());
    }

    pub(super) fn stop_server(&mut self, until: Timestamp) {
        self.server = Server::Down { until };
    }

    /// Looks until it rests, as `Reconciler::run` does. The probe may kill it on the way, or let somebody else act in between.
    pub(super) async fn look(&mut self) {
        if self.crowded && self.faults_left > 0 && self.planned == Probe::Off {
            self.planned = Probe::Pause(self.rng.random_range(0..8));
        }
        let Server::Up(reconciler) = std::mem::replace(&mut self.server, Server::Busy) else { return };
        let mut memory = reconciler.memory.lock().await;
        let (stop, mut rounds) = (CancellationToken::new(), 0);
        let wait = loop {
            let kill = matches!(self.planned, Probe::Kill(_));
            probe::set(self.planned);
            let look = {
                let mut look = pin!(reconciler.look(&mut memory, &stop));
                loop {
                    let step = poll_fn(|context| match look.as_mut().poll(context) {
                        Poll::Ready(look) => Poll::Ready(Some(look)),
                        Poll::Pending if probe::get() == Probe::Stopped => Poll::Ready(None),
                        Poll::Pending => Poll::Pending,
                    });
                    match step.await {
                        Some(look) => break Some(look),
                        None if kill => break None,
                        None => {
                            self.meanwhile().await;
                            let again = self.crowded && rounds < MOST_ROUNDS / 2;
                            let next = again.then(|| self.rng.random_range(0..6));
                            probe::set(Probe::Resumed(next));
                        }
                    }
                }
            };
            // What is left of the way to the place.
            self.planned = if probe::get() == Probe::Stopped { Probe::Off } else { probe::get() };
            probe::set(Probe::Off);
            match look {
                None => {
                    self.note("the server is killed at work".to_owned());
                    let until = self.in_seconds(0..20);
                    self.stop_server(until);
                    return self.check().await;
                }
                Some(Look::Again) if rounds < MOST_ROUNDS => rounds += 1,
                Some(Look::Again) => {
                    self.broken("the reconciler does not come to rest".to_owned());
                    break PAUSE_AFTER_ERROR;
                }
                Some(Look::Wait(wait)) => break wait,
            }
        };
        drop(memory);
        self.server = Server::Up(reconciler);
        let wait = SignedDuration::try_from(wait.max(SHORTEST_PAUSE)).expect("a short time");
        self.look_at = after(now(), wait);
        if rounds > 0 {
            self.check().await;
        }
    }
}
