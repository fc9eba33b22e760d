//! `GET …/logs`, once and followed.

use std::time::Duration;

use em_api::agent::{Record, RecordBatch, RecordBody};
use em_api::client::files::LogStream;
use em_controlplane::store::now;
use tokio::time::timeout;

use super::server::{Job, Server};

async fn say(job: &Job, seq: u64, text: &str) {
    let body = RecordBody::Log { stream: "agent".to_owned(), trial: None, backend: None, line: text.to_owned() };
    let batch = RecordBatch { epoch: 0, records: vec![Record { seq, at: now(), body }] };
    job.agent.post_records(job.attempt, &batch).await.unwrap();
}

async fn next(logs: &mut LogStream) -> Option<(u64, String)> {
    let line = timeout(Duration::from_secs(10), logs.next()).await.expect("news come within seconds").unwrap();
    line.map(|line| (line.seq, line.line))
}

#[tokio::test]
async fn a_followed_log_goes_on_and_ends_with_the_experiment() {
    let server = Server::start().await;
    let job = server.submitted("demo").await;
    job.claimed().await;
    say(&job, 1, "one").await;
    let client = server.client(&server.admin);
    let mut logs = client.logs("demo", None, true).await.unwrap();
    let (first, text) = next(&mut logs).await.unwrap();
    assert_eq!(text, "one");
    assert!(timeout(Duration::from_millis(500), logs.next()).await.is_err(), "it waits while the experiment runs");
    say(&job, 2, "two").await;
    assert_eq!(next(&mut logs).await.unwrap().1, "two");
    say(&job, 3, "three").await;
    server.ended(&job).await;
    assert_eq!(next(&mut logs).await.unwrap().1, "three");
    assert_eq!(next(&mut logs).await, None);

    let mut rest = client.logs("demo", Some(first), true).await.unwrap();
    assert_eq!(next(&mut rest).await.unwrap().1, "two", "it goes on behind the line that was seen");
    assert_eq!(next(&mut rest).await.unwrap().1, "three");
    assert_eq!(next(&mut rest).await, None);
    server.stop().await;
}

#[tokio::test]
async fn a_stopping_server_breaks_the_stream_off_so_that_readers_come_back() {
    let server = Server::start().await;
    let job = server.submitted("demo").await;
    job.claimed().await;
    say(&job, 1, "one").await;
    let mut logs = server.client(&server.admin).logs("demo", None, true).await.unwrap();
    next(&mut logs).await.unwrap();
    server.stop().await;
    let end = timeout(Duration::from_secs(10), logs.next()).await.expect("the stream does not hang");
    assert!(end.is_err(), "an orderly end would mean that the experiment has ended: {end:?}");
}
