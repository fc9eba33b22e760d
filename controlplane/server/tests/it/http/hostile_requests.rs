//! Addresses, queries and headers that nobody should send: each is refused with a stable code, nothing is stored, and the server
//! goes on.

use em_controlplane::store::access::Role;
use reqwest::Method;
use serde_json::{Value, json};

use super::raw::exchange;
use super::server::{Server, experiment};

/// Names in an address that lead to no experiment.
const NAMES: [&[u8]; 20] = [
    b"unknown",
    b"DEMO",
    b"demo_",
    b"demo%00",
    b"demo%0a",
    b"%ff",
    b"%c0%ae%c0%ae",
    b"%",
    b"%zz",
    b"..",
    b".%2e",
    b"..%2f..%2fetc%2fpasswd",
    b"..%5c..%5cwindows",
    b"demo%2ftrials%2f..",
    b"demo'%20OR%20'1'='1",
    b"demo;DROP%20TABLE%20experiments",
    b"demo%20",
    b"*",
    b"\xff\xfe",
    b"01ARZ3NDEKTSV4RRFFQ69G5FAV",
];

#[tokio::test]
async fn a_name_that_is_none_is_404_everywhere_below_it() {
    let server = Server::start().await;
    server.post(experiment("demo")).await;
    let before = server.all_rows().await;
    let mut wrong = Vec::new();
    for name in NAMES {
        for rest in [
            "",
            "/trials",
            "/jobs",
            "/events",
            "/events?watch=true",
            "/logs",
            "/script",
            "/results",
            "/report.html",
            "/plots/a.svg",
        ] {
            let path = [b"/experiments/", name, rest.as_bytes()].concat();
            let shown = String::from_utf8_lossy(&path).into_owned();
            match server.raw("GET", &path, &[], b"").await {
                // Not even an address: refused before anybody looks at it.
                Some(reply) if reply.status == 400 && name.iter().any(|byte| *byte >= 0x80) => {}
                Some(reply) => {
                    wrong.extend(reply.differs_from(404, "not_found").map(|difference| format!("{shown}: {difference}")))
                }
                None => wrong.push(format!("{shown}: no answer")),
            }
        }
        let path = [b"/experiments/", name].concat();
        for (method, body) in [("PATCH", b"{}".as_slice()), ("DELETE", b"")] {
            let length = body.len().to_string();
            let reply = server.raw(method, &path, &[("Content-Length", length.as_bytes())], body).await.expect("an answer");
            let is_bare = reply.status == 400 && name.iter().any(|byte| *byte >= 0x80);
            let shown = String::from_utf8_lossy(&path).into_owned();
            wrong.extend(
                reply
                    .differs_from(404, "not_found")
                    .filter(|_| !is_bare)
                    .map(|difference| format!("{method} {shown}: {difference}")),
            );
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(server.all_rows().await, before);
    server.stop().await;
}

#[tokio::test]
async fn a_query_that_means_nothing_is_400_with_its_code() {
    let server = Server::start().await;
    server.post(experiment("demo")).await;
    let before = server.all_rows().await;
    let mut wrong = Vec::new();
    for (path, code) in [
        ("/experiments?limit=0", "invalid_query"),
        ("/experiments?limit=-1", "invalid_query"),
        ("/experiments?limit=501", "invalid_query"),
        ("/experiments?limit=1e9", "invalid_query"),
        ("/experiments?limit=99999999999999999999", "invalid_query"),
        ("/experiments?limit=NaN", "invalid_query"),
        ("/experiments?limit=", "invalid_query"),
        ("/experiments?limit=1&limit=2", "invalid_query"),
        ("/experiments?limmit=1", "invalid_query"),
        ("/experiments?watch=perhaps", "invalid_query"),
        ("/experiments?watch=1", "invalid_query"),
        ("/experiments?continue=demo", "invalid_cursor"),
        ("/experiments?continue=%00", "invalid_cursor"),
        ("/experiments?continue=..%2f", "invalid_cursor"),
        ("/experiments?continue=djE6Li4v", "invalid_cursor"),
        ("/experiments?continue=djE6J09SIDE9MQ", "invalid_cursor"),
        ("/experiments?continue=djk6ZGVtbw", "invalid_cursor"),
        ("/experiments?continue=%ff", "invalid_cursor"),
        ("/experiments?labelSelector=%3Dx", "invalid_selector"),
        ("/experiments?labelSelector=a%20b", "invalid_selector"),
        ("/experiments?labelSelector=a%3D%3D%3Db", "invalid_selector"),
        ("/experiments?labelSelector=!", "invalid_selector"),
        ("/experiments?labelSelector=a,,b", "invalid_selector"),
        ("/experiments?labelSelector=,", "invalid_selector"),
        ("/experiments?labelSelector=a%20in%20(b", "invalid_selector"),
        ("/experiments?labelSelector=a%20in%20()", "invalid_selector"),
        ("/experiments?labelSelector=a%20notin%20b", "invalid_selector"),
        ("/experiments?labelSelector=a%20In%20(b)", "invalid_selector"),
        ("/experiments?labelSelector=a%3D%00", "invalid_selector"),
        ("/experiments?labelSelector=a%3D'%3B%20DROP%20TABLE%20experiments", "invalid_selector"),
        ("/experiments?labelSelector=%ff", "invalid_selector"),
        ("/experiments?watch=true&labelSelector=%3Dx", "invalid_selector"),
        ("/experiments?fieldSelector=spec.retries%3D1", "invalid_selector"),
        ("/experiments?fieldSelector=metadata.name", "invalid_selector"),
        ("/experiments?fieldSelector=metadata.name%20in%20(a)", "invalid_selector"),
        ("/experiments?fieldSelector=!metadata.name", "invalid_selector"),
        ("/experiments?fieldSelector=status.phase%3Drunning", "invalid_selector"),
        ("/experiments?fieldSelector=metadata.name%3Da%00", "invalid_selector"),
        ("/experiments?fieldSelector==", "invalid_selector"),
        ("/experiments?watch=true&fieldSelector=x%3Dy", "invalid_selector"),
        ("/experiments/demo/logs?after=-1", "invalid_query"),
        ("/experiments/demo/logs?after=1e3", "invalid_query"),
        ("/experiments/demo/logs?follow=yes", "invalid_query"),
        ("/experiments/demo/logs?folow=true", "invalid_query"),
        ("/experiments/demo/events?watch=yes", "invalid_query"),
        ("/experiments/demo/events?wach=true", "invalid_query"),
    ] {
        let reply = server.raw("GET", path.as_bytes(), &[], b"").await.expect("an answer");
        wrong.extend(reply.differs_from(400, code).map(|difference| format!("{path}: {difference}")));
    }
    for (path, told) in [
        ("/experiments?limit=-1", "limit is a whole number, not `-1`"),
        ("/experiments/demo/events?watch=yes", "watch is true or false, not `yes`"),
    ] {
        let problem: Value = server.get(path).await.json().await.unwrap();
        assert_eq!(problem["detail"], told, "{path}");
    }
    let body = serde_json::to_vec(&experiment("other")).unwrap();
    for query in [
        "dryRun=perhaps",
        "dryrun=true",
        "dryRun=true&dryRun=false",
        "dryRun=1",
        "standalone=/tmp/run",
        "dryRun=true&standalone=run",
    ] {
        let length = body.len().to_string();
        let path = format!("/experiments?{query}");
        let reply = server.raw("POST", path.as_bytes(), &[("Content-Length", length.as_bytes())], &body).await.expect("an answer");
        wrong.extend(reply.differs_from(400, "invalid_query").map(|difference| format!("{path}: {difference}")));
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(server.all_rows().await, before);
    server.stop().await;
}

#[tokio::test]
async fn a_header_that_means_nothing_is_refused_with_its_code() {
    let server = Server::start().await;
    server.post(experiment("demo")).await;
    let before = server.all_rows().await;
    let (post, patch) = (serde_json::to_vec(&experiment("other")).unwrap(), br#"{"spec":{"retries":9}}"#.to_vec());
    let (long, wide) = (vec![b'k'; 256], vec![b'x'; 40 * 1024]);
    let mut wrong = Vec::new();
    for (method, path, name, value, status, code) in [
        ("PATCH", "/experiments/demo", "If-Match", b"1".as_slice(), 400, "invalid_header"),
        ("PATCH", "/experiments/demo", "If-Match", b"", 400, "invalid_header"),
        ("PATCH", "/experiments/demo", "If-Match", b"\"1", 400, "invalid_header"),
        ("PATCH", "/experiments/demo", "If-Match", b"\"1\" \"2\"", 400, "invalid_header"),
        ("PATCH", "/experiments/demo", "If-Match", b"w/\"1\"", 400, "invalid_header"),
        ("PATCH", "/experiments/demo", "If-Match", b"*, \"1\"", 400, "invalid_header"),
        ("PATCH", "/experiments/demo", "If-Match", b"\"\xff\xfe\" x", 400, "invalid_header"),
        ("PATCH", "/experiments/demo", "If-Match", b"\"99999999999999999999999\"", 412, "precondition_failed"),
        ("PATCH", "/experiments/demo", "If-Match", b"\"-1\"", 412, "precondition_failed"),
        ("PATCH", "/experiments/demo", "If-Match", b"\"' OR 1=1\"", 400, "invalid_header"),
        ("PATCH", "/experiments/demo", "If-Match", b"W/\"1\"", 412, "precondition_failed"),
        ("DELETE", "/experiments/demo", "If-Match", b"yesterday", 400, "invalid_header"),
        ("DELETE", "/experiments/demo", "If-Match", b"\"0\", \"77\"", 412, "precondition_failed"),
        ("GET", "/experiments/demo", "If-None-Match", b"1", 400, "invalid_header"),
        ("GET", "/experiments?watch=true", "Last-Event-ID", b"yesterday", 400, "invalid_header"),
        ("GET", "/experiments?watch=true", "Last-Event-ID", b"-1", 400, "invalid_header"),
        ("GET", "/experiments?watch=true", "Last-Event-ID", b"", 400, "invalid_header"),
        ("GET", "/experiments?watch=true", "Last-Event-ID", b"1; DROP", 400, "invalid_header"),
        ("GET", "/experiments?watch=true", "Last-Event-ID", b"\xff", 400, "invalid_header"),
        ("GET", "/experiments?watch=true", "Last-Event-ID", b"99999999999999999999", 400, "invalid_header"),
        ("GET", "/experiments?watch=true", "Last-Event-ID", b"999999999", 410, "expired"),
        ("GET", "/experiments/demo/events?watch=true", "Last-Event-ID", b"x", 400, "invalid_header"),
        ("GET", "/experiments/demo/events?watch=true", "Last-Event-ID", b"999999999", 410, "expired"),
        ("POST", "/experiments", "Idempotency-Key", b"", 400, "invalid_header"),
        ("POST", "/experiments", "Idempotency-Key", &long, 400, "invalid_header"),
        ("POST", "/experiments", "Idempotency-Key", b"a b", 400, "invalid_header"),
        ("POST", "/experiments", "Idempotency-Key", b"a\tb", 400, "invalid_header"),
        ("POST", "/experiments", "Idempotency-Key", "schlüssel".as_bytes(), 400, "invalid_header"),
        ("POST", "/experiments", "Idempotency-Key", b"a\r\nIdempotency-Key: b", 400, "invalid_header"),
        ("POST", "/experiments", "Content-Type", b"\xff\xfe", 415, "unsupported_media_type"),
        ("POST", "/experiments", "Content-Encoding", b"compress", 415, "unsupported_encoding"),
        ("POST", "/experiments", "Content-Encoding", b"\xff", 415, "unsupported_encoding"),
        ("GET", "/experiments", "X-Wide", &wide, 431, "headers_too_large"),
        ("POST", "/experiments", "X-Wide", &wide, 431, "headers_too_large"),
        ("BREW", "/experiments", "X-Pot", b"tea", 405, "method_not_allowed"),
        ("TRACE", "/experiments/demo", "X-Method", b"1", 405, "method_not_allowed"),
        ("POST", "/import", "Content-Type", b"text/plain", 415, "unsupported_media_type"),
    ] {
        let body: &[u8] = match method {
            "POST" => &post,
            "PATCH" => &patch,
            _ => b"",
        };
        let length = body.len().to_string();
        let reply = server.raw(method, path.as_bytes(), &[(name, value), ("Content-Length", length.as_bytes())], body).await;
        let shown = format!("{method} {path} {name}: {}", String::from_utf8_lossy(&value[..value.len().min(60)]));
        match reply {
            Some(reply) => {
                wrong.extend(reply.differs_from(status, code).map(|difference| format!("{shown}: {difference}")));
                if status == 405 && !reply.headers.get("allow").is_some_and(|allow| allow.contains("GET") && allow.contains("HEAD"))
                {
                    wrong.push(format!("{shown}: Allow: {:?}", reply.headers.get("allow")));
                }
            }
            None => wrong.push(format!("{shown}: no answer")),
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(server.all_rows().await, before);
    server.stop().await;
}

#[tokio::test]
async fn a_very_long_address_is_414() {
    let server = Server::start().await;
    for path in [format!("/experiments/{}", "a".repeat(9_000)), format!("/experiments?labelSelector={}", "a,".repeat(20_000))] {
        let reply = server.raw("GET", path.as_bytes(), &[], b"").await.expect("an answer");
        assert_eq!(reply.differs_from(414, "uri_too_long"), None);
    }
    server.stop().await;
}

#[tokio::test]
async fn credentials_that_are_none_are_401() {
    let server = Server::start().await;
    let viewer = server.token(Role::Viewer).await;
    for authorization in [
        b"".as_slice(),
        b"Bearer",
        b"Bearer ",
        b"Bearer em_0000",
        b"Bearer ' OR '1'='1",
        b"Bearer \xff\xfe",
        b"Basic YWRtaW46YWRtaW4=",
        format!("Bearer {viewer}x").as_bytes(),
        format!("Basic {viewer}").as_bytes(),
    ] {
        let request =
            [b"GET /experiments HTTP/1.1\r\nHost: em\r\nConnection: close\r\nAuthorization: ", authorization, b"\r\n\r\n"].concat();
        let reply = exchange(server.address(), request).await.expect("an answer");
        assert_eq!(reply.differs_from(401, "unauthorized"), None, "{}", String::from_utf8_lossy(authorization));
    }
    server.stop().await;
}

#[tokio::test]
async fn agents_bodies_that_mean_nothing_are_refused_and_leave_nothing() {
    let server = Server::start().await;
    let job = server.submitted("demo").await;
    job.claimed().await;
    let before = server.all_rows().await;
    let path = |rest: &str| format!("/agent/attempts/{}/{rest}", job.attempt);
    let claim = serde_json::to_value(job.claim_request(0, "first")).unwrap();
    let with = |field: &str, value: serde_json::Value| {
        let mut claim = claim.clone();
        claim[field] = value;
        claim.to_string().into_bytes()
    };
    let measurement = serde_json::to_value(job.measurement(&job.rows[0])).unwrap();
    let mut foreign = measurement.clone();
    foreign["trial"] = json!("01ARZ3NDEKTSV4RRFFQ69G5FAV");
    let put = format!("trials/{}/measurement", job.rows[0].id);
    let nested = [vec![b'['; 10_000], vec![b']'; 10_000]].concat();
    let mut wrong = Vec::new();
    for (method, rest, body, status, code) in [
        ("POST", "claim", with("node", json!("a\u{0}b")), 422, "invalid_body"),
        ("POST", "claim", with("node", json!("n".repeat(5_000))), 422, "invalid_body"),
        ("POST", "claim", with("boot_nonce", json!("\u{1b}[2J")), 422, "invalid_body"),
        ("POST", "claim", with("restart_count", json!(-1)), 422, "invalid_body"),
        ("POST", "claim", with("restart_count", json!(u64::MAX)), 422, "invalid_body"),
        ("POST", "claim", with("attempt", json!("01ARZ3NDEKTSV4RRFFQ69G5FAV")), 422, "invalid_body"),
        ("POST", "claim", with("attempt", json!("'; DROP")), 422, "invalid_body"),
        ("POST", "claim", b"\xff".to_vec(), 400, "malformed_body"),
        ("POST", "records", b"{\"epoch\": 0, \"records\": [{\"seq\": -1}]}".to_vec(), 422, "invalid_body"),
        ("POST", "records", b"{\"epoch\": 1e99, \"records\": []}".to_vec(), 422, "invalid_body"),
        ("POST", "records", b"{\"epoch\": 9, \"records\": []}".to_vec(), 409, "fenced"),
        ("POST", "records", nested, 422, "invalid_body"),
        ("PUT", &put, b"{\"trial\": NaN}".to_vec(), 400, "malformed_body"),
        ("PUT", &put, b"[]".to_vec(), 422, "invalid_body"),
        ("PUT", &put, foreign.to_string().into_bytes(), 422, "invalid_body"),
        ("PUT", "trials/not-an-id/measurement", measurement.to_string().into_bytes(), 404, "not_found"),
    ] {
        let request = server.bare(method.parse::<Method>().unwrap(), &path(rest)).bearer_auth(&job.token);
        let response = request.header("content-type", "application/json").body(body).send().await.unwrap();
        let (found, text) = (response.status().as_u16(), response.text().await.unwrap());
        if found != status || !text.contains(&format!("\"code\":\"{code}\"")) {
            wrong.push(format!("{method} {rest}: expected {status} {code}: {found} {text}"));
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(server.all_rows().await, before);
    server.stop().await;
}

/// What is not HTTP never reaches us: the HTTP library answers, without a body, and hangs up.
#[tokio::test]
async fn what_is_not_http_is_refused_and_the_server_goes_on() {
    let server = Server::start().await;
    let bearer = format!("Authorization: Bearer {}\r\n", server.admin);
    let valid = serde_json::to_string(&experiment("demo")).unwrap();
    let post =
        |lines: &str, body: &str| format!("POST /experiments HTTP/1.1\r\nHost: em\r\n{bearer}{lines}\r\n{body}").into_bytes();
    let mut many = String::new();
    (0..200).for_each(|number| many.push_str(&format!("X-{number}: 1\r\n")));
    for (what, request) in [
        ("noise", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n".to_vec()),
        ("no version", b"GET /experiments\r\n\r\n".to_vec()),
        ("a version to come", b"GET / HTTP/9.9\r\nHost: em\r\n\r\n".to_vec()),
        ("a header without a colon", post("Content-Length 5\r\n", "")),
        ("a blank in a header's name", post("Content Length: 5\r\n", "")),
        ("a NUL in a header", post("X-Nul: a\0b\r\n", "")),
        ("a negative length", post("Content-Length: -1\r\n", "")),
        ("a length that is none", post("Content-Length: five\r\n", "")),
        ("a length beyond all", post("Content-Length: 99999999999999999999999\r\n", "")),
        ("two lengths", post("Content-Length: 5\r\nContent-Length: 6\r\n", "hello")),
        ("a length and chunks", post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n")),
        ("chunks inside out", post("Transfer-Encoding: chunked, gzip\r\n", "0\r\n\r\n")),
        ("an unknown coding", post("Transfer-Encoding: cow\r\n", "0\r\n\r\n")),
        ("a chunk without a size", post("Transfer-Encoding: chunked\r\n", "zz\r\nhello\r\n0\r\n\r\n")),
        ("a chunk beyond all", post("Transfer-Encoding: chunked\r\n", "fffffffffffffffff\r\nhello\r\n0\r\n\r\n")),
        ("a negative chunk", post("Transfer-Encoding: chunked\r\n", "-1\r\nhello\r\n0\r\n\r\n")),
        ("a chunk of another size", post("Transfer-Encoding: chunked\r\n", &format!("3\r\n{valid}\r\n0\r\n\r\n"))),
        ("200 headers", post(&many, "")),
        ("a header of 200 KB", post(&format!("X-Wide: {}\r\n", "x".repeat(200 << 10)), "")),
        ("an address of 200 KB", format!("GET /{} HTTP/1.1\r\nHost: em\r\n{bearer}\r\n", "x".repeat(200 << 10)).into_bytes()),
    ] {
        let reply = exchange(server.address(), request).await;
        if let Some(reply) = reply {
            assert!((400..500).contains(&reply.status), "{what}: {} {}", reply.status, reply.body);
        }
        assert_eq!(server.get("/experiments").await.status(), 200, "after {what}");
    }
    assert_eq!(server.rows("experiments").await, 0);
    server.stop().await;
}

/// A service may write anything into its log, and its agent has to get rid of it.
#[tokio::test]
async fn a_log_line_may_hold_anything() {
    use em_api::agent::{Record, RecordBatch, RecordBody};
    let server = Server::start().await;
    let job = server.submitted("demo").await;
    job.claimed().await;
    let line = "a\u{0}b \u{1b}[31m \u{202e} '; DROP TABLE records; -- \u{1f600}".to_owned();
    let body =
        RecordBody::Log { stream: "service\u{0}".to_owned(), trial: None, backend: Some("h\u{0}f".to_owned()), line: line.clone() };
    let batch = RecordBatch { epoch: 0, records: vec![Record { seq: u64::MAX, at: em_api::Timestamp::MIN, body }] };
    job.agent.post_records(job.attempt, &batch).await.unwrap();
    let logs = server.get("/experiments/demo/logs").await.text().await.unwrap();
    let read: serde_json::Value = serde_json::from_str(logs.trim()).unwrap();
    assert_eq!(read["line"], line.replace('\u{0}', "\u{fffd}"));
    server.stop().await;
}
