//! Takes away what nobody can ask for any more: old removals of experiments and old answers to repeated requests. Nothing depends on
//! it running: what is too old is not found either.

use std::time::Duration;

use jiff::SignedDuration;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error};

use crate::store::{self, Store, now};

const PAUSE: Duration = Duration::from_secs(600);

/// Runs until `stop`. `watch_history`: how long removals are remembered for watchers that were away.
pub(crate) async fn run(store: Store, watch_history: Duration, stop: CancellationToken) {
    while !stop.is_cancelled() {
        match tidy(&store, watch_history).await {
            Ok((removals, keys)) => debug!(removals, keys, "forgot {removals} removals and {keys} answers"),
            Err(error) => error!(error = &error as &dyn std::error::Error, "tidying up failed; it is tried again"),
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

async fn tidy(store: &Store, watch_history: Duration) -> store::Result<(u64, u64)> {
    let history = SignedDuration::try_from(watch_history).unwrap_or(SignedDuration::MAX);
    let horizon = now().checked_sub(history).unwrap_or(em_api::Timestamp::MIN);
    Ok((store.compact(horizon).await?, store.forget_keys().await?))
}
