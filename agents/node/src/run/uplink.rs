//! The one task that talks to the control plane while measuring goes on. It sends what lies in the spool: measurements as
//! they come, records in batches every second, a heartbeat at least every 10 s; it tries again for ever and never holds up a
//! trial. Answers bring directives; a 409 that names another agent stops the run.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::Duration;

use em_api::agent::{ClaimRequest, RecordBatch};
use em_api::client::agent::AgentCallError;
use em_api::client::{Client, ClientError};
use em_api::{AttemptId, TrialId};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};
use tracing::{error, info, warn};

use super::backoff::Backoff;
use super::batch;
use super::shutdown::Stop;
use super::spool::Written;

const TICK: Duration = Duration::from_secs(1);
const HEARTBEAT: Duration = Duration::from_secs(10);
const LONGEST_WAIT: Duration = Duration::from_secs(15);
/// Near the end there is no time for long waits.
const LONGEST_WAIT_AT_END: Duration = Duration::from_secs(1);
/// Statuses that say the body is wrong: another try has the same end. Others (401, 404, …) may be cured at the server.
const HOPELESS: [u16; 4] = [400, 413, 415, 422];

/// What the uplink needs to know at its start.
pub(crate) struct Link {
    pub(crate) client: Client,
    pub(crate) attempt: AttemptId,
    pub(crate) epoch: u32,
    /// Set while the claim was decided in the job directory only.
    pub(crate) unconfirmed: Option<ClaimRequest>,
    pub(crate) records: PathBuf,
    pub(crate) written: watch::Receiver<Written>,
    pub(crate) stop: Stop,
}

/// A measurement to be sent.
pub(crate) struct Delivery {
    pub(crate) trial: TrialId,
    pub(crate) body: Body,
}

pub(crate) enum Body {
    Spooled(PathBuf),
    /// The spool took no file: this copy is the only one.
    Unspooled(Vec<u8>),
}

/// How it ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Delivered {
    /// Measurements that the control plane has not taken; it finds them in the spool.
    pub(crate) measurements_left: usize,
    /// Bytes of records not taken, likewise.
    pub(crate) records_left: u64,
    /// Measurements that are neither there nor in the spool.
    pub(crate) lost: usize,
    pub(crate) fenced: bool,
}

pub(crate) struct Uplink {
    deliveries: mpsc::UnboundedSender<Delivery>,
    finish: watch::Sender<Option<Instant>>,
    task: JoinHandle<Delivered>,
}

impl Uplink {
    pub(crate) fn start(link: Link) -> Self {
        let (deliveries, inbox) = mpsc::unbounded_channel();
        let (finish, deadline) = watch::channel(None);
        let sender = Sender { link, inbox, queue: VecDeque::new(), sent: 0, last_contact: None, lost: 0, fenced: false };
        Self { deliveries, finish, task: tokio::spawn(sender.run(deadline)) }
    }

    /// Without a server: the spool is where everything stays.
    pub(crate) fn to_nowhere() -> Self {
        let (deliveries, mut inbox) = mpsc::unbounded_channel::<Delivery>();
        let (finish, mut deadline) = watch::channel(None);
        let task = tokio::spawn(async move {
            // Nothing comes after the end was asked for.
            let _ = deadline.wait_for(Option::is_some).await;
            let mut lost = 0;
            while let Ok(delivery) = inbox.try_recv() {
                lost += usize::from(matches!(delivery.body, Body::Unspooled(_)));
            }
            Delivered { lost, ..Delivered::default() }
        });
        Self { deliveries, finish, task }
    }

    pub(crate) fn deliver(&self, delivery: Delivery) {
        // A fenced uplink has ended; the spool holds what it would have sent.
        let _ = self.deliveries.send(delivery);
    }

    /// Sends what is left, for at most `within`; once the run is stopped, for at most `stopped_within` from then.
    pub(crate) async fn finish(mut self, stop: &Stop, within: Duration, stopped_within: Duration) -> Delivered {
        self.finish.send_replace(Some(Instant::now() + within));
        let ended = tokio::select! {
            ended = &mut self.task => ended,
            () = stop.token().cancelled() => {
                self.finish.send_replace(Some(Instant::now() + stopped_within.min(within)));
                (&mut self.task).await
            }
        };
        ended.unwrap_or_else(|panic| {
            error!("the uplink ended unexpectedly: {panic}");
            Delivered::default()
        })
    }
}

