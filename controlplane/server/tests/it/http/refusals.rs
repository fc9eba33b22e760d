//! Every refusal is problem+json with a code, whoever refuses: a handler, an extractor, or the framework.

use reqwest::{Method, StatusCode};

use super::server::{Server, experiment, problem};

#[tokio::test]
async fn an_address_that_is_not_there_is_404() {
    let server = Server::start().await;
    server.post(experiment("demo")).await;
    for path in [
        "/nothing",
        "/experiments/unknown",
        "/experiments/unknown/results",
        "/experiments/demo/nothing",
        "/experiments/demo/report.exe",
        "/experiments/demo/plots/nothing.png",
        "/experiments/demo/plots/throughput_comparison.gif",
        "/experiments/..%2f..%2fetc%2fpasswd",
        "/ui/assets/nothing.js",
        "/ui/..%2f..%2fCargo.toml",
        "/prometheus/agents/01ARZ3NDEKTSV4RRFFQ69G5FAV",
        "/prometheus/agents/not-an-id",
    ] {
        assert_eq!(problem(server.get(path).await, StatusCode::NOT_FOUND).await.code, "not_found", "{path}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_method_that_is_not_taken_is_405_with_those_that_are() {
    let server = Server::start().await;
    server.post(experiment("demo")).await;
    for (method, path, allowed) in [
        (Method::PUT, "/experiments", "POST"),
        (Method::POST, "/experiments/demo", "PATCH"),
        (Method::DELETE, "/experiments/demo/results", "GET"),
        (Method::POST, "/metrics", "GET"),
        (Method::POST, "/healthz", "GET"),
    ] {
        let response = server.ask(method.clone(), path).send().await.unwrap();
        let allow = response.headers().get("allow").map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default();
        assert!(allow.contains(allowed), "{method} {path}: Allow: {allow}");
        assert_eq!(problem(response, StatusCode::METHOD_NOT_ALLOWED).await.code, "method_not_allowed");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_body_that_cannot_be_read_is_refused_with_the_reason() {
    let server = Server::start().await;
    server.post(experiment("demo")).await;
    let twice = "metadata: {name: a}\nmetadata: {name: b}";
    for (kind, body, status, code) in [
        ("application/json", b"{\"spec\": ".as_slice(), 400, "malformed_body"),
        ("application/json", b"", 400, "malformed_body"),
        ("application/json", b"{\"spec\": \"\xff\xfe\"}", 400, "malformed_body"),
        ("application/yaml", b"spec: [1, 2", 400, "malformed_body"),
        ("application/yaml", b"spec: \xff\xfe", 400, "malformed_body"),
        ("application/yaml", twice.as_bytes(), 400, "malformed_body"),
        ("application/xml", b"<spec/>", 415, "unsupported_media_type"),
        ("application/x-www-form-urlencoded", b"spec=1", 415, "unsupported_media_type"),
    ] {
        for (method, path) in [(Method::POST, "/experiments"), (Method::PATCH, "/experiments/demo")] {
            let request = server.ask(method.clone(), path).header("content-type", kind).body(body.to_vec());
            let refused = problem(request.send().await.unwrap(), StatusCode::from_u16(status).unwrap()).await;
            assert_eq!(refused.code, code, "{method} {kind} {}", String::from_utf8_lossy(body));
        }
    }
    for body in ["7", "null", "[]", "\"text\""] {
        let request = server.ask(Method::POST, "/experiments").header("content-type", "application/json").body(body);
        problem(request.send().await.unwrap(), StatusCode::UNPROCESSABLE_ENTITY).await;
    }
    server.stop().await;
}

#[tokio::test]
async fn an_alias_bomb_and_deep_nesting_are_refused_quickly() {
    let server = Server::start().await;
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let before = vec![format!("*a{}", level - 1); 9].join(", ");
        bomb.push_str(&format!("a{level}: &a{level} [{before}]\n"));
    }
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    for (kind, body) in [("application/yaml", &bomb), ("application/yaml", &deep), ("application/json", &deep)] {
        let begin = std::time::Instant::now();
        let request = server.ask(Method::POST, "/experiments").header("content-type", kind).body(body.clone());
        problem(request.send().await.unwrap(), StatusCode::BAD_REQUEST).await;
        // Unbounded, the bomb would take hours; a busy machine takes seconds.
        assert!(begin.elapsed().as_secs() < 20, "{kind} took {:?}", begin.elapsed());
    }
    server.stop().await;
}

#[tokio::test]
async fn a_body_that_is_too_large_is_413() {
    let server = Server::start().await;
    let job = server.submitted("demo").await;
    let blank = |bytes: usize| " ".repeat(bytes);
    let request = server.ask(Method::POST, "/experiments").header("content-type", "application/json").body(blank(2 << 20));
    assert_eq!(problem(request.send().await.unwrap(), StatusCode::PAYLOAD_TOO_LARGE).await.code, "too_large");
    let records = format!("/agent/attempts/{}/records", job.attempt);
    let measurement = format!("/agent/attempts/{}/trials/{}/measurement", job.attempt, job.rows[0].id);
    for (method, path, bytes) in [(Method::POST, records, 5 << 20), (Method::PUT, measurement, 9 << 20)] {
        let request = server.bare(method, &path).bearer_auth(&job.token).header("content-type", "application/json");
        let response = request.body(blank(bytes)).send().await.unwrap();
        assert_eq!(problem(response, StatusCode::PAYLOAD_TOO_LARGE).await.code, "too_large", "{path}");
    }
    server.stop().await;
}

#[tokio::test]
async fn agents_learn_what_is_wrong_with_their_bodies() {
    let server = Server::start().await;
    let job = server.submitted("demo").await;
    let path = format!("/agent/attempts/{}/claim", job.attempt);
    for (kind, body, status) in [
        ("application/json", "{", 400),
        ("application/json", "{}", 422),
        ("application/json", "{\"attempt\": \"x\"}", 422),
        ("text/plain", "{}", 415),
    ] {
        let request = server.bare(Method::POST, &path).bearer_auth(&job.token).header("content-type", kind).body(body);
        problem(request.send().await.unwrap(), StatusCode::from_u16(status).unwrap()).await;
    }
    server.stop().await;
}

#[tokio::test]
async fn a_query_that_is_not_understood_is_400() {
    let server = Server::start().await;
    server.post(experiment("demo")).await;
    for path in [
        "/experiments?limit=0",
        "/experiments?limit=many",
        "/experiments?limit=100000",
        "/experiments?labelSelector=a%20b",
        "/experiments?watch=perhaps",
        "/experiments/demo/logs?after=-1",
    ] {
        problem(server.get(path).await, StatusCode::BAD_REQUEST).await;
    }
    server.stop().await;
}
