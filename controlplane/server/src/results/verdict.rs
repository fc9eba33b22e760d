//! Whether a measurement counts. `INVALID`: it measured something else than the backend (its errors, the generator's limit, a
//! throttled GPU). `INCONCLUSIVE`: too little or too unsteady to bet on. Only `VALID` trials enter cells and comparisons; the
//! others are shown with their reasons and counted beside the cell.

use em_api::measurement::{LoadReport, Measurement, Outcome, Series};
use em_api::results::{Verdict, VerdictReason};
use em_api::spec::{LoadLevel, Spec};
use em_stats::histogram;
use em_stats::steady::{self, Steadiness};

/// Above this share of failed requests the rate of the others says little.
const ERRORS_ALLOWED: f64 = 0.01;
/// A window below this measures start and end.
const LEAST_WINDOW_S: f64 = 3.0;
/// A generator that uses so much of its own cores may have been the limit.
const GENERATOR_BUSY: f64 = 0.9;
/// The generator must have been shown to reach three times the load.
const HEADROOM: f64 = 3.0;
/// A generator whose own lateness is this share of the p99 latency, and more than a millisecond, was measured with the backend.
const LATENESS_ALLOWED: f64 = 0.1;
const LATENESS_MS: f64 = 1.0;
/// Threads that waited for a core of their own so many times longer than they used one, and for this share of the window, had
/// company there.
const STARVED: f64 = 2.0;
const STARVED_SHARE: f64 = 0.1;
/// NVML's clocks event reasons that slow the GPU down from outside: hardware slowdown (0x8), software thermal (0x20), hardware
/// thermal (0x40), power brake (0x80). Not idle, not clocks that were set, not the software power cap, which is how many GPUs
/// spend their working day: that one is a warning.
const THROTTLED: u64 = 0x8 | 0x20 | 0x40 | 0x80;
/// NVML's software power cap.
pub(crate) const POWER_CAP: u64 = 0x4;
/// Samples that may show it, or a process of somebody else, before a trial is void.
const SAMPLES_ALLOWED: f64 = 0.01;

/// `None`: it was not measured (failed, interrupted). Parity is judged per backend and not here.
pub fn verdict(measurement: &Measurement, spec: &Spec) -> Option<(Verdict, Vec<VerdictReason>)> {
    let Outcome::Measured { load } = &measurement.outcome else { return None };
    let reason = |verdict, code: &str, message| (verdict, VerdictReason { code: code.to_owned(), message });
    let found = [
        unreadable(load).map(|message| reason(Verdict::Invalid, "unreadable", message)),
        errors(load).map(|message| reason(Verdict::Invalid, "errors", message)),
        client_bound(load, measurement.environment.cores_allowed).map(|message| reason(Verdict::Invalid, "client-bound", message)),
        throttled(load, measurement.series.as_ref()).map(|message| reason(Verdict::Invalid, "throttled", message)),
        foreign(load, measurement.series.as_ref()).map(|message| reason(Verdict::Invalid, "foreign-process", message)),
        limit(load).map(|message| reason(Verdict::Inconclusive, "limit", message)),
        too_short(load, spec).map(|message| reason(Verdict::Inconclusive, "too-short", message)),
        unsteady(load, spec).map(|message| reason(Verdict::Inconclusive, "unsteady", message)),
    ];
    let found: Vec<(Verdict, VerdictReason)> = found.into_iter().flatten().collect();
    let verdict = if found.iter().any(|(verdict, _)| *verdict == Verdict::Invalid) {
        Verdict::Invalid
    } else if found.is_empty() {
        Verdict::Valid
    } else {
        Verdict::Inconclusive
    };
    Some((verdict, found.into_iter().map(|(_, reason)| reason).collect()))
}

fn unreadable(load: &LoadReport) -> Option<String> {
    let error = histogram::decode(&load.latency_us.0).err()?;
    Some(format!("the latencies that the agent handed in are unreadable: {error}"))
}

fn errors(load: &LoadReport) -> Option<String> {
    let counts = &load.counts;
    let wrong = counts.wrong_shape + counts.not_finite + counts.wrong_norm;
    let (errors, asked) = (counts.errors(), ended(load));
    let example = load.error_examples.first().map(|example| format!("; for example: {example}")).unwrap_or_default();
    if wrong > 0 {
        return Some(format!("{wrong} of {asked} answers were wrong (number of vectors, dimension, NaN, length){example}"));
    }
    let share = errors as f64 / asked.max(1) as f64;
    (share > ERRORS_ALLOWED)
        .then(|| format!("{errors} of {asked} requests failed ({:.1} %; 1 % is allowed){example}", share * 100.0))
}

/// Requests that ended, in whatever way.
fn ended(load: &LoadReport) -> u64 {
    load.counts.ok + load.counts.late + load.counts.errors()
}

