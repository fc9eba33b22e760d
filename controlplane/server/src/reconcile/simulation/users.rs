//! People: they post, pause, resume, cancel and delete, and remember what was acknowledged.

use std::collections::BTreeMap;

use em_api::ExperimentUid;
use em_api::spec::Desired;
use rand::Rng;
use serde_json::json;

use super::stage::Stage;
use crate::probe::simulated::Probe;
use crate::store::experiments::Creation;

const MOST_EXPERIMENTS: usize = 3;

/// What was acknowledged.
#[derive(Clone, Debug)]
pub(super) struct Wish {
    pub(super) uid: ExperimentUid,
    pub(super) desired: Desired,
    /// Never paused or stopped.
    pub(super) always_run: bool,
    pub(super) deleted: bool,
}

#[derive(Debug, Default)]
pub(super) struct Users {
    pub(super) wishes: BTreeMap<String, Wish>,
}

impl Stage {
    pub(super) async fn user_creates(&mut self) {
        if self.users.wishes.len() >= MOST_EXPERIMENTS || !self.server_may_write() {
            return;
        }
        let name = format!("exp-{}", self.users.wishes.len());
        let backends: Vec<_> = ["a", "b"][..self.rng.random_range(1..=2)]
            .iter()
            .map(|name| json!({"name": name, "type": "ort", "device": "cpu"}))
            .collect();
        let shard = ["experiment", "experiment", "backend", "trial"][self.rng.random_range(0..4)];
        let body = json!({
            "apiVersion": "em/v1alpha1", "kind": "Experiment", "metadata": {"name": name},
            "spec": {
                "model": {"id": "sentence-transformers/all-MiniLM-L6-v2"},
                "dataset": {"source": "wordnet", "limit": 1000},
                "backends": backends,
                "matrix": {"batchSizes": [16], "concurrency": [2]},
                "load": {"duration": "10s", "warmup": "1s", "repetitions": self.rng.random_range(1..=3), "minRequests": 10},
                "slurm": {"time": "20m", "shard": shard},
                "allowDownload": true, "retries": self.rng.random_range(0..3), "maxContinuations": self.rng.random_range(1..4)
            }
        });
        let admitted = crate::admit::admit(&body).expect("the spec of the simulation is valid");
        if let Ok(Creation::New(experiment)) = self.store.create_experiment(&admitted, "user").await {
            let wish = Wish { uid: experiment.metadata.uid, desired: Desired::Run, always_run: true, deleted: false };
            self.note(format!("{name} is posted, shard: {shard}"));
            self.users.wishes.insert(name, wish);
            self.wake();
        }
    }

    /// A user changes a wish.
    pub(super) async fn user_acts(&mut self) {
        let names: Vec<String> = self.users.wishes.iter().filter(|(_, wish)| !wish.deleted).map(|(name, _)| name.clone()).collect();
        if names.is_empty() || !self.server_may_write() {
            return;
        }
        let name = &names[self.rng.random_range(0..names.len())];
        match self.rng.random_range(0..8) {
            0..3 => {
                self.wants(name, Desired::Suspended).await;
                // People change their minds while the server is at it.
                if self.rng.random_bool(0.5) && self.planned == Probe::Off {
                    self.planned = Probe::Pause(self.rng.random_range(0..20));
                }
            }
            3..6 => self.wants(name, Desired::Run).await,
            6 => self.wants(name, Desired::Cancelled).await,
            _ => {
                if self.store.delete_experiment(name, None, "user").await.is_ok() {
                    self.note(format!("{name} is deleted"));
                    self.users.wishes.get_mut(name).expect("known").deleted = true;
                    self.wake();
                }
            }
        }
    }

    /// What was paused shall run.
    pub(super) async fn user_changes_her_mind(&mut self) {
        let paused = |wish: &Wish| wish.desired == Desired::Suspended && !wish.deleted;
        let paused = self.users.wishes.iter().find(|(_, wish)| paused(wish)).map(|(name, _)| name.clone());
        match paused {
            Some(name) => self.wants(&name, Desired::Run).await,
            None => self.user_acts().await,
        }
    }

    async fn wants(&mut self, name: &str, desired: Desired) {
        let patch = serde_json::from_value(json!({"spec": {"desired": desired}})).expect("a patch");
        // Refused when it has ended.
        if self.store.patch_experiment(name, &patch, None, "user").await.is_ok() {
            self.note(format!("{name} shall be {desired:?}"));
            let wish = self.users.wishes.get_mut(name).expect("known");
            wish.desired = desired;
            wish.always_run &= desired == Desired::Run;
            self.wake();
        }
    }

    /// The API is down with the reconciler.
    fn server_may_write(&self) -> bool {
        self.server_answers() || self.users.wishes.is_empty()
    }
}
