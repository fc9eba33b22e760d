//! A search for the largest rate, against a server that serves one request at a time.

use std::time::Duration;

use em_api::HumanDuration;
use em_api::spec::{FindMax, LoadLevel};
use em_load::LoadPlan;

use crate::scripted::{Act, Scripted};
use crate::{data_set, measure, plan};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_largest_rate_of_a_server_that_serves_one_at_a_time_is_near_its_own() {
    // 50/s at most. What sleeps sleeps a little longer, and a busy machine more so: the bounds are wide.
    let server = Scripted::start(|_, _| Act::InTurn(Duration::from_millis(20)));
    let data = data_set();
    let search = FindMax { p99_ms: 200.0, probe: HumanDuration::from_secs(1) };
    let plan = LoadPlan { batch_size: 1, ..plan(&server.url, &data, LoadLevel::FindMax(search)) };
    let report = measure(plan).await;
    let found = report.find_max.expect("a search");
    assert!((2..=12).contains(&found.probes.len()), "{found:?}");
    assert!((30.0..=62.0).contains(&found.requests_per_s), "{found:?}");
    assert!(found.low <= found.requests_per_s && found.high.is_none_or(|high| high >= found.requests_per_s), "{found:?}");
    assert!(found.probes.iter().any(|probe| probe.passed), "{found:?}");
    assert_eq!((report.level, report.window_s), (LoadLevel::FindMax(search), 1.0), "the window of a probe that passed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_only_fails_gives_its_faults_and_no_rate() {
    let server = Scripted::start(|_, _| Act::Status(500));
    let data = data_set();
    let search = FindMax { p99_ms: 50.0, probe: HumanDuration::from_secs(1) };
    let report = measure(plan(&server.url, &data, LoadLevel::FindMax(search))).await;
    assert_eq!((report.find_max, report.requests_ok), (None, 0));
    assert!(report.counts.http_status[&500] > 0);
}
