//! What one user does: take the next planned time, send, check, report, until the window has closed.

use std::sync::atomic::Ordering;
use std::time::Duration;

use reqwest::Client;

use super::{Message, Users};
use crate::clock::{Nanos, nanos};
use crate::collector::Sample;
use crate::exchange::{Outcome, exchange};
use crate::wire::{Verdict, check, encode};

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
        // Nobody listens after a cancelled trial.
        let _ = self.0.messages.send(Message::Ended);
    }
}

/// The planned send time is when the user becomes free.
async fn closed_loop(users: &Users, client: &Client) {
    loop {
        let planned = users.clock.now();
        if planned >= users.close.load(Ordering::Relaxed) {
            return;
        }
        let refused = send(users, client, planned).await;
        if refused {
            tokio::time::sleep(AFTER_REFUSAL).await;
        }
    }
}

/// Planned send times come from the pacer; the queue ends when the pacer has ended.
async fn open_loop(users: &Users, client: &Client) {
    let Some(queue) = &users.planned else { return };
    loop {
        let next = queue.lock().await.recv().await;
        let Some(planned) = next else { return };
        send(users, client, planned).await;
    }
}

/// Returns whether the connection was refused.
async fn send(users: &Users, client: &Client, planned: Nanos) -> bool {
    let number = users.next.fetch_add(1, Ordering::Relaxed);
    let timeout = nanos(users.plan.timeout.0);
    let mut body = Vec::with_capacity(256 * users.plan.batch_size as usize);
    let texts = users.draw.of(number).map(|index| users.draw.texts.get(index));
    encode(users.plan.wire, &users.plan.model, texts, &users.tail, &mut body);

    let sent = users.clock.now();
    let sample = if sent >= planned.saturating_add(timeout) {
        // It waited for a free user until it was too old; sending it now would only delay the others.
        let fault = Some("no user was free before the timeout".to_owned());
        Sample { number, planned, sent, ended: sent, outcome: Outcome::TimedOut, bytes: 0, fault }
    } else {
        let left = Duration::from_nanos(planned.saturating_add(timeout) - sent);
        let exchanged = exchange(client, &users.url, body, left, |answer| judge(users, answer)).await;
        let ended = nanos(exchanged.ended.saturating_duration_since(users.clock.instant(0)));
        let fault = exchanged.fault.map(|fault| users.key.as_ref().map_or_else(|| fault.clone(), |key| key.redacted(&fault)));
        Sample { number, planned, sent, ended, outcome: exchanged.outcome, bytes: exchanged.bytes, fault }
    };
    let refused = sample.outcome == Outcome::Refused;
    let _ = users.messages.send(Message::Sample(sample));
    refused
}

/// The first valid answer settles the dimension when the plan doesn't.
fn judge(users: &Users, answer: &[u8]) -> Verdict {
    let known = match users.dim.load(Ordering::Relaxed) {
        0 => None,
        dim => Some(dim),
    };
    let verdict = check(users.plan.wire, answer, users.plan.batch_size, known);
    match verdict {
        Verdict::Valid { dim } if known.is_none() => match users.dim.compare_exchange(0, dim, Ordering::Relaxed, Ordering::Relaxed)
        {
            Err(settled) if settled != dim => Verdict::WrongShape(format!("a vector of {dim} numbers, not {settled}")),
            _ => verdict,
        },
        _ => verdict,
    }
}
