//! One stretch of load at one level: users, warm-up, window, drain, report.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use em_api::measurement::{GeneratorReport, LoadReport};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{Barrier, Mutex};
use tokio::time::{MissedTickBehavior, interval_at, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::attack::{Handed, Message, Users, attack, pace, user_count};
use crate::checker::Checker;
use crate::clock::{Clock, Nanos, nanos, seconds};
use crate::collector::{Belongs, Collector, Over};
use crate::draw::Draw;
use crate::inputs::Inputs;
use crate::requests::Requests;
use crate::schedule::Schedule;
use crate::window::Window;
use crate::{LoadError, LoadPlan, Phase, Progress, cores, exchange, wire};

/// When a probe has shown enough: requests over `limit`, of those that its window plans.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limit {
    pub(crate) latency: Duration,
    /// The window is cut when so many were over it.
    pub(crate) most_over: u64,
}

pub(crate) struct Trial {
    users: Arc<Users>,
    messages: UnboundedReceiver<Message>,
    inputs: Inputs,
    /// Open loop: what the pacer's thread gets.
    pacer: Option<(Schedule, UnboundedSender<Handed>)>,
    limit: Option<Limit>,
}

/// What was measured, and how many requests were over the limit, of all.
pub(crate) struct Measured {
    pub(crate) report: LoadReport,
    pub(crate) over: u64,
    pub(crate) requests: u64,
    /// Texts that were sent, in the warm-up too.
    pub(crate) drawn: u64,
}

impl Trial {
    pub(crate) fn start(
        plan: LoadPlan,
        inputs: &Inputs,
        limit: Option<Limit>,
        cancel: CancellationToken,
    ) -> Result<Self, LoadError> {
        let (sender, messages) = unbounded_channel();
        // Another schedule for each trial, the same for all backends of a block.
        let seed = plan.dataset.seed ^ plan.text_offset.rotate_left(32);
        let (pacer, planned) = match Schedule::of(&plan, inputs.trace.clone(), seed) {
            None => (None, None),
            Some(schedule) => {
                let (handed, queue) = unbounded_channel();
                (Some((schedule, handed)), Some(Mutex::new(queue)))
            }
        };
        let count = user_count(&plan, inputs.trace.as_deref());
        let users = Users {
            client: inputs.client.clone(),
            key: inputs.key.clone(),
            tail: wire::tail(&plan.fields),
            url: exchange::endpoint(&plan.url)?,
            draw: Arc::new(Draw::new(inputs.texts.clone(), &plan, inputs.trace.is_some())),
            clock: Clock::start(),
            count,
            ready: Barrier::new(count as usize + 1),
            next: AtomicU64::new(0),
            close: AtomicU64::new(u64::MAX),
            planned,
            waiting: AtomicI64::new(0),
            checker: Checker::start(&plan, sender)?,
            cancel,
            plan,
        };
        Ok(Self { users: Arc::new(users), messages, inputs: inputs.clone(), pacer, limit })
    }

    pub(crate) async fn measure(mut self, progress: &impl Fn(Progress)) -> Result<Measured, LoadError> {
        let (users, plan) = (self.users.clone(), &self.users.plan);
        let requests = plan.requests.as_deref().map(Requests::create).transpose()?;
        self.gather_users().await?;
        let begin = users.clock.now();
        if let Some((schedule, planned)) = self.pacer.take() {
            let users = users.clone();
            std::thread::Builder::new()
                .name("pacer".to_owned())
                .spawn(move || pace(&users, schedule, begin, &planned))
                .map_err(|source| LoadError::Thread { name: "pacer", source })?;
        }
        let belongs = if plan.planned_rate().is_none() { Belongs::ByEnd } else { Belongs::ByPlan };
        let window = Window::new(begin + nanos(plan.warmup.0), nanos(plan.duration.0), plan.min_requests);
        let mut collector = Collector::new(window, belongs, users.draw.clone());
        collector.requests = requests;
        collector.over = Over { limit: self.limit.map(|limit| nanos(limit.latency)), count: 0 };
        let watch = Watch {
            collector,
            most_over: self.limit.map_or(u64::MAX, |limit| limit.most_over),
            phase: Phase::WarmUp,
            phase_begin: begin,
            shown: (0, 0),
            shown_at: begin,
            at_open: Usage::default(),
            used: Usage::default(),
            users,
        };
        let watch = watch.until_the_last_user(&mut self.messages, progress).await;
        watch.report(&self.inputs)
    }

    /// Starts the users and waits until all of them are ready.
    async fn gather_users(&self) -> Result<(), LoadError> {
        let mut attack = tokio::spawn(attack(self.users.clone()));
        tokio::select! {
            _ = self.users.ready.wait() => Ok(()),
            ended = &mut attack => match ended {
                Ok(Err(error)) => Err(LoadError::Goose(Box::new(error))),
                Ok(Ok(())) | Err(_) => Err(LoadError::UsersLost),
            },
        }
        // Goose notices the end of its users half a second late; its task ends by itself then, and nobody waits for it.
    }
}

/// Follows a running trial: opens and closes the window, counts, shows.
struct Watch {
    users: Arc<Users>,
    collector: Collector,
    phase: Phase,
    phase_begin: Nanos,
    /// Valid answers and their texts shown so far in this phase, and when.
    shown: (u64, u64),
    shown_at: Nanos,
    at_open: Usage,
    used: Usage,
    most_over: u64,
}

/// CPU time of this process, and time that it waited for a core.
#[derive(Clone, Copy, Debug, Default)]
struct Usage {
    cpu_s: f64,
    waiting_s: Option<f64>,
}

