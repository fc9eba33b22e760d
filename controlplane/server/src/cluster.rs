//! The last look at the cluster, in memory. `reconcile` makes it (the [`Keeper`] end), `http` reads it ([`Cluster`]): this value and
//! the database are all that the two share.

use std::sync::Arc;
use std::time::Duration;

use em_api::Timestamp;
use em_slurm::ClusterView;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::store::now;

/// Between two looks at the least: a look is four reads of Slurm.
pub const REFRESH: Duration = Duration::from_secs(60);
/// So long a reader waits for a look that is due.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Clone, Debug)]
pub struct Learned {
    pub view: ClusterView,
    pub at: Timestamp,
}

/// What is known now.
#[derive(Clone, Debug, Default)]
pub struct Knowledge {
    pub learned: Option<Arc<Learned>>,
    /// Why the last look failed.
    pub problem: Option<String>,
    tried_at: Option<Instant>,
}

impl Knowledge {
    /// Until the next look is allowed.
    pub fn next_look(&self) -> Duration {
        self.tried_at.map_or(Duration::ZERO, |at| REFRESH.saturating_sub(at.elapsed()))
    }
}

/// The reader's end. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Cluster {
    knowledge: watch::Receiver<Knowledge>,
    wanted: Arc<Notify>,
}

/// The writer's end.
#[derive(Debug)]
pub struct Keeper {
    knowledge: watch::Sender<Knowledge>,
    wanted: Arc<Notify>,
}

/// Nothing is known yet, and a first look is wanted.
pub fn channel() -> (Keeper, Cluster) {
    let (sender, receiver) = watch::channel(Knowledge::default());
    let wanted = Arc::new(Notify::new());
    wanted.notify_one();
    (Keeper { knowledge: sender, wanted: wanted.clone() }, Cluster { knowledge: receiver, wanted })
}

impl Cluster {
    /// What is known, after a new look where one is due; within 2 s, whether Slurm answers or not.
    pub async fn look(&self) -> Knowledge {
        let mut changes = self.knowledge.clone();
        let known = changes.borrow_and_update().clone();
        if !known.next_look().is_zero() {
            return known;
        }
        self.wanted.notify_one();
        // Nobody keeps it, or nothing came in time: what was known is what is known.
        let _ = tokio::time::timeout(PATIENCE, changes.changed()).await;
        self.knowledge.borrow().clone()
    }
}

impl Default for Cluster {
    /// One that nobody keeps.
    fn default() -> Self {
        channel().1
    }
}

impl Keeper {
    /// Resolves when somebody wants a look; wants that came before count as one.
    pub async fn wanted(&self) {
        self.wanted.notified().await;
    }

    /// The end of a look. What was learned stays when a later look fails.
    pub fn looked(&self, outcome: Result<ClusterView, String>) {
        self.knowledge.send_modify(|known| {
            known.tried_at = Some(Instant::now());
            match outcome {
                Ok(view) => {
                    known.learned = Some(Arc::new(Learned { view, at: now() }));
                    known.problem = None;
                }
                Err(problem) => known.problem = Some(problem),
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(known: &Knowledge) -> Option<&str> {
        known.learned.as_ref().and_then(|learned| learned.view.name.as_deref())
    }

    #[tokio::test]
    async fn readers_get_a_new_look_once_a_minute_and_the_old_one_in_between() {
        let (keeper, cluster) = channel();
        let keeper = Arc::new(keeper);
        let sender = keeper.clone();
        let looks = tokio::spawn(async move {
            for look in 1.. {
                sender.wanted().await;
                sender.looked(Ok(ClusterView { name: Some(format!("look {look}")), ..ClusterView::default() }));
            }
        });
        for _ in 0..100 {
            assert_eq!(name(&cluster.look().await), Some("look 1"));
        }
        keeper.knowledge.send_modify(|known| known.tried_at = Instant::now().checked_sub(REFRESH));
        assert_eq!(name(&cluster.look().await), Some("look 2"));
        looks.abort();
    }

    #[tokio::test]
    async fn a_failed_look_keeps_what_was_learned_and_is_not_repeated_at_once() {
        let (keeper, cluster) = channel();
        keeper.looked(Ok(ClusterView { name: Some("dev".to_owned()), ..ClusterView::default() }));
        keeper.looked(Err("connect failure".to_owned()));
        let known = cluster.look().await;
        assert_eq!((name(&known), known.problem.as_deref()), (Some("dev"), Some("connect failure")));
        assert!(known.next_look() > Duration::from_secs(30), "{known:?}");
    }

    #[tokio::test]
    async fn a_reader_gets_what_is_known_when_slurm_is_silent_or_nobody_asks_it() {
        let (keeper, silent) = channel();
        for cluster in [silent, Cluster::default()] {
            let known = tokio::time::timeout(Duration::from_secs(60), cluster.look()).await.expect("it waits 2 s at most");
            assert_eq!((name(&known), known.next_look()), (None, Duration::ZERO));
        }
        drop(keeper);
    }
}
