//! How a trial ends before its time.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use em_api::HumanDuration;
use em_api::spec::LoadLevel;
use em_load::{LoadError, Phase};
use tokio_util::sync::CancellationToken;

use crate::server::{Reply, Server};
use crate::{data_set, measure, plan};

fn hanging() -> Server {
    Server::start(|_| Reply::After(Duration::from_secs(60), Box::new(Reply::Vectors(8))))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancelling_ends_a_trial_within_a_second_even_when_the_server_hangs() {
    let data = data_set();
    for level in [LoadLevel::Concurrency(4), LoadLevel::RequestRate(20.0)] {
        let server = hanging();
        let mut plan = plan(&server.url, &data, level);
        plan.duration = HumanDuration::from_secs(50);
        let cancel = CancellationToken::new();
        let trial = tokio::spawn(em_load::run(plan, cancel.clone(), |_| {}));
        while server.arrivals() < 4 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let asked = Instant::now();
        cancel.cancel();
        let result = trial.await.expect("no panic");
        assert!(matches!(result, Err(LoadError::Cancelled)), "{level}: {result:?}");
        assert!(asked.elapsed() < Duration::from_secs(1), "{level}: {:?}", asked.elapsed());
        tokio::time::sleep(Duration::from_millis(300)).await;
        let arrivals = server.arrivals();
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(server.arrivals(), arrivals, "{level}: nothing is sent afterwards");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trial_never_outlives_its_deadline() {
    let (server, data) = (hanging(), data_set());
    let mut plan = plan(&server.url, &data, LoadLevel::Concurrency(2));
    plan.deadline = HumanDuration::from_secs(2);
    let begin = Instant::now();
    let error = em_load::run(plan, CancellationToken::new(), |_| {}).await.expect_err("a deadline");
    assert!(matches!(error, LoadError::Deadline(_)), "{error}");
    assert!(begin.elapsed() >= Duration::from_secs(2) && begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trials_in_one_process_leave_each_other_alone() {
    let (server, data) = (Server::start(|_| Reply::Vectors(8)), data_set());
    let cancel = CancellationToken::new();
    let first = measure(plan(&server.url, &data, LoadLevel::Concurrency(1)));
    let second = em_load::run(plan(&server.url, &data, LoadLevel::Concurrency(1)), cancel.clone(), |_| {});
    let (first, second) = tokio::join!(first, second);
    assert!(first.requests_ok > 0 && second.expect("a report").requests_ok > 0);
    assert!(!cancel.is_cancelled(), "the caller's token stays the caller's");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn progress_names_every_phase_once_a_second_and_counts() {
    let (server, data) = (Server::start(|_| Reply::After(Duration::from_millis(10), Box::new(Reply::Vectors(8)))), data_set());
    let mut plan = plan(&server.url, &data, LoadLevel::Concurrency(2));
    plan.warmup = HumanDuration::from_secs(1);
    plan.duration = HumanDuration::from_secs(3);
    let lines = Arc::new(Mutex::new(Vec::new()));
    let sink = lines.clone();
    em_load::run(plan, CancellationToken::new(), move |progress| sink.lock().expect("no panic").push(progress))
        .await
        .expect("report");
    let lines = lines.lock().expect("no panic");
    let mut phases: Vec<Phase> = lines.iter().map(|line| line.phase).collect();
    phases.dedup();
    assert_eq!(phases, [Phase::Loading, Phase::WarmUp, Phase::Measuring, Phase::Draining]);
    let busy = lines.iter().filter(|line| line.phase == Phase::Measuring && line.texts_per_s > 0.0).count();
    assert!((2..=4).contains(&busy), "{lines:?}");
    let last = lines.iter().rfind(|line| line.phase == Phase::Measuring).expect("measured");
    assert!(last.p99_ms >= last.p50_ms && last.p50_ms >= Some(9.9) && last.total_s == 3.0, "{last:?}");
}

#[tokio::test]
async fn a_plan_that_cannot_be_run_names_its_field() {
    let data = data_set();
    let base = plan("http://127.0.0.1:9/", &data, LoadLevel::Concurrency(1));
    for (broken, field) in [
        (em_load::LoadPlan { url: "127.0.0.1:9".to_owned(), ..base.clone() }, "url"),
        (em_load::LoadPlan { batch_size: 0, ..base.clone() }, "batchSize"),
        (em_load::LoadPlan { level: LoadLevel::Concurrency(0), ..base.clone() }, "level.concurrency"),
        (em_load::LoadPlan { level: LoadLevel::RequestRate(f64::NAN), ..base.clone() }, "level"),
        (em_load::LoadPlan { duration: HumanDuration::from_secs(0), ..base.clone() }, "duration"),
    ] {
        let error = em_load::run(broken, CancellationToken::new(), |_| {}).await.expect_err(field);
        assert!(error.to_string().starts_with(&format!("load plan, {field}: ")), "{error}");
    }
    let nowhere = em_load::LoadPlan { cores: Some(vec![100_000]), ..base };
    let error = em_load::run(nowhere, CancellationToken::new(), |_| {}).await.expect_err("no such core");
    assert!(matches!(error, LoadError::Pin { .. }), "{error}");
}
