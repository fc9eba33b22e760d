//! Watches over time: selectors, coming back, coming back too late, readers that do not read, and how fast news travel.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use em_api::agent::{Record, RecordBatch, RecordBody};
use em_controlplane::store::now;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpSocket;

use super::server::{Server, experiment, problem};
use super::watching::{Events, label};

async fn post(server: &Server, name: &str, round: &str) {
    let mut body = experiment(name);
    body["metadata"]["labels"] = json!({"round": round});
    server.post(body).await;
}

async fn told(events: &mut Events) -> String {
    let event = events.next().await;
    format!("{} {}", event.kind, event.name)
}

#[tokio::test]
async fn what_stops_being_selected_is_deleted_for_its_watcher() {
    let server = Server::start().await;
    post(&server, "a", "1").await;
    post(&server, "b", "2").await;
    let mut events = Events::open(&server, "&labelSelector=round+in+(1,3)", None).await;
    assert_eq!(told(&mut events).await, "added a");
    label(&server, "a", "2").await;
    assert_eq!(told(&mut events).await, "deleted a");
    label(&server, "a", "4").await;
    label(&server, "b", "3").await;
    assert_eq!(told(&mut events).await, "added b", "and not a again");
    label(&server, "b", "1").await;
    assert_eq!(told(&mut events).await, "modified b");
    label(&server, "a", "1").await;
    assert_eq!(told(&mut events).await, "added a");
    post(&server, "c", "2").await;
    server.remove("c").await;
    server.remove("b").await;
    // A watcher that is late sees no more of its going.
    let mut last = told(&mut events).await;
    if last == "modified b" {
        last = told(&mut events).await;
    }
    assert_eq!(last, "deleted b", "and nothing of c");
    assert!(events.is_quiet().await);
    server.stop().await;
}

#[tokio::test]
async fn fields_select_what_is_watched() {
    let server = Server::start().await;
    let mut one = Events::open(&server, "&fieldSelector=metadata.name%3Da", None).await;
    let mut running = Events::open(&server, "&fieldSelector=status.phase%3DPending", None).await;
    post(&server, "b", "1").await;
    post(&server, "a", "1").await;
    assert_eq!(told(&mut one).await, "added a");
    assert_eq!((told(&mut running).await, told(&mut running).await), ("added b".to_owned(), "added a".to_owned()));
    let job = server.submitted("c").await;
    assert_eq!(told(&mut running).await, "added c");
    server.ended(&job).await;
    loop {
        match told(&mut running).await.as_str() {
            "modified c" => {}
            other => break assert_eq!(other, "deleted c"),
        }
    }
    assert!(one.is_quiet().await);
    server.stop().await;
}

#[tokio::test]
async fn who_was_away_learns_what_is_selected_no_more() {
    let server = Server::start().await;
    for name in ["a", "b", "c", "d"] {
        post(&server, name, "1").await;
    }
    let mut events = Events::open(&server, "&labelSelector=round%3D1", None).await;
    let mut last = 0;
    for _ in 0..4 {
        last = events.next().await.id;
    }
    drop(events);
    label(&server, "a", "2").await;
    server.remove("b").await;
    label(&server, "c", "1-again").await;
    label(&server, "c", "1").await;
    post(&server, "e", "2").await;
    let mut events = Events::open(&server, "&labelSelector=round%3D1", Some(last)).await;
    let seen = [told(&mut events).await, told(&mut events).await, told(&mut events).await];
    assert_eq!(seen, ["deleted a", "deleted b", "modified c"]);
    label(&server, "a", "3").await;
    assert!(events.is_quiet().await, "told once");
    server.stop().await;
}

#[tokio::test]
async fn a_fresh_watch_is_told_nothing_of_what_was_gone_before() {
    let server = Server::start().await;
    post(&server, "gone", "1").await;
    server.remove("gone").await;
    post(&server, "here", "1").await;
    let mut events = Events::open(&server, "", None).await;
    assert_eq!(told(&mut events).await, "added here");
    assert!(events.is_quiet().await);
    server.stop().await;
}

/// Breaks off after every few events while experiments come, change and go; what it was told adds up to what there is.
#[tokio::test]
async fn a_watcher_that_comes_and_goes_has_no_gaps_and_no_repeats() {
    let server = Server::start().await;
    let write = async {
        for round in 0..60_u32 {
            let name = format!("n{}", round * 7 % 11);
            match server.store.stored(&name).await {
                Err(_) => post(&server, &name, "0").await,
                Ok(_) if round % 5 == 0 => server.remove(&name).await,
                Ok(_) => label(&server, &name, &round.to_string()).await,
            }
        }
        post(&server, "last", "0").await;
    };
    let read = async {
        let (mut known, mut last, mut sizes) = (BTreeMap::<String, Value>::new(), None, [1, 3, 2, 5].into_iter().cycle());
        loop {
            let mut events = Events::open(&server, "", last).await;
            for _ in 0..sizes.next().unwrap() {
                let event = events.next().await;
                assert!(last.is_none_or(|last| event.id > last), "{event:?} behind {last:?}");
                last = Some(event.id);
                let versions = event.data["metadata"]["resourceVersion"].clone();
                match event.kind.as_str() {
                    "deleted" => drop(known.remove(&event.name)),
                    _ => drop(known.insert(event.name.clone(), versions)),
                }
                if event.name == "last" {
                    return known;
                }
            }
        }
    };
    let ((), known) = tokio::join!(write, read);
    let list: Value = server.get("/experiments").await.json().await.unwrap();
    let metadata =
        |item: &Value| (item["metadata"]["name"].as_str().unwrap().to_owned(), item["metadata"]["resourceVersion"].clone());
    assert_eq!(known, list["items"].as_array().unwrap().iter().map(metadata).collect());
    server.stop().await;
}

