//! Numbers against servers whose times are known: percentiles within 1 % or 1 ms of the computed truth, counts exact.
//!
//! Times are real here. On a machine that is busy with something else no number may come out *better* than the truth; that none comes
//! out worse is asked for on a quiet one, by `make test-long` (feature `long-tests`), with a few attempts: a generator that gets a
//! number wrong gets it wrong each time. `simulated` has the same cases without a clock.

use std::time::Duration;

use em_api::HumanDuration;
use em_api::measurement::{Histogram, LoadReport};
use em_api::spec::LoadLevel;
use em_load::LoadPlan;

use crate::scripted::{Act, Scripted};
use crate::{data_set, decode, measure, plan};

const QUIET: bool = cfg!(feature = "long-tests");
const ATTEMPTS: u32 = if QUIET { 8 } else { 1 };

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// Measures until `wrong` finds nothing, and fails with what it found last.
async fn until_right(plan: impl Fn() -> (Scripted, LoadPlan), wrong: impl Fn(&LoadReport) -> Vec<String>) -> LoadReport {
    let mut last = Vec::new();
    for _ in 0..ATTEMPTS {
        let (_server, plan) = plan();
        let report = measure(plan).await;
        last = wrong(&report);
        if last.is_empty() {
            return report;
        }
    }
    panic!("{last:#?}");
}

/// The percentiles that lie more than 1 % or 1 ms from `truth`, all latencies in milliseconds.
fn off(name: &str, seen: &Histogram, mut truth: Vec<f64>) -> Vec<String> {
    let seen = decode(seen);
    truth.sort_by(f64::total_cmp);
    let mut off = Vec::new();
    for quantile in [0.5, 0.9, 0.99, 0.999] {
        let expected = truth[((truth.len() as f64 * quantile).ceil() as usize).clamp(1, truth.len()) - 1];
        let value = seen.value_at_quantile(quantile) as f64 / 1_000.0;
        let slack = (expected * 0.01).max(1.0);
        if value < expected - slack || QUIET && value > expected + slack {
            off.push(format!("{name} p{}: {value:.3} ms, {expected:.3} ms in truth", quantile * 100.0));
        }
    }
    off
}

fn single(server: &Scripted, data: &tempfile::TempDir, level: LoadLevel, seconds: u64) -> LoadPlan {
    LoadPlan { batch_size: 1, normalized: true, duration: HumanDuration::from_secs(seconds), ..plan(&server.url, data, level) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn constant_service_times_give_their_percentiles_and_rates() {
    let data = data_set();
    // Open loop: 100 requests/s, none of which waits.
    let open = || {
        let server = Scripted::start(|_, _| Act::After(ms(20)));
        let plan = single(&server, &data, LoadLevel::RequestRate(150.0), 2);
        (server, plan)
    };
    let wrong = |report: &LoadReport| {
        let mut wrong = off("latency", &report.latency_us, vec![20.0; 300]);
        wrong.extend(off("service time", &report.service_time_us, vec![20.0; 300]));
        wrong
    };
    let report = until_right(open, wrong).await;
    assert_eq!((report.counts.ok + report.counts.late, report.counts.errors()), (300, 0));

    // Closed loop: eight users of 100 ms make 80 requests/s; `pace` has its lower bounds.
    if !QUIET {
        return;
    }
    let closed = || {
        let server = Scripted::start(|_, _| Act::After(ms(100)));
        let plan = LoadPlan { warmup: ms(500).into(), ..single(&server, &data, LoadLevel::Concurrency(8), 3) };
        (server, plan)
    };
    let wrong = |report: &LoadReport| {
        let rate = report.requests_ok as f64 / report.window_s;
        let mut wrong = off("latency", &report.latency_us, vec![100.0; 240]);
        // A window begins and ends amid eight requests.
        let slack = 80.0 * 0.01 + 8.0 / report.window_s;
        wrong.extend(((rate - 80.0).abs() > slack).then(|| format!("{rate} requests/s")));
        wrong
    };
    until_right(closed, wrong).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_kinds_of_requests_show_as_two_and_errors_are_counted_exactly() {
    let data = data_set();
    let script = |number: u64, _| match number % 50 {
        0 => Act::Status(503),
        1 => Act::NotFinite,
        2 => Act::WrongDimension,
        rest if rest % 10 == 9 => Act::After(ms(80)),
        _ => Act::After(ms(10)),
    };
    let open = || {
        let server = Scripted::start(script);
        let plan = LoadPlan { expected_dim: Some(8), ..single(&server, &data, LoadLevel::RequestRate(200.0), 2) };
        (server, plan)
    };
    // Of 50 requests 3 are wrong, 5 slow, 42 fast.
    let truth = || [vec![10.0; 8 * 42], vec![80.0; 8 * 5]].concat();
    let report = until_right(open, |report| off("latency", &report.latency_us, truth())).await;
    let counts = &report.counts;
    assert_eq!((counts.ok + counts.late, counts.http_status[&503], counts.not_finite, counts.wrong_shape), (376, 8, 8, 8));
    assert_eq!(counts.errors(), 24);
}

/// The server stands still for two seconds. Requests are planned each 10 ms, so that those latencies are 2 s, 1.99 s, … 0.01 s.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stall_of_two_seconds_has_its_computed_place_in_planned_latency_and_none_in_a_naive_one() {
    let data = data_set();
    let stalling = |_: u64, since: Duration| {
        let still = since >= ms(1_000) && since < ms(3_000);
        Act::After(if still { ms(3_000) - since } else { ms(5) })
    };
    let open = || {
        let server = Scripted::start(stalling);
        let plan = single(&server, &data, LoadLevel::RequestRate(100.0), 5);
        (server, plan)
    };
    let truth = || [vec![5.0; 300], (1..=200).map(|step| f64::from(step) * 10.0).collect()].concat();
    until_right(open, |report| off("latency", &report.latency_us, truth())).await;

    // The naive view, whose bounds are all upper ones.
    if !QUIET {
        return;
    }
    let closed = || {
        let server = Scripted::start(stalling);
        let plan = single(&server, &data, LoadLevel::Concurrency(1), 5);
        (server, plan)
    };
    // One request of some hundreds: nothing below p99 shows it.
    let naive = |report: &LoadReport| {
        let p90 = decode(&report.latency_us).value_at_quantile(0.9) as f64 / 1_000.0;
        (p90 > 7.0).then(|| format!("p90 {p90} ms")).into_iter().collect()
    };
    until_right(closed, naive).await;
}
