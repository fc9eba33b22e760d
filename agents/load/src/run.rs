//! One trial of load from begin to end: texts, users, warm-up, window, drain, report.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use em_api::measurement::{DatasetReport, GeneratorReport, LoadReport};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::sync::{Barrier, Mutex};
use tokio::time::{MissedTickBehavior, interval_at, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::attack::{Message, Schedule, Users, attack, pace, user_count};
use crate::clock::{Clock, Nanos, nanos, seconds};
use crate::collector::{Belongs, Collector, Draw};
use crate::dataset::Texts;
use crate::window::Window;
use crate::{Key, LoadError, LoadPlan, Phase, Progress, cores, dataset, exchange, signals, wire};

/// Runs the trial that `plan` describes. `progress` is called once a second and at the begin of each phase, from a task of the
/// runtime: it must not block. Cancelling ends the trial within a second; requests under way are dropped then.
///
/// Takes SIGINT and SIGTERM over (they cancel), pins the whole process when `plan.cores` is set, and needs Tokio's multi-thread
/// runtime: a process of its own, as `em-agent load` is.
pub async fn run(
    plan: LoadPlan,
    cancel: CancellationToken,
    progress: impl Fn(Progress) + Send + Sync + 'static,
) -> Result<LoadReport, LoadError> {
    plan.validate()?;
    // A child: ending this trial must not cancel what else hangs on the caller's token.
    let cancel = cancel.child_token();
    let _signals = signals::cancel_on_signal(&cancel);
    let deadline = plan.deadline;
    let trial = async {
        if let Some(cores) = &plan.cores {
            cores::pin(cores)?;
        }
        progress(Progress::begin(Phase::Loading, 0.0));
        let texts = load_texts(&plan).await?;
        Trial::start(plan, texts, cancel.clone())?.measure(&progress).await
    };
    tokio::select! {
        biased;
        () = cancel.cancelled() => Err(LoadError::Cancelled),
        report = trial => report,
        () = tokio::time::sleep(deadline.0) => Err(LoadError::Deadline(deadline)),
    }
    // The guard of the signals cancels the child token: users that are still there end.
}

/// The texts that the plan draws from, and the report of all that were loaded.
async fn load_texts(plan: &LoadPlan) -> Result<(Arc<Texts>, DatasetReport), LoadError> {
    let (source, range) = (plan.dataset.clone(), plan.text_tokens);
    let loaded = tokio::task::spawn_blocking(move || {
        let texts = dataset::load(&source)?;
        match range {
            Some(range) => texts.of_length(range),
            None => Ok(texts),
        }
    });
    // The blocking task can only fail to be joined by a panic, which is ours to pass on.
    let texts = loaded.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))?;
    let report = texts.report();
    Ok((Arc::new(texts), report))
}

struct Trial {
    users: Arc<Users>,
    messages: UnboundedReceiver<Message>,
    dataset: DatasetReport,
    /// Open loop: what the pacer's thread gets.
    pacer: Option<(Schedule, tokio::sync::mpsc::UnboundedSender<Nanos>)>,
}

impl Trial {
    fn start(plan: LoadPlan, (texts, dataset): (Arc<Texts>, DatasetReport), cancel: CancellationToken) -> Result<Self, LoadError> {
        let (sender, messages) = unbounded_channel();
        let (pacer, planned) = match plan.planned_rate() {
            None => (None, None),
            Some(rate) => {
                let (planned, queue) = unbounded_channel();
                // Another schedule for each trial, the same for all backends of a block.
                let seed = plan.dataset.seed ^ plan.text_offset.rotate_left(32);
                (Some((Schedule::new(rate, plan.arrival, seed), planned)), Some(Mutex::new(queue)))
            }
        };
        let count = user_count(&plan);
        let key = Key::read(plan.api_key_file.as_deref(), plan.api_key_env.as_deref())?;
        let users = Users {
            client: exchange::client(key.as_ref())?,
            key,
            tail: wire::tail(&plan.fields),
            url: exchange::endpoint(&plan.url)?,
            draw: Draw { texts, offset: plan.text_offset, batch_size: plan.batch_size },
            clock: Clock::start(),
            count,
            ready: Barrier::new(count as usize + 1),
            next: AtomicU64::new(0),
            dim: AtomicU32::new(plan.expected_dim.unwrap_or(0)),
            close: AtomicU64::new(u64::MAX),
            planned,
            messages: sender,
            cancel,
            plan,
        };
        Ok(Self { users: Arc::new(users), messages, dataset, pacer })
    }