struct Sender {
    link: Link,
    inbox: mpsc::UnboundedReceiver<Delivery>,
    queue: VecDeque<Delivery>,
    /// Offset in the records file up to which the control plane has everything.
    sent: u64,
    last_contact: Option<Instant>,
    /// Measurements that nobody has.
    lost: usize,
    fenced: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Taken {
    Yes,
    No,
}

/// Nothing more can be sent in this round.
enum Halt {
    /// Try again later.
    Later(AgentCallError),
    Fenced(String),
}

impl Sender {
    async fn run(mut self, mut finish: watch::Receiver<Option<Instant>>) -> Delivered {
        let mut backoff = Backoff::new(TICK, LONGEST_WAIT);
        let mut trouble = false;
        loop {
            let deadline = *finish.borrow_and_update();
            let round = tokio::select! {
                round = until(deadline, self.round()) => round,
                // A hanging request must not eat the time that is left; all calls may be repeated.
                changed = finish.changed() => match changed {
                    Ok(()) => continue,
                    Err(_) => return self.state(),
                },
            };
            let wait = match round {
                Some(Ok(())) => {
                    if trouble {
                        info!("the control plane answers again");
                    }
                    trouble = false;
                    backoff.reset();
                    TICK
                }
                Some(Err(Halt::Fenced(reason))) => {
                    self.fenced = true;
                    self.link.stop.stop(&reason);
                    return self.state();
                }
                Some(Err(Halt::Later(problem))) => {
                    if !trouble {
                        warn!("{problem}; everything goes to the spool and is sent when it answers");
                    }
                    trouble = true;
                    backoff.step()
                }
                None => return self.state(),
            };
            if let Some(deadline) = deadline {
                let state = self.state();
                if state.measurements_left == 0 && state.records_left == 0 || Instant::now() >= deadline {
                    return state;
                }
            }
            let wait = if deadline.is_some() { wait.min(LONGEST_WAIT_AT_END) } else { wait };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                changed = finish.changed() => if changed.is_err() {
                    return self.state();
                },
                Some(delivery) = self.inbox.recv(), if !trouble => self.queue.push_back(delivery),
            }
        }
    }

    /// Sends all that is there; a heartbeat when nothing was said for a while.
    async fn round(&mut self) -> Result<(), Halt> {
        self.confirm_claim().await?;
        while let Ok(delivery) = self.inbox.try_recv() {
            self.queue.push_back(delivery);
        }
        while let Some(delivery) = self.queue.front() {
            let taken = self.put(delivery).await?;
            if taken == Taken::No && matches!(delivery.body, Body::Unspooled(_)) {
                self.lost += 1;
            }
            self.queue.pop_front();
        }
        loop {
            let written = self.link.written.borrow().bytes;
            let batch = batch::read(self.link.records.clone(), self.sent, written).await;
            let silent = self.last_contact.is_none_or(|at| at.elapsed() >= HEARTBEAT);
            if batch.records.is_empty() && !silent {
                self.sent = batch.end;
                return Ok(());
            }
            self.post(RecordBatch { epoch: self.link.epoch, records: batch.records }).await?;
            self.sent = batch.end;
        }
    }

    async fn confirm_claim(&mut self) -> Result<(), Halt> {
        let Some(request) = &self.link.unconfirmed else { return Ok(()) };
        match self.link.client.claim(request).await {
            Ok(answer) => {
                info!("the control plane confirms the claim: epoch {}", answer.epoch);
                self.link.unconfirmed = None;
                self.link.stop.obey(answer.directive);
                Ok(())
            }
            Err(AgentCallError::AlreadyClaimed(detail) | AgentCallError::Fenced(detail)) => Err(Halt::Fenced(detail)),
            Err(problem) => Err(Halt::Later(problem)),
        }
    }

    async fn put(&self, delivery: &Delivery) -> Result<Taken, Halt> {
        let trial = delivery.trial;
        let json = match &delivery.body {
            Body::Unspooled(json) => json.clone(),
            Body::Spooled(path) => match tokio::fs::read(path).await {
                Ok(json) => json,
                Err(problem) => {
                    error!("{} cannot be read back ({problem}); the measurement is not sent", path.display());
                    return Ok(Taken::No);
                }
            },
        };
        match self.link.client.put_measurement(self.link.attempt, trial, json).await {
            Ok(()) => Ok(Taken::Yes),
            Err(problem) => self.sort(problem, &format!("the measurement of trial {trial}")),
        }
    }

    async fn post(&mut self, batch: RecordBatch) -> Result<(), Halt> {
        match self.link.client.post_records(self.link.attempt, &batch).await {
            Ok(answer) => self.link.stop.obey(answer.directive),
            Err(problem) => drop(self.sort(problem, &format!("{} records", batch.records.len()))?),
        }
        self.last_contact = Some(Instant::now());
        Ok(())
    }

    /// `Ok`: refused for good, so the next thing is sent; the spool keeps the body as evidence.
    fn sort(&self, problem: AgentCallError, what: &str) -> Result<Taken, Halt> {
        match problem {
            AgentCallError::AlreadyClaimed(detail) | AgentCallError::Fenced(detail) => Err(Halt::Fenced(detail)),
            AgentCallError::Conflict(detail) => {
                warn!("{what}: {detail}; ours stays in the spool");
                Ok(Taken::Yes)
            }
            AgentCallError::Refused(ClientError::Problem(problem)) if HOPELESS.contains(&problem.status) => {
                error!("{what} refused: {} (HTTP {}); the spool keeps it", problem.detail, problem.status);
                Ok(Taken::No)
            }
            AgentCallError::Refused(_) | AgentCallError::Unavailable(_) => Err(Halt::Later(problem)),
        }
    }

    fn state(&mut self) -> Delivered {
        while let Ok(delivery) = self.inbox.try_recv() {
            self.queue.push_back(delivery);
        }
        Delivered {
            measurements_left: self.queue.len(),
            records_left: self.link.written.borrow().bytes.saturating_sub(self.sent),
            lost: self.lost + self.queue.iter().filter(|delivery| matches!(delivery.body, Body::Unspooled(_))).count(),
            fenced: self.fenced,
        }
    }
}

/// `None` when the deadline came first.
async fn until<T>(deadline: Option<Instant>, work: impl Future<Output = T>) -> Option<T> {
    match deadline {
        Some(deadline) => timeout_at(deadline, work).await.ok(),
        None => Some(work.await),
    }
}
