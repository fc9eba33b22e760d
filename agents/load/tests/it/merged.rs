//! `em-agent load merge`: what it takes, what it refuses, what it says.

use em_api::measurement::LoadReport;
use em_api::spec::{Arrival, FindMax, LoadLevel};
use em_load::merge::{merge, same_texts};

use crate::server::{Reply, Server};
use crate::{data_set, measure, plan};

async fn report() -> LoadReport {
    let (server, data) = (Server::start(|_| Reply::Vectors(8)), data_set());
    let mut plan = plan(&server.url, &data, LoadLevel::RequestRate(40.0));
    plan.arrival = Arrival::Poisson;
    measure(plan).await
}

fn named(reports: &[&LoadReport]) -> Vec<(String, LoadReport)> {
    reports.iter().zip(["a.json", "b.json", "c.json"]).map(|(report, name)| (name.to_owned(), (*report).clone())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reports_of_another_plan_or_time_are_refused_by_the_field() {
    let one = report().await;
    assert_eq!(one.plan["arrival"], "\"poisson\"");
    assert!(!one.plan.contains_key("apiKeyFile"), "{:?}", one.plan);
    type Bend = fn(&mut LoadReport);
    let cases: [(&str, Bend); 14] = [
        ("url: ", |report| report.url = "http://127.0.0.1:1/".to_owned()),
        ("level: requestRate in a.json, concurrency in b.json", |report| report.level = LoadLevel::Concurrency(4)),
        ("level: b.json searched", |report| {
            report.level = LoadLevel::FindMax(FindMax { p99_ms: 5.0, probe: em_api::HumanDuration::from_secs(1) })
        }),
        ("batch_size: 4 in a.json, 8 in b.json", |report| report.batch_size = 8),
        ("warmup_s: ", |report| report.warmup_s = 3.0),
        ("window_s: 1 in a.json, 2 in b.json", |report| report.window_s = 2.0),
        ("dataset.seed: 42 in a.json, 43 in b.json; only reports of one plan can be merged: one --seed", |report| {
            report.dataset.seed = 43
        }),
        ("dataset.sha256: ", |report| report.dataset.sha256 = "other".to_owned()),
        ("embedding_dim: 8 in a.json, 16 in b.json", |report| report.embedding_dim = Some(16)),
        ("plan.arrival: \"poisson\" in a.json, \"constant\" in b.json", |report| {
            report.plan.insert("arrival".to_owned(), "\"constant\"".to_owned());
        }),
        ("plan.timeout: \"20s\" in a.json, nothing in b.json", |report| {
            report.plan.remove("timeout");
        }),
        ("window_started_at: b.json had no moment in common", |report| {
            report.window_started_at += std::time::Duration::from_secs(5)
        }),
        ("latency_us of b.json cannot be read", |report| report.latency_us.0 = "%".to_owned()),
        ("merged: b.json is made of several", |report| {
            report.merged = Some(em_api::measurement::Merged { generators: 2, overlap_s: 1.0, spread_s: 0.0 })
        }),
    ];
    for (words, bend) in cases {
        let mut other = one.clone();
        bend(&mut other);
        let error = merge(&named(&[&one, &other])).expect_err(words).to_string();
        assert!(error.contains(words), "{words}: {error}");
    }
    assert!(merge(&named(&[&one])).expect_err("alone").to_string().contains("at least two"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_overlap_of_the_windows_and_equal_texts_are_told() {
    let one = report().await;
    let mut other = one.clone();
    other.window_started_at += std::time::Duration::from_millis(250);
    other.plan.insert("textOffset".to_owned(), "400".to_owned());
    other.level = LoadLevel::RequestRate(20.0);
    let reports = named(&[&one, &other, &one]);
    let merged = merge(&reports).expect("merged");
    assert_eq!(merged.level, LoadLevel::RequestRate(100.0), "parts of one load");
    assert_eq!((merged.requests_ok, merged.window_started_at), (3 * one.requests_ok, one.window_started_at));
    let told = merged.merged.expect("it says so");
    assert_eq!((told.generators, told.overlap_s, told.spread_s), (3, 0.75, 0.25));
    assert_eq!(same_texts(&reports), ["c.json"]);
    assert!(!merged.plan.contains_key("textOffset"));
}