#[tokio::test]
async fn who_was_away_too_long_lists_again() {
    let server = Server::start().await;
    post(&server, "a", "1").await;
    post(&server, "b", "1").await;
    let mut events = Events::open(&server, "", None).await;
    let last = (events.next().await.id, events.next().await.id).1;
    drop(events);
    server.remove("a").await;
    assert_eq!(server.store.compact(now()).await.unwrap(), 1);
    let back = server.ask(Method::GET, "/experiments?watch=true").header("last-event-id", last.to_string()).send().await.unwrap();
    assert_eq!(problem(back, StatusCode::GONE).await.code, "expired");
    let mut anew = Events::open(&server, "", None).await;
    let event = anew.next().await;
    assert_eq!((event.kind.as_str(), event.name.as_str()), ("added", "b"));
    label(&server, "b", "2").await;
    let newest = anew.next().await.id;
    drop(anew);
    assert!(Events::open(&server, "", Some(newest)).await.is_quiet().await, "from there it goes on");
    server.stop().await;
}

#[tokio::test]
async fn events_of_one_experiment_stream_until_it_is_gone() {
    let server = Server::start().await;
    post(&server, "demo", "1").await;
    let path = "/experiments/demo/events?watch=true";
    let mut events = Events::at(&server, path, None).await;
    let first = events.next().await;
    assert_eq!((first.id, first.data["reason"].as_str()), (1, Some("Accepted")));
    let client = server.client(&server.admin);
    client.set_desired("demo", em_api::spec::Desired::Suspended).await.unwrap();
    let second = events.next().await;
    assert_eq!((second.id, second.data["reason"].as_str()), (2, Some("Suspending")));
    drop(events);
    client.set_desired("demo", em_api::spec::Desired::Run).await.unwrap();
    let mut events = Events::at(&server, path, Some(2)).await;
    assert_eq!(events.next().await.data["reason"], "Resumed");
    server.remove("demo").await;
    // A watcher that is late sees the removal only.
    loop {
        let event = events.next().await;
        if event.kind == "deleted" {
            break assert_eq!(event.name, "demo");
        }
        assert_eq!(event.data["reason"], "Deleting");
    }
    assert!(events.ends().await);
    server.stop().await;
}

#[tokio::test]
async fn a_reader_that_does_not_read_is_dropped() {
    let server = Server::start_as(|app| app.with_longest_stall(Duration::from_secs(1))).await;
    for name in ["a", "b", "c", "d"] {
        let mut body = experiment(name);
        body["metadata"]["annotations"] = json!({"why": "x".repeat(60_000)});
        server.post(body).await;
    }
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stalled = socket.connect(server.address()).await.unwrap();
    let request = format!("GET /experiments?watch=true HTTP/1.1\r\nHost: em\r\nAuthorization: Bearer {}\r\n\r\n", server.admin);
    stalled.write_all(request.as_bytes()).await.unwrap();
    // The one beside it reads, and stays.
    let mut reader = Events::open(&server, "", None).await;
    let reader = async move { while reader.next().await.data["metadata"]["labels"]["round"] != "last" {} };
    let reader = tokio::spawn(reader);
    wait_for_streams(&server, 2).await;
    let (mut round, begin) = (0, Instant::now());
    while streams(&server).await == 2 {
        assert!(begin.elapsed() < Duration::from_secs(90), "it still holds its seat");
        round += 1;
        for name in ["a", "b", "c", "d"] {
            label(&server, name, &round.to_string()).await;
        }
    }
    assert_eq!(streams(&server).await, 1);
    label(&server, "a", "last").await;
    reader.await.unwrap();
    drop(stalled);
    server.stop().await;
}

async fn streams(server: &Server) -> i64 {
    let metrics = server.metrics().await;
    let line = metrics.lines().find_map(|line| line.strip_prefix("em_watch_streams ")).unwrap().to_owned();
    line.parse().unwrap()
}

async fn wait_for_streams(server: &Server, count: i64) {
    let begin = Instant::now();
    while streams(server).await != count {
        assert!(begin.elapsed() < Duration::from_secs(30), "{count} streams are open");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Prints how long a record of an agent takes to a watcher: from before the agent's request to the event's arrival.
#[tokio::test]
async fn a_record_reaches_watchers_at_once() {
    let server = Server::start().await;
    let job = server.submitted("demo").await;
    job.claimed().await;
    let mut events = Events::open(&server, "", None).await;
    events.next().await;
    let mut took = Vec::new();
    for seq in 1..=20 {
        // Alone: a burst is told together.
        while !events.is_quiet_for(Duration::from_millis(120)).await {}
        let body = RecordBody::Log { stream: "agent".to_owned(), trial: None, backend: None, line: format!("line {seq}") };
        let batch = RecordBatch { epoch: 0, records: vec![Record { seq, at: now(), body }] };
        let begin = Instant::now();
        let (posted, event) = tokio::join!(job.agent.post_records(job.attempt, &batch), events.next());
        posted.unwrap();
        assert_eq!(event.name, "demo");
        took.push(begin.elapsed());
    }
    took.sort_unstable();
    println!("agent record to watcher: median {:?}, slowest {:?} of {}", took[took.len() / 2], took[took.len() - 1], took.len());
    server.stop().await;
}
