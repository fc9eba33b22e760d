//! What one user does: take the next planned time, send, hand the answer on, until the window has closed.

use std::sync::atomic::Ordering;
use std::time::Duration;

use reqwest::Client;

use super::{Handed, Message, Users};
use crate::clock::{Nanos, nanos};
use crate::collector::Sample;
use crate::exchange::{Answer, Outcome, exchange};
use crate::schedule::Planned;
use crate::wire::encode;

/// After a refused connection: an error answered in microseconds would otherwise become a busy loop against a dead server.
const AFTER_REFUSAL: Duration = Duration::from_millis(10);

pub(super) async fn run(users: &Users, client: &Client) {
    // Also said when this task is dropped or panics, so that nobody waits for it.
    let _last_word = LastWord(users);
    let work = async {
        users.ready.wait().await;
        match &users.planned {
            None => closed_loop(users, client).await,
            Some(_) => open_loop(users, client).await,
        }
    };
    tokio::select! {
        () = users.cancel.cancelled() => {}
        () = work => {}
    }
}

struct LastWord<'a>(&'a Users);

impl Drop for LastWord<'_> {
    fn drop(&mut self) {
        self.0.checker.pass(Message::Ended);
    }
}

/// The planned send time is when the user becomes free.
async fn closed_loop(users: &Users, client: &Client) {
    loop {
        let planned = users.clock.now();
        if planned >= users.close.load(Ordering::Relaxed) {
            return;
        }
        let refused = send(users, client, planned, None, true).await;
        if refused {
            tokio::time::sleep(AFTER_REFUSAL).await;
        }
    }
}

/// Planned send times come from the pacer; the queue ends when the pacer has ended.
async fn open_loop(users: &Users, client: &Client) {
    let Some(queue) = &users.planned else { return };
    loop {
        users.waiting.fetch_add(1, Ordering::Relaxed);
        let next = queue.lock().await.recv().await;
        let Some(Handed { due, planned, free }) = next else { return };
        if due >= users.close.load(Ordering::Relaxed) {
            continue;
        }
        send(users, client, due, Some(&planned), free).await;
    }
}

/// Returns whether the connection was refused. `free`: a user was waiting for this request.
async fn send(users: &Users, client: &Client, due: Nanos, planned: Option<&Planned>, free: bool) -> bool {
    let number = users.next.fetch_add(1, Ordering::Relaxed);
    let timeout = nanos(users.plan.timeout.0);
    let portion = users.draw.portion(number, planned);
    let mut body = Vec::with_capacity(256 * portion.texts as usize);
    let texts = users.draw.indices(portion).map(|index| users.draw.texts.get(index));
    encode(users.plan.wire, &users.plan.model, texts, &users.tail, &mut body);

    let sent = users.clock.now();
    let mut sample =
        Sample { number, portion, planned: due, sent, ended: sent, free, outcome: Outcome::TimedOut, bytes: 0, fault: None };
    if sent >= due.saturating_add(timeout) {
        // It waited for a free user until it was too old; sending it now would only delay the others.
        sample.fault = Some("no user was free before the timeout".to_owned());
        users.checker.pass(Message::Sample(sample));
        return false;
    }
    let left = Duration::from_nanos(due.saturating_add(timeout) - sent);
    let exchanged = exchange(client, &users.url, body, left).await;
    sample.ended = nanos(exchanged.ended.saturating_duration_since(users.clock.instant(0)));
    match exchanged.answer {
        Answer::Body(body) => {
            sample.bytes = body.len() as u64;
            users.checker.answer(sample, body).await;
            false
        }
        Answer::Fault { outcome, bytes, fault } => {
            let refused = outcome == Outcome::Refused;
            let fault = users.key.as_ref().map_or_else(|| fault.clone(), |key| key.redacted(&fault));
            let sample = Sample { outcome, bytes, fault: Some(fault), ..sample };
            users.checker.pass(Message::Sample(sample));
            refused
        }
    }
}
