//! "Look now" from a hook of Slurm's. `http` takes hints, `reconcile` follows them; they carry no news, so a forged or lost one costs
//! nothing but a look or a few seconds.

use std::sync::Arc;

use tokio::sync::Notify;

/// Cheap to clone; clones are one. Any number given between two looks are one hint.
#[derive(Clone, Debug, Default)]
pub struct Hints(Arc<Notify>);

impl Hints {
    pub fn give(&self) {
        self.0.notify_one();
    }

    /// Resolves when there was one. One given before the call counts.
    pub async fn given(&self) {
        self.0.notified().await;
    }
}
