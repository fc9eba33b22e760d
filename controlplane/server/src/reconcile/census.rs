//! `em_experiments{phase}`: how many experiments are in each phase. Those that a look has read are counted there; those that have
//! ended are many and rarely become more, so the database counts them only when the set of open ones has changed.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use em_api::ExperimentUid;
use em_api::status::Phase;
use tokio::sync::Mutex;

use super::world::World;
use crate::metrics::Metrics;
use crate::store::{Result, Store};

const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
/// Imported experiments have ended from the first.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

#[derive(Default)]
pub(super) struct Census(Mutex<Option<Count>>);

struct Count {
    at: Instant,
    /// Which were open then.
    open: HashSet<ExperimentUid>,
    settled: HashMap<Phase, i64>,
}

impl Census {
    pub(super) async fn take(&self, store: &Store, world: &World, metrics: &Metrics) -> Result<()> {
        let open: HashSet<ExperimentUid> = world.experiments.iter().map(|view| view.open.stored.uid).collect();
        let mut count = self.0.lock().await;
        let holds = count.as_ref().is_some_and(|count| {
            let age = count.at.elapsed();
            age < SHORTEST_PAUSE || (count.open == open && age < LONGEST_PAUSE)
        });
        if !holds {
            *count = Some(Count { at: Instant::now(), open, settled: store.settled_counts().await? });
        }
        let mut phases = count.as_ref().map(|count| count.settled.clone()).unwrap_or_default();
        for view in &world.experiments {
            *phases.entry(view.open.stored.phase).or_default() += 1;
        }
        for phase in Phase::ALL {
            metrics.experiments.with_label_values(&[phase.as_str()]).set(phases.get(&phase).copied().unwrap_or_default());
        }
        Ok(())
    }
}
