//! When requests are sent, and what their times are counted from. Bounds are wide: the box may be busy.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use em_api::HumanDuration;
use em_api::spec::{Arrival, LoadLevel};

use crate::server::{Reply, Server};
use crate::{data_set, decode, measure, plan, quantile_ms};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_loop_keeps_exactly_so_many_requests_under_way() {
    let server = Server::start(|_| Reply::After(Duration::from_millis(50), Box::new(Reply::Vectors(8))));
    let data = data_set();
    let mut plan = plan(&server.url, &data, LoadLevel::Concurrency(7));
    plan.warmup = HumanDuration(Duration::from_millis(500));
    let report = measure(plan).await;
    assert_eq!(server.max_in_flight(), 7);
    // Seven users at no less than 50 ms a request.
    let rate = report.requests_ok as f64 / report.window_s;
    assert!((40.0..=150.0).contains(&rate), "{rate} requests/s");
    assert!(quantile_ms(&report.service_time_us, 0.0) >= 50.0 * 0.999);
    let warm = server.arrivals() - report.counts.ok - report.counts.late;
    assert!(warm >= 7, "warm-up sends load too: {warm}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_loop_sends_what_was_planned() {
    let server = Server::start(|_| Reply::Vectors(8));
    let data = data_set();
    let mut constant = plan(&server.url, &data, LoadLevel::TextRate(400.0));
    constant.warmup = HumanDuration(Duration::from_millis(500));
    let report = measure(constant).await;
    assert_eq!(report.counts.ok + report.counts.late + report.counts.errors(), 100, "400 texts/s in requests of 4, for 1 s");
    assert_eq!(server.arrivals(), 150, "warm-up at the same pace");

    let mut poisson = plan(&server.url, &data, LoadLevel::RequestRate(200.0));
    poisson.arrival = Arrival::Poisson;
    let report = measure(poisson).await;
    // Five standard deviations.
    assert!((130..=270).contains(&decode(&report.slip_us).len()), "{}", decode(&report.slip_us).len());
}

/// The whole server stands still for a second, once. A closed loop with one user sees one slow request in hundreds; in the open
/// loop a third of the planned ones had to wait, and their latency says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stall_shows_in_latency_from_the_planned_time() {
    let stalling = || {
        let begin: Mutex<Option<Instant>> = Mutex::new(None);
        Server::start(move |_| {
            let begin = *begin.lock().expect("no panic").get_or_insert_with(Instant::now);
            let since = begin.elapsed();
            let (from, to) = (Duration::from_millis(1_000), Duration::from_millis(2_000));
            if since >= from && since < to { Reply::After(to - since, Box::new(Reply::Vectors(8))) } else { Reply::Vectors(8) }
        })
    };
    let data = data_set();
    let server = stalling();
    let mut open = plan(&server.url, &data, LoadLevel::RequestRate(100.0));
    open.duration = HumanDuration::from_secs(3);
    let report = measure(open).await;
    assert_eq!(decode(&report.latency_us).len(), 300);
    assert!(quantile_ms(&report.latency_us, 0.80) > 200.0, "p80 {} ms", quantile_ms(&report.latency_us, 0.80));
    assert!(quantile_ms(&report.latency_us, 0.99) > 800.0, "p99 {} ms", quantile_ms(&report.latency_us, 0.99));

    let server = stalling();
    let mut closed = plan(&server.url, &data, LoadLevel::Concurrency(1));
    closed.duration = HumanDuration::from_secs(3);
    let report = measure(closed).await;
    assert!(
        quantile_ms(&report.latency_us, 0.80) < 200.0,
        "the naive view hides it: p80 {} ms",
        quantile_ms(&report.latency_us, 0.80)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_window_with_too_few_answers_is_extended_and_bounded() {
    let slow = || Server::start(|_| Reply::After(Duration::from_millis(100), Box::new(Reply::Vectors(8))));
    let data = data_set();
    let server = slow();
    let mut reachable = plan(&server.url, &data, LoadLevel::Concurrency(1));
    reachable.min_requests = 12;
    let report = measure(reachable).await;
    assert!(report.extended && report.counts.ok >= 12, "{:?}", report.counts);
    assert!(report.window_s == 2.0 || report.window_s == 3.0, "{}", report.window_s);

    let server = slow();
    let mut unreachable = plan(&server.url, &data, LoadLevel::Concurrency(1));
    unreachable.min_requests = 1_000;
    let report = measure(unreachable).await;
    assert_eq!((report.window_s, report.extended), (3.0, true));
    assert_eq!(report.per_second.len(), 3);
}
