//! Judges answers on a thread of its own, of lower priority: users hand over what came and go on, so that neither a latency nor the
//! next request waits for a check. One thread, so that messages keep their order.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::LoadError;
use crate::attack::Message;
use crate::collector::Sample;
use crate::exchange::Outcome;
use crate::plan::LoadPlan;
use crate::wire::{Verdict, check};

/// Answers that wait for their check, in KiB: beyond that users wait, and the trial is bound by the generator.
const WAITING_KIB: u32 = 256 * 1024;
/// Below the threads that send and receive.
const NICENESS: i32 = 5;

/// What users hand over.
enum Work {
    /// `sample.outcome` is still to be found out.
    Answer {
        sample: Sample,
        body: Bytes,
        room: Option<OwnedSemaphorePermit>,
    },
    Passed(Message),
}

#[derive(Clone)]
pub(crate) struct Checker {
    work: Arc<Mutex<Sender<Work>>>,
    room: Arc<Semaphore>,
}

impl Checker {
    /// The thread ends when all clones are gone. `messages`: where samples go once they are judged.
    pub(crate) fn start(plan: &LoadPlan, messages: UnboundedSender<Message>) -> Result<Self, LoadError> {
        let (work, queue) = channel();
        let rules = Rules { wire: plan.wire, normalized: plan.normalized, dim: plan.expected_dim };
        std::thread::Builder::new()
            .name("checker".to_owned())
            .spawn(move || judge_all(&queue, rules, &messages))
            .map_err(|source| LoadError::Thread { name: "checker", source })?;
        Ok(Self { work: Arc::new(Mutex::new(work)), room: Arc::new(Semaphore::new(WAITING_KIB as usize)) })
    }

    /// An answer with a body; waits while too many are waiting for their check.
    pub(crate) async fn answer(&self, sample: Sample, body: Bytes) {
        let kib = u32::try_from(body.len() / 1024 + 1).unwrap_or(u32::MAX).min(WAITING_KIB);
        // Never closed, so always there.
        let room = self.room.clone().acquire_many_owned(kib).await.ok();
        self.send(Work::Answer { sample, body, room });
    }

    /// What needs no check, in its turn.
    pub(crate) fn pass(&self, message: Message) {
        self.send(Work::Passed(message));
    }

    fn send(&self, work: Work) {
        // The thread is gone only after a panic of its own, or when nobody listens any more.
        let _ = self.work.lock().unwrap_or_else(PoisonError::into_inner).send(work);
    }
}

struct Rules {
    wire: em_api::spec::Wire,
    normalized: bool,
    /// The first valid answer settles it when the plan doesn't.
    dim: Option<u32>,
}

fn judge_all(queue: &Receiver<Work>, mut rules: Rules, messages: &UnboundedSender<Message>) {
    // Of this thread alone. Where it is not allowed, nothing is lost but a little precision.
    let _ = rustix::process::nice(NICENESS);
    while let Ok(work) = queue.recv() {
        let message = match work {
            Work::Passed(message) => message,
            Work::Answer { sample, body, room } => {
                let judged = rules.judge(sample, &body);
                drop((body, room));
                Message::Sample(judged)
            }
        };
        if messages.send(message).is_err() {
            return;
        }
    }
}

impl Rules {
    fn judge(&mut self, sample: Sample, body: &Bytes) -> Sample {
        let (outcome, fault) = match check(self.wire, body, sample.portion.texts, self.dim, self.normalized) {
            Verdict::Valid { dim } => {
                self.dim = Some(dim);
                (Outcome::Valid { dim }, None)
            }
            Verdict::WrongShape(fault) => (Outcome::WrongShape, Some(fault)),
            Verdict::NotFinite => (Outcome::NotFinite, Some("NaN or infinity in a vector".to_owned())),
            Verdict::WrongNorm(fault) => (Outcome::WrongNorm, Some(fault)),
            Verdict::Unreadable(fault) => (Outcome::Other, Some(fault)),
        };
        Sample { outcome, fault, ..sample }
    }
}
