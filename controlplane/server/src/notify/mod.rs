//! Tells the webhook of ended experiments, from the outbox in the database: at least once each, retried for a day with growing
//! pauses, also over restarts. One address, from the server's own settings: users cannot make the server call anything.

mod signature;

use std::sync::Arc;
use std::time::Duration;

use em_api::Timestamp;
use em_api::notification::{DELIVERY_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER};
use jiff::SignedDuration;
use rand::Rng as _;
use reqwest::header::CONTENT_TYPE;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};
use url::Url;

use crate::metrics::Metrics;
use crate::store::events::NewEvent;
use crate::store::outbox::Pending;
use crate::store::{self, Store, now};
pub use signature::{Secret, SecretError};

const WHO: &str = "webhook";
/// Of a request as a whole, and of its connection.
const TIMEOUT: Duration = Duration::from_secs(10);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(3_600);
/// After that an end is news to nobody.
const GIVEN_UP_AFTER: SignedDuration = SignedDuration::from_hours(24);
/// In one reading of the outbox.
const AT_ONCE: i64 = 20;
/// Between two readings at the most.
const IDLE: Duration = Duration::from_secs(30);
/// After the database failed.
const PAUSE_AFTER_ERROR: Duration = Duration::from_secs(5);

/// Where ends of experiments are told.
#[derive(Clone, Debug)]
pub struct Webhook {
    pub url: Url,
    pub secret: Secret,
    /// Before the second try; doubles with each, up to an hour.
    pub first_pause: Duration,
}

/// Empties the outbox until it is stopped.
pub struct Sender {
    store: Store,
    webhook: Webhook,
    client: reqwest::Client,
    metrics: Metrics,
    news: Arc<Notify>,
}

impl Sender {
    /// `news`: given when something was put into the outbox.
    pub fn new(store: Store, webhook: Webhook, metrics: Metrics, news: Arc<Notify>) -> reqwest::Result<Self> {
        let client = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .connect_timeout(CONNECT_TIMEOUT)
            // The address is the admin's, and no answer may change it.
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("embedding-meter/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self { store, webhook, client, metrics, news })
    }

    pub async fn run(&self, stop: CancellationToken) {
        let mut failing = false;
        loop {
            let wait = match self.round(&stop).await {
                Ok(wait) => {
                    failing = false;
                    wait
                }
                Err(error) => {
                    if !failing {
                        error!(error = &error as &dyn std::error::Error, "notifications wait for the database");
                    }
                    failing = true;
                    PAUSE_AFTER_ERROR
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.news.notified() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Sends what is due; when to come again.
    async fn round(&self, stop: &CancellationToken) -> store::Result<Duration> {
        let never_beyond = ahead(LONGEST_PAUSE.mul_f64(1.5));
        let due = self.store.notifications_due(never_beyond, AT_ONCE).await?;
        let full = i64::try_from(due.len()) == Ok(AT_ONCE);
        for pending in due {
            tokio::select! {
                () = stop.cancelled() => return Ok(IDLE),
                outcome = self.deliver(&pending) => self.record(&pending, outcome).await?,
            }
        }
        let (waiting, next) = self.store.notifications_waiting().await?;
        self.metrics.notifications_pending.set(waiting);
        if full {
            return Ok(Duration::ZERO);
        }
        let until = next.map(|at| Duration::try_from(at.duration_since(now())).unwrap_or(Duration::ZERO));
        Ok(until.map_or(IDLE, |until| until.clamp(Duration::from_millis(10), IDLE)))
    }

    /// Errors: why it was not taken, for people.
    async fn deliver(&self, pending: &Pending) -> Result<(), String> {
        let timestamp = now().as_second().to_string();
        let request = self
            .client
            .post(self.webhook.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header(DELIVERY_HEADER, &pending.id)
            .header(SIGNATURE_HEADER, self.webhook.secret.sign(&timestamp, &pending.body))
            .header(TIMESTAMP_HEADER, timestamp)
            .body(pending.body.clone());
        match request.send().await {
            Ok(answer) if answer.status().is_success() => Ok(()),
            Ok(answer) => Err(format!("it answered {}", answer.status())),
            // Without the address: it may hold a key.
            Err(error) => Err(causes(&error.without_url())),
        }
    }

    async fn record(&self, pending: &Pending, outcome: Result<(), String>) -> store::Result<()> {
        let count = |outcome: &str| self.metrics.notifications.with_label_values(&[outcome]).inc();
        let why = match outcome {
            Ok(()) => {
                count("delivered");
                info!(experiment.uid = %pending.experiment, delivery = pending.id, tries = pending.tries + 1, "told the webhook");
                return self.store.notification_done(&pending.id).await;
            }
            Err(why) => why,
        };
        if now().duration_since(pending.created_at) >= GIVEN_UP_AFTER {
            count("given_up");
            warn!(experiment.uid = %pending.experiment, delivery = pending.id, why, "a notification is given up after a day");
            let message = format!("the webhook did not take the end of this experiment for a day: {why}. Look at --webhook-url");
            let told = self.store.add_event(pending.experiment, &NewEvent::warning(WHO, "NotificationGivenUp", message)).await;
            if let Err(error) = told.as_ref()
                && error.unavailable().is_some()
            {
                return told;
            }
            return self.store.notification_done(&pending.id).await;
        }
        count("failed");
        if pending.tries == 0 {
            warn!(experiment.uid = %pending.experiment, delivery = pending.id, why, "the webhook was not told; it is tried for a day");
        }
        self.store.notification_later(&pending.id, ahead(pause(self.webhook.first_pause, pending.tries))).await
    }
}

/// Doubles with each try; a fifth more or less.
fn pause(first: Duration, tries: u32) -> Duration {
    let doubled = first.saturating_mul(1_u32.checked_shl(tries.min(24)).unwrap_or(u32::MAX));
    doubled.min(LONGEST_PAUSE).mul_f64(rand::rng().random_range(0.8..1.2))
}

fn ahead(pause: Duration) -> Timestamp {
    now().checked_add(pause).unwrap_or(Timestamp::MAX)
}

/// reqwest says only the outermost cause.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_to_an_hour_so_that_a_day_has_about_thirty_tries() {
        let first = Duration::from_secs(10);
        assert!((8.0..12.0).contains(&pause(first, 0).as_secs_f64()));
        assert!((64.0..96.0).contains(&pause(first, 3).as_secs_f64()));
        for tries in [9, 30, 4_000] {
            assert!((2_880.0..4_320.0).contains(&pause(first, tries).as_secs_f64()), "{tries}");
        }
    }
}
