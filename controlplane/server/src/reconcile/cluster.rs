//! Looks at the cluster when somebody wants to know, once a minute at most. A task of its own with a budget of its own (`pace.rs`):
//! a slow answer about nodes delays no job.

use std::sync::Arc;

use em_slurm::Scheduler;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::slurm::Slurm;
use crate::cluster::{Keeper, REFRESH};
use crate::metrics::Metrics;

pub async fn keep(keeper: Arc<Keeper>, scheduler: Arc<dyn Scheduler>, metrics: Metrics, stop: CancellationToken) {
    let slurm = Slurm::new(scheduler, metrics);
    let mut failing = false;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = keeper.wanted() => {}
        }
        let outcome = tokio::select! {
            () = stop.cancelled() => return,
            outcome = slurm.cluster() => outcome,
        };
        match &outcome {
            Ok(view) => debug!(nodes = view.nodes.len(), "looked at the cluster"),
            Err(error) if !failing => warn!(error = error.to_string(), "the cluster's partitions and nodes cannot be read"),
            Err(_) => {}
        }
        failing = outcome.is_err();
        keeper.looked(outcome.map_err(|error| error.to_string()));
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(REFRESH) => {}
        }
    }
}
