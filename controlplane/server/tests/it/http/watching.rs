//! `GET /experiments?watch=true`.

use std::time::Duration;

use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::server::{Server, experiment, problem};

pub(super) struct Events {
    response: Response,
    text: String,
}

#[derive(Debug)]
pub(super) struct Event {
    pub(super) id: i64,
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) data: Value,
}

impl Events {
    pub(super) async fn open(server: &Server, query: &str, last: Option<i64>) -> Self {
        Self::at(server, &format!("/experiments?watch=true{query}"), last).await
    }

    pub(super) async fn at(server: &Server, path: &str, last: Option<i64>) -> Self {
        let mut request = server.ask(Method::GET, path);
        if let Some(last) = last {
            request = request.header("last-event-id", last.to_string());
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { response, text: String::new() }
    }

    pub(super) async fn next(&mut self) -> Event {
        timeout(Duration::from_secs(10), self.read()).await.expect("news come within seconds")
    }

    pub(super) async fn is_quiet(&mut self) -> bool {
        self.is_quiet_for(Duration::from_millis(700)).await
    }

    pub(super) async fn is_quiet_for(&mut self, time: Duration) -> bool {
        timeout(time, self.read()).await.is_err()
    }

    /// In good order, with nothing more to tell.
    pub(super) async fn ends(&mut self) -> bool {
        let end = timeout(Duration::from_secs(10), self.response.chunk()).await.expect("it ends within seconds");
        self.text.is_empty() && end.unwrap().is_none()
    }

    async fn read(&mut self) -> Event {
        loop {
            while let Some(end) = self.text.find("\n\n") {
                let block: String = self.text.drain(..end + 2).collect();
                if let Some(event) = event(&block) {
                    return event;
                }
            }
            let chunk = self.response.chunk().await.unwrap().expect("the stream stays open");
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }
}

fn event(block: &str) -> Option<Event> {
    let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    let data: Value = serde_json::from_str(field("data")?).unwrap();
    let name = data["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    // Without an id of its own it belongs to the one before.
    Some(Event { id: field("id").map_or(0, |id| id.parse().unwrap()), kind: field("event")?.to_owned(), name, data })
}

pub(super) async fn label(server: &Server, name: &str, value: &str) {
    let body = json!({"metadata": {"labels": {"round": value}}});
    let response = server.ask(Method::PATCH, &format!("/experiments/{name}")).json(&body).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_watch_shows_what_is_there_and_then_each_change() {
    let server = Server::start().await;
    server.post(experiment("first")).await;
    let mut events = Events::open(&server, "", None).await;
    let first = events.next().await;
    assert_eq!((first.kind.as_str(), first.name.as_str()), ("added", "first"));
    assert_eq!(first.data["spec"]["retries"], 2, "whole experiments");
    assert!(events.is_quiet().await);
    server.post(experiment("second")).await;
    let second = events.next().await;
    assert_eq!((second.kind.as_str(), second.name.as_str()), ("added", "second"));
    label(&server, "first", "1").await;
    let changed = events.next().await;
    assert_eq!((changed.kind.as_str(), changed.name.as_str()), ("modified", "first"));
    assert_eq!(changed.data["metadata"]["labels"]["round"], "1");
    assert!(first.id < second.id && second.id < changed.id, "ids grow: {} {} {}", first.id, second.id, changed.id);

    server.client(&server.admin).delete_experiment("second").await.unwrap();
    assert_eq!(events.next().await.kind, "modified");
    let stored = server.store.stored("second").await.unwrap();
    server.store.remove_experiment(stored.uid, stored.revision).await.unwrap();
    let gone = events.next().await;
    assert_eq!((gone.kind.as_str(), gone.name.as_str()), ("deleted", "second"));
    server.stop().await;
}

#[tokio::test]
async fn a_watcher_that_comes_back_misses_nothing() {
    let server = Server::start().await;
    for name in ["a", "b", "c", "d"] {
        server.post(experiment(name)).await;
    }
    let mut events = Events::open(&server, "", None).await;
    let mut last = 0;
    for _ in 0..4 {
        last = events.next().await.id;
    }
    drop(events);

    // The very first change behind the last seen one is the one that an off-by-one would lose.
    label(&server, "c", "1").await;
    label(&server, "a", "1").await;
    label(&server, "a", "2").await;
    server.post(experiment("e")).await;
    server.client(&server.admin).delete_experiment("d").await.unwrap();
    let stored = server.store.stored("d").await.unwrap();
    server.store.remove_experiment(stored.uid, stored.revision).await.unwrap();

    let mut events = Events::open(&server, "", Some(last)).await;
    let mut seen = Vec::new();
    for _ in 0..4 {
        let event = events.next().await;
        assert!(event.id > last, "oldest change first");
        last = event.id;
        if event.name == "a" {
            assert_eq!(event.data["metadata"]["labels"]["round"], "2", "in its latest state");
        }
        seen.push(format!("{} {}", event.kind, event.name));
    }
    assert_eq!(seen, ["modified c", "modified a", "added e", "deleted d"]);
    assert!(events.is_quiet().await, "nothing twice");
    drop(events);
    assert!(Events::open(&server, "", Some(last)).await.is_quiet().await, "who has seen everything is told nothing");
    server.stop().await;
}

#[tokio::test]
async fn more_changes_than_a_page_arrive_whole() {
    let server = Server::start().await;
    let names: Vec<String> = (0..120).map(|number| format!("n{number:03}")).collect();
    for name in &names {
        server.post(experiment(name)).await;
    }
    let mut events = Events::open(&server, "", None).await;
    let mut seen = Vec::new();
    for _ in &names {
        seen.push(events.next().await.name);
    }
    assert_eq!(seen, names);
    server.stop().await;
}

#[tokio::test]
async fn a_selector_hides_other_experiments() {
    let server = Server::start().await;
    let mut events = Events::open(&server, "&labelSelector=team%3Dads", None).await;
    server.post(experiment("search")).await;
    let mut ads = experiment("ads");
    ads["metadata"]["labels"] = json!({"team": "ads"});
    server.post(ads).await;
    assert_eq!(events.next().await.name, "ads");
    server.stop().await;
}

#[tokio::test]
async fn an_id_of_another_database_starts_anew() {
    let server = Server::start().await;
    server.post(experiment("demo")).await;
    let watch = |id: &str| server.ask(Method::GET, "/experiments?watch=true").header("last-event-id", id).send();
    problem(watch("999999").await.unwrap(), StatusCode::GONE).await;
    problem(watch("yesterday").await.unwrap(), StatusCode::BAD_REQUEST).await;
    server.stop().await;
}