    async fn measure(mut self, progress: &impl Fn(Progress)) -> Result<LoadReport, LoadError> {
        self.gather_users().await?;
        let (users, plan) = (self.users.clone(), &self.users.plan);
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
        let watch = Watch {
            collector: Collector::new(window, belongs, users.draw.clone()),
            phase: Phase::WarmUp,
            phase_begin: begin,
            shown: 0,
            shown_at: begin,
            cpu_at_open: 0.0,
            cpu_s: 0.0,
            users,
        };
        let watch = watch.until_the_last_user(&mut self.messages, progress).await;
        Ok(watch.report(self.dataset))
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
    /// Valid answers shown so far in this phase, and when.
    shown: u64,
    shown_at: Nanos,
    cpu_at_open: f64,
    cpu_s: f64,
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
                self.cpu_at_open = cores::cpu_seconds();
                Phase::Measuring
            }
            Phase::Measuring => {
                self.collector.window.advance(now, self.collector.counts.ok);
                if let Some(end) = self.collector.window.certain_end(self.collector.counts.ok) {
                    self.users.close.store(end, Ordering::Relaxed);
                }
                if self.collector.window.end().is_none() {
                    return false;
                }
                self.cpu_s = cores::cpu_seconds() - self.cpu_at_open;
                Phase::Draining
            }
            _ => return false,
        };
        self.phase = phase;
        self.phase_begin = now;
        self.shown = 0;
        self.shown_at = now;
        self.collector.restart_live();
        true
    }

    fn progress(&mut self) -> Progress {
        let now = self.users.clock.now();
        let plan = &self.users.plan;
        let live = &self.collector.live;
        let passed = seconds(now - self.shown_at).max(1e-3);
        let requests_per_s = (live.requests - self.shown) as f64 / passed;
        (self.shown, self.shown_at) = (live.requests, now);
        Progress {
            phase: self.phase,
            elapsed_s: seconds(now - self.phase_begin),
            texts_per_s: requests_per_s * f64::from(plan.batch_size),
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

    fn report(mut self, dataset: DatasetReport) -> LoadReport {
        let plan = &self.users.plan;
        let drawn = self.users.next.load(Ordering::Relaxed) * u64::from(plan.batch_size);
        let texts = self.users.draw.texts.len() as u64;
        if drawn > texts {
            tracing::warn!(drawn, texts, "{drawn} texts were sent of {texts}: some more than once, so caches may have helped");
        }
        let [latency_us, service_time_us, slip_us] = self.collector.histograms();
        LoadReport {
            url: plan.url.clone(),
            level: plan.level,
            batch_size: plan.batch_size,
            warmup_s: plan.warmup.0.as_secs_f64(),
            window_started_at: self.users.clock.wall(self.collector.window.start),
            window_s: self.collector.window_s(),
            extended: self.collector.window.extended(),
            texts_ok: self.collector.counts.ok * u64::from(plan.batch_size),
            requests_ok: self.collector.counts.ok,
            latency_us,
            service_time_us,
            slip_us,
            per_second: self.collector.per_second(),
            text_words: self.collector.text_words(),
            embedding_dim: self.collector.dim,
            response_bytes: self.collector.response_bytes,
            generator: GeneratorReport {
                cpu_s: self.cpu_s,
                cores: cores::allowed(),
                headroom_requests_per_s: None,
                version: format!("em-load {}", env!("CARGO_PKG_VERSION")),
            },
            dataset,
            error_examples: self.collector.examples.clone(),
            counts: self.collector.counts,
        }
    }
}