impl Usage {
    fn now() -> Self {
        Self { cpu_s: cores::cpu_seconds(), waiting_s: cores::waiting_seconds() }
    }

    fn since(self, before: Self) -> Self {
        let waiting_s = self.waiting_s.zip(before.waiting_s).map(|(now, before)| (now - before).max(0.0));
        Self { cpu_s: self.cpu_s - before.cpu_s, waiting_s }
    }
}

impl Watch {
    async fn until_the_last_user(mut self, messages: &mut UnboundedReceiver<Message>, progress: &impl Fn(Progress)) -> Self {
        let mut active = self.users.count;
        let mut batch = Vec::with_capacity(1_024);
        let mut second = interval_at(tokio::time::Instant::now() + Duration::from_secs(1), Duration::from_secs(1));
        second.set_missed_tick_behavior(MissedTickBehavior::Skip);
        progress(self.progress());
        // An open loop's users are done as soon as the last answer is there, which may be before the window's end.
        while active > 0 || self.phase != Phase::Draining {
            let next = self.next_moment();
            tokio::select! {
                biased;
                _ = messages.recv_many(&mut batch, 1_024) => {
                    for message in batch.drain(..) {
                        match message {
                            Message::Sample(sample) => self.collector.record(sample),
                            Message::Ended => active -= 1,
                        }
                    }
                }
                () = sleep_until(next.into()) => {}
                _ = second.tick() => progress(self.progress()),
            }
            if self.turn() {
                progress(self.progress());
            }
        }
        self
    }

    /// When the window opens or its end is to be decided; while draining there is nothing left to decide.
    fn next_moment(&self) -> Instant {
        let clock = &self.users.clock;
        match self.phase {
            Phase::Loading | Phase::WarmUp => clock.instant(self.collector.window.start),
            Phase::Measuring => clock.instant(self.collector.window.boundary()),
            Phase::Draining => Instant::now() + Duration::from_secs(60),
        }
    }

    /// Passes to the next phase when its time has come; returns whether it did.
    fn turn(&mut self) -> bool {
        let now = self.users.clock.now();
        let phase = match self.phase {
            Phase::WarmUp if now >= self.collector.window.start => {
                self.at_open = Usage::now();
                Phase::Measuring
            }
            Phase::Measuring => {
                if self.collector.over.count >= self.most_over {
                    self.collector.window.cut(now);
                }
                self.collector.window.advance(now, self.collector.counts.ok);
                if let Some(end) = self.collector.window.certain_end(self.collector.counts.ok) {
                    self.users.close.store(end, Ordering::Relaxed);
                }
                if self.collector.window.end().is_none() {
                    return false;
                }
                self.used = Usage::now().since(self.at_open);
                Phase::Draining
            }
            _ => return false,
        };
        self.phase = phase;
        self.phase_begin = now;
        self.shown = (0, 0);
        self.shown_at = now;
        self.collector.restart_live();
        true
    }

    fn progress(&mut self) -> Progress {
        let now = self.users.clock.now();
        let plan = &self.users.plan;
        let live = &self.collector.live;
        let passed = seconds(now - self.shown_at).max(1e-3);
        let requests_per_s = (live.requests - self.shown.0) as f64 / passed;
        let texts_per_s = (live.texts - self.shown.1) as f64 / passed;
        (self.shown, self.shown_at) = ((live.requests, live.texts), now);
        Progress {
            phase: self.phase,
            elapsed_s: seconds(now - self.phase_begin),
            texts_per_s,
            requests_per_s,
            errors: live.errors,
            p50_ms: live.quantile_ms(0.50),
            p99_ms: live.quantile_ms(0.99),
            total_s: match self.phase {
                Phase::WarmUp => plan.warmup.0.as_secs_f64(),
                Phase::Measuring => self.collector.window_s(),
                Phase::Loading | Phase::Draining => 0.0,
            },
        }
    }

    fn report(mut self, inputs: &Inputs) -> Result<Measured, LoadError> {
        let plan = &self.users.plan;
        let drawn = self.users.draw.drawn();
        if let Some(requests) = self.collector.requests.take() {
            requests.finish()?;
        }
        let [latency_us, service_time_us, slip_us] = self.collector.histograms();
        let counts = &self.collector.counts;
        let requests = counts.ok + counts.late + counts.errors();
        let report = LoadReport {
            url: plan.url.clone(),
            level: plan.level,
            batch_size: plan.batch_size,
            warmup_s: plan.warmup.0.as_secs_f64(),
            window_started_at: self.users.clock.wall(self.collector.window.start),
            window_s: self.collector.window_s(),
            extended: self.collector.window.extended(),
            texts_ok: self.collector.texts_ok,
            requests_ok: counts.ok,
            latency_us,
            service_time_us,
            slip_us,
            per_second: self.collector.per_second(),
            text_words: self.collector.text_words(),
            embedding_dim: self.collector.dim,
            response_bytes: self.collector.response_bytes,
            generator: GeneratorReport {
                cpu_s: self.used.cpu_s,
                cores: cores::allowed(),
                headroom_requests_per_s: plan.headroom_requests_per_s,
                slip_p99_ms: self.collector.own_slip_p99_ms(),
                cpu_wait_s: self.used.waiting_s,
                version: format!("em-load {}", env!("CARGO_PKG_VERSION")),
            },
            dataset: inputs.dataset.clone(),
            error_examples: self.collector.examples.clone(),
            find_max: None,
            plan: plan.asked(),
            merged: None,
            counts: self.collector.counts,
        };
        Ok(Measured { report, over: self.collector.over.count, requests, drawn })
    }
}
