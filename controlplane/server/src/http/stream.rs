//! What all streams share: a bounded number of seats, waiting for news with a heartbeat in between, and where a stream goes on.
//! Streams make what they send only when the connection takes it, so a reader that does not read holds one page of it, until
//! [`super::stalled`] drops it.

use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::http::StatusCode;
use actix_web::web::Bytes;
use prometheus::IntGauge;
use tokio::sync::watch::Receiver;
use tokio::time::Instant;

use super::App;
use super::problem::{Answer, Refusal};
use crate::store;

/// Open streams at a time.
const SEATS: i64 = 256;
/// An idle stream says so this often: proxies keep it open, and a client that went away is noticed.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// News come in bursts; a stream looks at most this often. The first of a burst is seen at once.
const BURST: Duration = Duration::from_millis(50);

/// The first bytes of an event stream go out at once: browsers take it as open then.
pub(super) const HELLO: Bytes = Bytes::from_static(b"retry: 2000\n\n");
pub(super) const STILL_HERE: Bytes = Bytes::from_static(b": still here\n\n");

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

/// When a stream looks again.
pub(super) struct Pace {
    versions: Receiver<i64>,
    looked_at: Instant,
}

impl Pace {
    pub(super) fn new(app: &App) -> Self {
        Self { versions: app.store.versions(), looked_at: Instant::now() }
    }

    /// Before each look: what is written from now on is news.
    pub(super) fn look(&mut self) {
        self.versions.borrow_and_update();
        self.looked_at = Instant::now();
    }

    /// Waits for something newer than the last look.
    pub(super) async fn news(&mut self, app: &App) -> Result<News, Broken> {
        tokio::select! {
            () = app.stop.cancelled() => Err(Broken::Stopping),
            changed = self.versions.changed() => {
                changed.map_err(|_| Broken::Stopping)?;
                tokio::time::sleep_until(self.looked_at + BURST).await;
                Ok(News::Some)
            }
            () = tokio::time::sleep(HEARTBEAT) => Ok(News::Heartbeat),
        }
    }
}

/// The last event that a returning reader has seen.
pub(super) fn last_event_id(request: &HttpRequest) -> Answer<Option<i64>> {
    let Some(id) = request.headers().get("Last-Event-ID") else { return Ok(None) };
    let id = id.to_str().ok().and_then(|id| id.parse().ok()).filter(|id| *id >= 0);
    id.map(Some).ok_or_else(|| Refusal::bad_request("invalid_header", "Last-Event-ID is the id of an event of this stream"))
}
