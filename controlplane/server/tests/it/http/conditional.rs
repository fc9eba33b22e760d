//! ETags, conditions, `HEAD`, and what a request may leave out.

use reqwest::{Method, Response, StatusCode};
use serde_json::json;

use super::server::{Server, experiment, problem};

async fn etag(server: &Server) -> String {
    server.get("/experiments/demo").await.headers()["etag"].to_str().unwrap().to_owned()
}

async fn patch(server: &Server, if_match: &[&str], retries: u32) -> Response {
    let mut request = server.ask(Method::PATCH, "/experiments/demo").json(&json!({"spec": {"retries": retries}}));
    for line in if_match {
        request = request.header("if-match", *line);
    }
    request.send().await.unwrap()
}

#[tokio::test]
async fn a_write_holds_under_any_of_the_versions_it_names() {
    let server = Server::start().await;
    server.post(experiment("demo")).await;
    for (retries, form) in [(3, "TAG"), (4, "\"0\", TAG"), (5, "W/\"9\",TAG,"), (6, "*"), (7, " TAG ")] {
        let line = form.replace("TAG", &etag(&server).await);
        assert_eq!(patch(&server, &[&line], retries).await.status(), StatusCode::OK, "{form}");
    }
    let tag = etag(&server).await;
    assert_eq!(patch(&server, &["\"0\"", &tag], 8).await.status(), StatusCode::OK, "two lines are one list");
    let tag = etag(&server).await;
    for form in [format!("W/{tag}"), "\"0\"".to_owned(), tag.replacen('"', "\"0", 1)] {
        let refused = problem(patch(&server, &[&form], 9).await, StatusCode::PRECONDITION_FAILED).await;
        assert_eq!(refused.code, "precondition_failed", "{form}");
    }
    assert_eq!(server.store.stored("demo").await.unwrap().spec.retries, 8);
    let other = server.ask(Method::PATCH, "/experiments/none").header("if-match", "*").json(&json!({})).send();
    problem(other.await.unwrap(), StatusCode::NOT_FOUND).await;
    server.stop().await;
}

#[tokio::test]
async fn of_many_writes_under_one_version_one_holds() {
    let server = Server::start().await;
    server.post(experiment("demo")).await;
    let tag = etag(&server).await;
    let lines = [tag.as_str()];
    let patches = futures_util::future::join_all((10..20).map(|retries| patch(&server, &lines, retries))).await;
    let held = patches.iter().filter(|response| response.status() == StatusCode::OK).count();
    let stale = patches.iter().filter(|response| response.status() == StatusCode::PRECONDITION_FAILED).count();
    assert_eq!((held, stale), (1, 9));

    let tag = etag(&server).await;
    let delete = || server.ask(Method::DELETE, "/experiments/demo").header("if-match", &tag).send();
    let deletes = futures_util::future::join_all((0..4).map(|_| delete())).await;
    let held = deletes.into_iter().filter(|response| response.as_ref().unwrap().status() == StatusCode::ACCEPTED).count();
    assert_eq!(held, 1);
    server.stop().await;
}

#[tokio::test]
async fn what_the_caller_has_is_not_sent_again() {
    let server = Server::start().await;
    server.post(experiment("demo")).await;
    let tag = etag(&server).await;
    let read = |line: &str| server.ask(Method::GET, "/experiments/demo").header("if-none-match", line).send();
    for line in [tag.clone(), format!("W/{tag}"), format!("\"x\", {tag}"), "*".to_owned()] {
        let response = read(&line).await.unwrap();
        assert_eq!((response.status(), &response.headers()["etag"]), (StatusCode::NOT_MODIFIED, &tag.parse().unwrap()), "{line}");
        assert_eq!(response.text().await.unwrap(), "");
    }
    patch(&server, &[], 9).await;
    let response = read(&tag).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_ne!(response.headers()["etag"], tag.as_str());
    server.stop().await;
}

#[tokio::test]
async fn head_tells_what_get_would() {
    let server = Server::start().await;
    server.post(experiment("demo")).await;
    for path in [
        "/experiments",
        "/experiments/demo",
        "/experiments/demo/trials",
        "/experiments/demo/events",
        "/experiments/demo/script",
        "/experiments/demo/results",
        "/experiments/demo/report.txt",
        "/experiments/none",
        "/healthz",
        "/ui/",
        "/metrics",
        "/prometheus/targets",
        "/nothing",
    ] {
        let (get, head) = (server.get(path).await, server.ask(Method::HEAD, path).send().await.unwrap());
        assert_eq!(head.status(), get.status(), "{path}");
        for name in ["content-type", "etag", "content-length"] {
            // The page of numbers grows with each request.
            if !(path == "/metrics" && name == "content-length") {
                assert_eq!(head.headers().get(name), get.headers().get(name), "{path} {name}");
            }
        }
        assert_eq!(head.bytes().await.unwrap().len(), 0, "{path}");
    }
    // A stream is not begun.
    for path in ["/experiments?watch=true", "/experiments/demo/events?watch=true", "/experiments/demo/logs?follow=true"] {
        assert_eq!(server.ask(Method::HEAD, path).send().await.unwrap().status(), StatusCode::OK, "{path}");
    }
    assert!(server.metrics().await.contains("em_watch_streams 0\n"), "no seat is held");
    // What reading would take away stays.
    let refused = server.bare(Method::HEAD, "/sessions/redeem?code=x").send().await.unwrap();
    assert_eq!((refused.status(), &refused.headers()["allow"]), (StatusCode::METHOD_NOT_ALLOWED, &"GET".parse().unwrap()));
    server.stop().await;
}

#[tokio::test]
async fn json_comes_whatever_is_asked_for() {
    let server = Server::start().await;
    server.post(experiment("demo")).await;
    for accept in ["text/html", "application/xml;q=1, */*;q=0", "application/vnd.nobody+cbor", "\u{1f600}", ";;;"] {
        let response = server.ask(Method::GET, "/experiments/demo").header("accept", accept).send().await.unwrap();
        assert_eq!(
            (response.status(), &response.headers()["content-type"]),
            (StatusCode::OK, &"application/json".parse().unwrap())
        );
    }
    let body = serde_json::to_vec(&experiment("other")).unwrap();
    let untyped = server.ask(Method::POST, "/experiments").body(body).send().await.unwrap();
    assert_eq!(untyped.status(), StatusCode::CREATED, "a body without a type is JSON");
    server.stop().await;
}
