//! Every outcome is counted as what it is, and nothing is counted twice or lost.

use std::io::Read;
use std::time::Duration;

use em_api::HumanDuration;
use em_api::spec::LoadLevel;

use crate::server::{Reply, Server, vectors};
use crate::{data_set, decode, measure, plan};

/// 100 planned requests, one tenth of each kind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_wrong_answer_is_counted_as_what_it_is() {
    let server = Server::start(|number| match number % 10 {
        0 => Reply::Raw(200, vectors(3, 8)),
        1 => Reply::Raw(200, vectors(4, 8).replacen("0.25", "NaN", 1)),
        2 => Reply::Raw(500, "out of memory".to_owned()),
        3 => Reply::After(Duration::from_secs(60), Box::new(Reply::Vectors(8))),
        4 => Reply::BrokenBody,
        5 => Reply::Raw(200, "{\"data\": oops".to_owned()),
        6 => Reply::Vectors(7),
        _ => Reply::Vectors(8),
    });
    let data = data_set();
    let mut plan = plan(&server.url, &data, LoadLevel::RequestRate(50.0));
    plan.duration = HumanDuration::from_secs(2);
    plan.timeout = HumanDuration::from_secs(5);
    plan.expected_dim = Some(8);
    let report = measure(plan).await;

    assert_eq!(server.arrivals(), 100);
    let counts = &report.counts;
    assert_eq!(counts.ok + counts.late, 30, "{counts:?}");
    assert_eq!(counts.wrong_shape, 20, "3 vectors for 4 texts, and 7 numbers for 8");
    assert_eq!(counts.not_finite, 10);
    assert_eq!(counts.http_status.iter().collect::<Vec<_>>(), [(&500, &10)]);
    assert_eq!(counts.timed_out, 10);
    assert_eq!(counts.other, 20, "a broken body and unreadable JSON");
    assert_eq!(counts.refused, 0);
    assert_eq!(counts.errors(), 70);
    assert_eq!(decode(&report.latency_us).len(), 30, "only valid answers have a latency");
    assert_eq!(decode(&report.slip_us).len(), 100, "every request has a slip");
    assert_eq!(report.requests_ok, counts.ok);
    assert_eq!(report.texts_ok, counts.ok * 4);
    assert_eq!(report.per_second.len(), 2);
    assert_eq!(report.per_second.iter().map(|bin| bin.texts_ok).sum::<u64>(), report.texts_ok);
    assert_eq!(report.embedding_dim, Some(8));
    assert!(report.error_examples.iter().any(|example| example.contains("out of memory")), "{:?}", report.error_examples);
    assert!(report.error_examples.iter().any(|example| example.contains("3 vectors for 4 texts")), "{:?}", report.error_examples);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_listening_and_hanging_up_are_refusals() {
    let data = data_set();
    let closed = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.local_addr().expect("an address").port()
    };
    let report = measure(plan(&format!("http://127.0.0.1:{closed}/"), &data, LoadLevel::RequestRate(20.0))).await;
    assert_eq!((report.counts.refused, report.counts.errors(), report.counts.ok), (20, 20, 0), "{:?}", report.error_examples);

    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for connection in listener.incoming().take(20).flatten() {
            let mut connection = connection;
            let _ = connection.read(&mut [0; 4_096]);
        }
    });
    let report = measure(plan(&format!("http://127.0.0.1:{port}/"), &data, LoadLevel::RequestRate(20.0))).await;
    assert_eq!((report.counts.refused, report.counts.errors(), report.counts.ok), (20, 20, 0), "{:?}", report.error_examples);
}

/// A closed loop counts by end: what is under way when the window closes is late, and at most one request a user.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_after_the_window_are_late_and_no_throughput() {
    let server = Server::start(|_| Reply::After(Duration::from_millis(300), Box::new(Reply::Vectors(8))));
    let data = data_set();
    let report = measure(plan(&server.url, &data, LoadLevel::Concurrency(5))).await;
    assert_eq!(report.counts.ok + report.counts.late, server.arrivals(), "every request was awaited");
    assert!((1..=5).contains(&report.counts.late), "{:?}", report.counts);
    assert_eq!(decode(&report.latency_us).len(), report.counts.ok);
    let words = &report.text_words;
    assert_eq!(words.counts.iter().sum::<u64>(), report.texts_ok);
    assert_eq!(words.total_words, report.texts_ok * 6, "`text <n> of the data set` has six words");
    assert!(report.generator.cpu_s > 0.0 && !report.generator.cores.is_empty());
}

/// A server that changes its dimension on the way is wrong from then on, also when the plan names none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_answer_settles_the_dimension() {
    let server = Server::start(|number| Reply::Vectors(if number < 10 { 8 } else { 9 }));
    let data = data_set();
    let report = measure(plan(&server.url, &data, LoadLevel::RequestRate(20.0))).await;
    assert_eq!((report.counts.ok + report.counts.late, report.counts.wrong_shape), (10, 10));
}
