//! A trial that searches the largest request rate whose p99 latency stays within a limit.
//!
//! The warm-up is a closed loop: what the server reaches there is where the search begins (`em_stats::search`). Each probe is an open
//! loop of its own that begins with an idle server: what an overload left behind is drained first, and a probe that can no longer
//! pass is cut short. The window that is reported is that of the highest probe that passed.

use std::time::Duration;

use em_api::HumanDuration;
use em_api::measurement::{FoundBy, FoundMax, LoadReport, ProbeReport};
use em_api::spec::{FindMax, LoadLevel};
use em_stats::search::{By, Probe, Search};
use em_stats::{histogram, percentile};
use tokio_util::sync::CancellationToken;

use crate::inputs::Inputs;
use crate::trial::{Limit, Measured, Trial};
use crate::{LoadError, LoadPlan, Phase, Progress};

/// Share of requests that may be over the limit of a p99.
const ALLOWED: f64 = 0.01;
/// A probe with so large a share over the limit tells no more than *above*.
const HOPELESS: f64 = 0.25;
/// Users of the closed loop that warms up.
const WARM_UP_USERS: u32 = 32;
/// At least this long, whatever the plan's warm-up.
const LEAST_WARM_UP: Duration = Duration::from_secs(2);
/// The search begins at this share of the closed loop's rate.
const BEGIN: f64 = 0.8;
/// Load before a probe's window, as a share of it, and at most.
const SETTLE: f64 = 0.1;
const MOST_SETTLE: Duration = Duration::from_secs(3);
/// A request that is late by so many limits need not be awaited to be called late.
const TIMEOUT_LIMITS: f64 = 10.0;
const LEAST_TIMEOUT: Duration = Duration::from_secs(2);

pub(crate) async fn run(
    plan: &LoadPlan,
    asked: FindMax,
    inputs: &Inputs,
    cancel: &CancellationToken,
    progress: &impl Fn(Progress),
) -> Result<LoadReport, LoadError> {
    let warm = warm_up(plan, inputs, cancel, progress).await?;
    if warm.report.requests_ok == 0 {
        // Its faults are the report.
        return Ok(LoadReport { level: plan.level, ..warm.report });
    }
    let begin = std::time::Instant::now();
    let total_s = f64::from(FindMax::MOST_PROBES) * asked.probe.0.as_secs_f64() * (1.0 + SETTLE);
    let show = |line: Progress| {
        if line.phase != Phase::Loading {
            progress(Progress { phase: Phase::Measuring, elapsed_s: begin.elapsed().as_secs_f64(), total_s, ..line });
        }
    };
    let mut search = Search::new(BEGIN * warm.report.requests_ok as f64 / warm.report.window_s, ALLOWED);
    let (mut probes, mut best, mut last) = (Vec::new(), None, None);
    let mut offset = plan.text_offset + warm.drawn;
    while let Some(rate) = search.next_rate() {
        let limit = Duration::from_secs_f64(asked.p99_ms / 1_000.0);
        let most_over = (HOPELESS * rate * asked.probe.0.as_secs_f64()).ceil().max(1.0) as u64;
        let probe = probe_plan(plan, asked, rate, offset, limit);
        let measured =
            Trial::start(probe, inputs, Some(Limit { latency: limit, most_over }), cancel.clone())?.measure(&show).await?;
        offset += measured.drawn;
        let seen = Probe { rate, requests: measured.requests, over: measured.over };
        search.record(seen);
        let passed = search.passed(&seen);
        probes.push(ProbeReport {
            requests_per_s: rate,
            requests: seen.requests,
            over: seen.over,
            passed,
            p99_ms: p99_ms(&measured.report),
        });
        if passed && best.as_ref().is_none_or(|(highest, _)| rate > *highest) {
            best = Some((rate, measured.report));
        } else {
            last = Some(measured.report);
        }
    }
    let found = search.found();
    let report = best.map(|(_, report)| report).or(last).unwrap_or(warm.report);
    Ok(LoadReport {
        level: plan.level,
        find_max: Some(FoundMax {
            p99_limit_ms: asked.p99_ms,
            requests_per_s: found.rate,
            low: found.low,
            high: found.high,
            by: match found.by {
                By::Line => FoundBy::Line,
                By::Bracket => FoundBy::Bracket,
            },
            probes,
        }),
        ..report
    })
}

/// A closed loop: its first half warms up, its second says what the server reaches.
async fn warm_up(
    plan: &LoadPlan,
    inputs: &Inputs,
    cancel: &CancellationToken,
    progress: &impl Fn(Progress),
) -> Result<Measured, LoadError> {
    let half = HumanDuration(plan.warmup.0.max(LEAST_WARM_UP) / 2);
    let closed =
        LoadPlan { level: LoadLevel::Concurrency(WARM_UP_USERS), warmup: half, duration: half, min_requests: 0, ..plan.clone() };
    let total_s = 2.0 * half.0.as_secs_f64();
    let show = |line: Progress| progress(Progress { phase: Phase::WarmUp, total_s, ..line });
    Trial::start(closed, inputs, None, cancel.clone())?.measure(&show).await
}

fn probe_plan(plan: &LoadPlan, asked: FindMax, rate: f64, text_offset: u64, limit: Duration) -> LoadPlan {
    LoadPlan {
        level: LoadLevel::RequestRate(rate),
        warmup: asked.probe.0.mul_f64(SETTLE).min(MOST_SETTLE).into(),
        duration: asked.probe,
        timeout: plan.timeout.0.min(limit.mul_f64(TIMEOUT_LIMITS).max(LEAST_TIMEOUT)).into(),
        min_requests: 0,
        text_offset,
        ..plan.clone()
    }
}

/// Only where the probe's requests can carry it.
fn p99_ms(report: &LoadReport) -> Option<f64> {
    let latency = histogram::decode(&report.latency_us.0).ok()?;
    percentile::of(&latency, 0.99).ok().map(|p99| p99.value / 1_000.0)
}
