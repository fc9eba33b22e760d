//! Goose's users, tamed: one long transaction a user, no controllers, no statistics, no report of Goose's own.
//!
//! What Goose does otherwise and why it is switched off is in the notes on the crate: it parses the process's arguments, opens a
//! telnet port, starts one user a second, and rounds its times. Cancelling is ours, because Goose never interrupts a transaction.

mod pacer;
mod user;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::time::Duration;

use goose::client::GooseClientBuilder;
use goose::config::GooseConfiguration;
use goose::goose::{GooseUser, Scenario, Transaction, TransactionFunction, TransactionResult};
use goose::{GooseAttack, GooseError};
use reqwest::{Client, Url};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::{Barrier, Mutex};
use tokio_util::sync::CancellationToken;

use crate::checker::Checker;
use crate::clock::{Clock, Nanos};
use crate::collector::Sample;
use crate::draw::Draw;
use crate::schedule::Planned;
use crate::trace::Trace;
use crate::{Key, LoadPlan};

pub(crate) use pacer::pace;

/// Fewest and most users of an open loop. A planned request that finds all of them busy waits, and its wait is slip: seen in the
/// latency, never hidden. Above the upper bound a server is so far behind that more requests under way only cost memory.
const OPEN_LOOP_USERS: (u32, u32) = (16, 1_024);
/// In an open loop, users for so many seconds of requests.
const OPEN_LOOP_SECONDS: f64 = 4.0;

pub(crate) enum Message {
    Sample(Sample),
    /// A user is done; the last word of each.
    Ended,
}

/// A planned request whose time has come.
pub(crate) struct Handed {
    pub(crate) due: Nanos,
    pub(crate) planned: Planned,
    /// A user was waiting for it: what it is late by is the generator's own fault.
    pub(crate) free: bool,
}

/// What all users of a trial share.
pub(crate) struct Users {
    pub(crate) client: Client,
    pub(crate) url: Url,
    pub(crate) key: Option<Key>,
    /// See `wire::tail`.
    pub(crate) tail: Vec<u8>,
    pub(crate) plan: LoadPlan,
    pub(crate) draw: Arc<Draw>,
    pub(crate) clock: Clock,
    pub(crate) count: u32,
    /// Of the users and of the one who opens the window.
    pub(crate) ready: Barrier,
    /// Number of the next request.
    pub(crate) next: AtomicU64,
    /// No request is planned from here on.
    pub(crate) close: AtomicU64,
    /// Open loop: what the pacer hands out.
    pub(crate) planned: Option<Mutex<UnboundedReceiver<Handed>>>,
    /// Open loop: users that wait for a request, less the requests that wait for a user.
    pub(crate) waiting: AtomicI64,
    pub(crate) checker: Checker,
    pub(crate) cancel: CancellationToken,
}

/// How many users a plan needs.
pub(crate) fn user_count(plan: &LoadPlan, trace: Option<&Trace>) -> u32 {
    use em_api::spec::LoadLevel;
    // A trace comes in bursts: rather too many users than too few.
    let rate = trace.map(|trace| trace.mean_rate() * OPEN_LOOP_SECONDS).or(plan.peak_rate());
    match (plan.level, rate) {
        (LoadLevel::Concurrency(users), _) => users,
        (_, rate) => {
            let wanted = rate.unwrap_or(0.0) * plan.timeout.0.as_secs_f64().min(OPEN_LOOP_SECONDS);
            (wanted.ceil() as u32).clamp(OPEN_LOOP_USERS.0, OPEN_LOOP_USERS.1)
        }
    }
}

/// Starts the users and ends when all have ended. Goose looks for that twice a second, so the last [`Message::Ended`] is earlier.
pub(crate) async fn attack(users: Arc<Users>) -> Result<(), GooseError> {
    // Some of its fields are private, so that it has to be filled in one by one.
    let mut configuration = GooseConfiguration::default();
    configuration.host = Some(users.url.origin().ascii_serialization());
    configuration.users = Some(users.count as usize);
    configuration.iterations = Some(1);
    configuration.increase_rate = Some("100000".to_owned());
    configuration.no_telnet = true;
    configuration.no_metrics = true;
    configuration.no_print_metrics = true;
    configuration.no_error_summary = true;
    configuration.quiet = 2;
    // Not used by any request: without it Goose builds one client per user, which takes milliseconds each.
    let unused = GooseClientBuilder::new().without_cookies().timeout(Duration::from_secs(1));
    let transaction = {
        let users = users.clone();
        transaction(move |user| {
            let users = users.clone();
            user.client = users.client.clone();
            Box::pin(async move {
                user::run(&users, &user.client).await;
                Ok(())
            })
        })
    };
    GooseAttack::initialize_with_config(configuration)?
        .set_client_builder_without_cookies(unused)?
        .register_scenario(Scenario::new("embed").register_transaction(Transaction::new(transaction)))
        .execute()
        .await?;
    Ok(())
}

/// Gives a closure the higher-ranked type that Goose asks for.
fn transaction<F>(function: F) -> TransactionFunction
where
    F: for<'r> Fn(&'r mut GooseUser) -> Pin<Box<dyn Future<Output = TransactionResult> + Send + 'r>> + Send + Sync + 'static,
{
    Arc::new(function)
}