/// A generator with cores of its own that used them up, or one that was not shown to reach three times the load. Where it
/// shares all cores with the services its use says nothing about who waited for whom: that is a warning, not a verdict.
fn client_bound(load: &LoadReport, cores_allowed: u32) -> Option<String> {
    let generator = &load.generator;
    let cores = generator.cores.len();
    if own_cores(cores, cores_allowed) && load.window_s > 0.0 {
        let busy = generator.cpu_s / load.window_s / cores as f64;
        if busy >= GENERATOR_BUSY {
            return Some(format!("the load generator used {:.0} % of its {cores} cores: give it more", busy * 100.0));
        }
        let waited = generator.cpu_wait_s.unwrap_or(0.0);
        if waited > STARVED * generator.cpu_s && waited > STARVED_SHARE * load.window_s {
            return Some(format!(
                "the load generator waited {waited:.1} s for its own {cores} cores and used {:.1} s of them: something else ran there",
                generator.cpu_s
            ));
        }
    }
    if let Some(late) = own_lateness(load) {
        return Some(late);
    }
    let offered = ended(load) as f64 / load.window_s;
    let headroom = generator.headroom_requests_per_s.filter(|headroom| offered.is_finite() && offered * HEADROOM > *headroom)?;
    Some(format!(
        "the generator sent {offered:.0} requests/s but reaches only {headroom:.0} against a null server; three times the load is asked for"
    ))
}

/// Requests that found a free user and were sent late all the same. In a closed loop nothing is planned ahead.
fn own_lateness(load: &LoadReport) -> Option<String> {
    let late = load.generator.slip_p99_ms.filter(|late| *late > LATENESS_MS && !matches!(load.level, LoadLevel::Concurrency(_)))?;
    let latency = histogram::decode(&load.latency_us.0).ok().filter(|latency| !latency.is_empty())?;
    let p99 = latency.value_at_quantile(0.99) as f64 / 1_000.0;
    (late > p99 * LATENESS_ALLOWED)
        .then(|| format!("the load generator sent 1 % of the requests {late:.1} ms late or more, of a p99 latency of {p99:.1} ms"))
}

/// Pinned to some of the job's cores and not to all of them.
pub(crate) fn own_cores(generator_cores: usize, cores_allowed: u32) -> bool {
    generator_cores > 0 && (generator_cores as u64) < u64::from(cores_allowed)
}

fn throttled(load: &LoadReport, series: Option<&Series>) -> Option<String> {
    let share = share_with_reason(series?, load.window_s, THROTTLED)?;
    (share > SAMPLES_ALLOWED)
        .then(|| format!("the GPU was slowed down by heat or power in {:.0} % of the samples", (share * 100.0).max(1.0)))
}

fn foreign(load: &LoadReport, series: Option<&Series>) -> Option<String> {
    let share = share_of_samples(series?, load.window_s, "_foreign_processes", |processes| processes > 0)?;
    (share > SAMPLES_ALLOWED)
        .then(|| format!("a process of somebody else was on the GPU in {:.0} % of the samples", (share * 100.0).max(1.0)))
}

/// Share of the window's samples of any GPU that show one of these reasons.
pub(crate) fn share_with_reason(series: &Series, window_s: f64, mask: u64) -> Option<f64> {
    share_of_samples(series, window_s, "_throttle_reasons", |reasons| reasons & mask != 0)
}

fn share_of_samples(series: &Series, window_s: f64, column: &str, shows: impl Fn(u64) -> bool) -> Option<f64> {
    let columns = series.columns.iter().filter(|(name, _)| name.ends_with(column));
    let inside = |at: &i64| (0..=(window_s * 1_000.0) as i64).contains(at);
    let samples: Vec<u64> = columns
        .flat_map(|(_, column)| series.t_ms.iter().zip(column).filter(|(at, _)| inside(at)).filter_map(|(_, value)| *value))
        .map(|value| value as u64)
        .collect();
    (!samples.is_empty()).then(|| samples.iter().filter(|value| shows(**value)).count() as f64 / samples.len() as f64)
}

/// A search that never found both sides.
fn limit(load: &LoadReport) -> Option<String> {
    let found = load.find_max.as_ref()?;
    let tried = found.probes.iter().map(|probe| probe.requests_per_s);
    let limit = found.p99_limit_ms;
    if found.requests_per_s <= 0.0 {
        let lowest = tried.fold(f64::INFINITY, f64::min);
        return Some(format!("no rate kept p99 ≤ {limit} ms; the lowest that was tried was {lowest:.2} requests/s"));
    }
    found.high.is_none().then(|| {
        format!("every rate kept p99 ≤ {limit} ms, up to {:.2} requests/s: the largest is not known", tried.fold(0.0, f64::max))
    })
}

fn too_short(load: &LoadReport, spec: &Spec) -> Option<String> {
    let (ended, least) = (ended(load), spec.load.min_requests);
    if load.requests_ok == 0 {
        Some("no request was answered inside the window".to_owned())
    } else if load.window_s < LEAST_WINDOW_S {
        Some(format!("the window lasted {:.1} s; at least {LEAST_WINDOW_S} s are needed", load.window_s))
    } else if ended < least {
        let extended = if load.extended { ", even after the window was extended" } else { "" };
        Some(format!("{ended} requests in {:.0} s{extended}; minRequests asks for {least}", load.window_s))
    } else {
        None
    }
}

fn unsteady(load: &LoadReport, spec: &Spec) -> Option<String> {
    // A load that was made to change is no fault of the window.
    if spec.load.ramp.is_some() || spec.load.trace.is_some() {
        return None;
    }
    // Bins beyond the last whole second are only partly inside the window.
    let whole = load.window_s.max(0.0) as usize;
    let mut seconds = vec![0.0; whole.min(86_400)];
    for bin in &load.per_second {
        if let Some(second) = seconds.get_mut(bin.second as usize) {
            *second = bin.requests_ok as f64;
        }
    }
    match steady::judge(&seconds) {
        Steadiness::Unsteady(why) => Some(why.to_string()),
        Steadiness::Steady | Steadiness::NoStatement { .. } => None,
    }
}
