//! Known answers without a clock: requests of a simulated server go through the real window, collector and histograms.

use std::sync::Arc;

use em_api::measurement::Histogram;
use em_stats::histogram;

use crate::clock::{Nanos, SECOND};
use crate::collector::{Belongs, Collector, Sample};
use crate::draw::{Draw, Portion};
use crate::exchange::Outcome;
use crate::plan::tests::plan;
use crate::schedule::Schedule;
use crate::window::Window;
use crate::{DatasetRef, LoadPlan};

const MS: Nanos = SECOND / 1_000;
const WINDOW: (Nanos, Nanos) = (2 * SECOND, 20 * SECOND);

fn collector(belongs: Belongs) -> Collector {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("texts.txt");
    std::fs::write(&path, "a text\n").expect("written");
    let source = em_api::spec::DatasetSource::Text;
    let texts = crate::dataset::load(&DatasetRef { source, path, limit: 1, seed: 1 }).expect("texts");
    let draw = Draw::new(Arc::new(texts), &plan(), false);
    Collector::new(Window::new(WINDOW.0, WINDOW.1 - WINDOW.0, 0), belongs, Arc::new(draw))
}

fn sample(number: u64, planned: Nanos, service: Nanos, outcome: Outcome) -> Sample {
    let portion = Portion { first: number, texts: 1, words: None };
    Sample { number, portion, planned, sent: planned, ended: planned + service, free: true, outcome, bytes: 1, fault: None }
}

/// Requests of a plan's own schedule to a server that takes `service` each, however many come.
fn open_loop(plan: &LoadPlan, service: impl Fn(u64, Nanos) -> (Nanos, Outcome)) -> Collector {
    let mut collector = collector(Belongs::ByPlan);
    let schedule = Schedule::of(plan, None, 1).expect("an open loop").take_while(|planned| planned.at < WINDOW.1);
    let mut samples: Vec<Sample> = schedule
        .enumerate()
        .map(|(number, planned)| {
            let (service, outcome) = service(number as u64, planned.at);
            sample(number as u64, planned.at, service, outcome)
        })
        .collect();
    samples.sort_by_key(|sample| sample.ended);
    samples.into_iter().for_each(|sample| collector.record(sample));
    collector.window.advance(WINDOW.1, u64::MAX);
    collector
}

/// One user, who sends when it is free.
fn closed_loop(service: impl Fn(Nanos) -> Nanos) -> Collector {
    let mut collector = collector(Belongs::ByEnd);
    let (mut now, mut number) = (0, 0);
    while now < WINDOW.1 {
        let takes = service(now);
        collector.record(sample(number, now, takes, Outcome::Valid { dim: 8 }));
        (now, number) = (now + takes, number + 1);
    }
    collector
}

fn at_rate(rate: f64) -> LoadPlan {
    LoadPlan { level: em_api::spec::LoadLevel::RequestRate(rate), ..plan() }
}

/// p50, p90, p99, p99.9 of latency from the planned time, milliseconds.
fn percentiles(collector: &Collector) -> [f64; 4] {
    let [Histogram(latency), _, _] = collector.histograms();
    let latency = histogram::decode(&latency).expect("our own");
    [0.5, 0.9, 0.99, 0.999].map(|quantile| latency.value_at_quantile(quantile) as f64 / 1_000.0)
}

fn near(seen: [f64; 4], truth: [f64; 4]) {
    let close = seen.iter().zip(truth).all(|(seen, truth)| (seen - truth).abs() <= truth * 0.01);
    assert!(close, "{seen:?}, {truth:?} in truth");
}

const VALID: Outcome = Outcome::Valid { dim: 8 };

#[test]
fn a_constant_server_has_one_latency_and_the_planned_rate() {
    let collector = open_loop(&at_rate(250.0), |_, _| (20 * MS, VALID));
    near(percentiles(&collector), [20.0; 4]);
    // Of 18 s of requests the last 20 ms ended late: five of them.
    assert_eq!((collector.counts.ok, collector.counts.late, collector.counts.errors()), (4_495, 5, 0));
}

#[test]
fn a_bimodal_server_shows_both_its_times_and_errors_are_counted_apart() {
    let outcome = |number: u64| match number % 100 {
        0..=2 => Outcome::Status(503),
        3 => Outcome::NotFinite,
        4 => Outcome::TimedOut,
        _ => VALID,
    };
    let takes = |number: u64| if number % 20 == 19 { 400 * MS } else { 8 * MS };
    let collector = open_loop(&at_rate(1_000.0), |number, _| (takes(number), outcome(number)));
    // Of 95 valid ones in a hundred five are slow, that is 5.3 %.
    near(percentiles(&collector), [8.0, 8.0, 400.0, 400.0]);
    assert_eq!((collector.counts.http_status[&503], collector.counts.not_finite, collector.counts.timed_out), (540, 180, 180));
    let valid = collector.counts.ok + collector.counts.late;
    assert_eq!((valid, collector.counts.errors()), (17_100, 900));
}

#[test]
fn a_stall_is_in_planned_latency_and_not_in_a_naive_closed_loop() {
    let stall = |at: Nanos| if (8 * SECOND..10 * SECOND).contains(&at) { 10 * SECOND - at } else { 5 * MS };
    let collector = open_loop(&at_rate(100.0), |_, at| (stall(at), VALID));
    // 1,800 requests, 200 of them 2 s, 1.99 s, … 0.01 s: the 20th, 182nd and 199th of those.
    near(percentiles(&collector), [5.0, 200.0, 1_820.0, 1_990.0]);
    let naive = closed_loop(stall);
    near(percentiles(&naive), [5.0; 4]);
}
