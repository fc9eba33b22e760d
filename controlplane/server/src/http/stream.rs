//! What all streams share: a bounded number of seats, and waiting for news with a heartbeat in between.

use std::time::Duration;

use actix_web::http::StatusCode;
use prometheus::IntGauge;
use tokio::sync::watch::Receiver;

use super::App;
use super::problem::{Answer, Refusal};
use crate::store;

/// Open streams at a time.
const SEATS: i64 = 256;
/// An idle stream says so this often: proxies keep it open, and a client that went away is noticed.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// News come in bursts; a stream looks once for all of them.
const BURST: Duration = Duration::from_millis(100);

/// Held for as long as a stream is open.
pub(super) struct Seat(IntGauge);

impl Seat {
    pub(super) fn take(app: &App) -> Answer<Self> {
        let open = app.metrics.watch_streams.clone();
        open.inc();
        let seat = Self(open);
        if seat.0.get() > SEATS {
            let detail = format!("{SEATS} streams are open; close some, or ask without watch and follow");
            return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "too_many_streams", detail));
        }
        Ok(seat)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Why a stream breaks off instead of ending.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    #[error("the control plane is stopping")]
    Stopping,
    #[error(transparent)]
    Store(#[from] store::Error),
}

impl Broken {
    /// The caller only sees the connection close.
    pub(super) fn log(&self) {
        if let Self::Store(error) = self {
            tracing::error!(error = error as &dyn std::error::Error, "a stream breaks off");
        }
    }
}

pub(super) enum News {
    Some,
    /// Nothing for a while.
    Heartbeat,
}

/// Waits for a version newer than the one that `versions` has seen.
pub(super) async fn news(app: &App, versions: &mut Receiver<i64>) -> Result<News, Broken> {
    tokio::select! {
        () = app.stop.cancelled() => Err(Broken::Stopping),
        changed = versions.changed() => {
            changed.map_err(|_| Broken::Stopping)?;
            tokio::time::sleep(BURST).await;
            Ok(News::Some)
        }
        () = tokio::time::sleep(HEARTBEAT) => Ok(News::Heartbeat),
    }
}
