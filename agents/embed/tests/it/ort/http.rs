//! The server's routes: answers, forms of a request, and the sentence that each wrong request gets.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::process::Server;
use super::tiny::{self, HIDDEN, Model};

fn floats(value: &Value) -> Vec<f64> {
    value.as_array().expect("a list").iter().map(|number| number.as_f64().expect("a number")).collect()
}

#[tokio::test]
async fn embed_answers_as_the_proof_of_concept_did() {
    let model = Model::new(1);
    let server = Server::start(model.dir(), &[]);
    let (status, answer) = server.post("/embed", &json!({"texts": ["w1 w2", "w3", "unknown ünïcode 漢字"]})).await;
    assert_eq!(status, 200);
    assert_eq!(
        (&answer["model"], &answer["num_embeddings"], &answer["embedding_dim"]),
        (&json!("tiny"), &json!(3), &json!(HIDDEN))
    );
    for vector in answer["embeddings"].as_array().expect("vectors") {
        let norm = floats(vector).iter().map(|x| x * x).sum::<f64>().sqrt();
        assert!((norm - 1.0).abs() < 1e-5, "{norm}");
    }
    let (status, health) = server.get("/health").await;
    let health: Value = serde_json::from_str(&health).expect("JSON");
    assert_eq!((status, health), (200, json!({"status": "healthy", "backend": "ort", "model": "tiny", "gpu_available": false})));
}

#[tokio::test]
async fn openai_forms_give_the_same_vectors() {
    let model = Model::new(1);
    let server = Server::start(model.dir(), &[]);
    let (_, plain) = server.post("/embed", &json!({"texts": ["w1 w2 w3", "w4"]})).await;
    let ask = async |body: Value| {
        let (status, answer) = server.post("/v1/embeddings", &body).await;
        assert_eq!(status, 200, "{answer}");
        assert_eq!((&answer["object"], &answer["model"], &answer["data"][0]["index"]), (&json!("list"), &json!("tiny"), &json!(0)));
        answer
    };
    let strings = ask(json!({"model": "tiny", "input": ["w1 w2 w3", "w4"], "user": "someone"})).await;
    assert_eq!(strings["data"][1]["embedding"], plain["embeddings"][1]);
    assert_eq!(strings["usage"], json!({"prompt_tokens": 8, "total_tokens": 8}));
    let lone = ask(json!({"input": "w4"})).await;
    let near = |left: &Value, right: &Value| floats(left).iter().zip(floats(right)).all(|(a, b)| (a - b).abs() < 1e-5);
    assert!(near(&lone["data"][0]["embedding"], &plain["embeddings"][1]));
    let ids = ask(json!({"input": tiny::ids(&[4])})).await;
    assert_eq!(ids["data"][0]["embedding"], lone["data"][0]["embedding"]);
    let lists = ask(json!({"input": [tiny::ids(&[1, 2, 3]), tiny::ids(&[4])]})).await;
    assert_eq!(lists["data"], strings["data"]);

    let encoded = ask(json!({"input": ["w1 w2 w3", "w4"], "encoding_format": "base64"})).await;
    let bytes = BASE64_STANDARD.decode(encoded["data"][1]["embedding"].as_str().expect("base64")).expect("base64");
    let decoded: Vec<f32> = bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    let expected: Vec<f32> = floats(&plain["embeddings"][1]).into_iter().map(|x| x as f32).collect();
    assert_eq!(decoded, expected);

    let short = ask(json!({"input": "w4", "dimensions": 5})).await;
    let (short, full) = (floats(&short["data"][0]["embedding"]), floats(&lone["data"][0]["embedding"]));
    let norm = full[..5].iter().map(|x| x * x).sum::<f64>().sqrt();
    assert_eq!(short.len(), 5);
    assert!(short.iter().zip(&full).all(|(short, full)| (short - full / norm).abs() < 1e-5));
}

#[tokio::test]
async fn each_wrong_request_is_told_what_is_wrong() {
    let model = Model::new(1);
    let server = Server::start(model.dir(), &["--max-texts", "3", "--body-limit", "2000"]);
    let cases = [
        ("/embed", json!({}), 400, "texts"),
        ("/embed", json!({"texts": "w1"}), 400, "texts"),
        ("/embed", json!({"texts": []}), 400, "texts"),
        ("/embed", json!({"texts": ["w1", 5]}), 400, "texts[1]"),
        ("/embed", json!({"texts": ["w1", null]}), 400, "texts[1]"),
        ("/embed", json!({"texts": ["w1", ""]}), 400, "texts[1]"),
        ("/embed", json!({"texts": ["w1", "w1", "w1", "w1"]}), 413, "texts"),
        ("/v1/embeddings", json!({"model": "tiny"}), 400, "input"),
        ("/v1/embeddings", json!({"input": {}}), 400, "input"),
        ("/v1/embeddings", json!({"input": ""}), 400, "input"),
        ("/v1/embeddings", json!({"input": []}), 400, "input"),
        ("/v1/embeddings", json!({"input": [[]]}), 400, "input[0]"),
        ("/v1/embeddings", json!({"input": [[2, -1]]}), 400, "input[0][1]"),
        ("/v1/embeddings", json!({"input": [[2, 3], [2, 45]]}), 400, "input[1]"),
        ("/v1/embeddings", json!({"input": [[2, 3], "w1"]}), 400, "input[1]"),
        ("/v1/embeddings", json!({"input": "w1", "model": "other"}), 404, "model"),
        ("/v1/embeddings", json!({"input": "w1", "encoding_format": "int8"}), 400, "encoding_format"),
        ("/v1/embeddings", json!({"input": "w1", "dimensions": 0}), 400, "dimensions"),
        ("/v1/embeddings", json!({"input": "w1", "dimensions": HIDDEN + 1}), 400, "dimensions"),
    ];
    for (path, body, status, param) in cases {
        let (got, answer) = server.post(path, &body).await;
        assert_eq!((got, &answer["error"]["param"]), (status, &json!(param)), "{path} {body}: {answer}");
        let message = answer["error"]["message"].as_str().expect("a sentence");
        assert!(message.contains(param.split('[').next().expect("a name")), "{message}");
        assert_eq!(answer["error"]["type"], "invalid_request_error");
    }
    for (body, status, code) in
        [("{\"texts\": [", 400, "invalid_body"), ("[1]", 400, "invalid_body"), (&"x".repeat(3000), 413, "body_too_large")]
    {
        let (got, answer) = server.post_raw("/embed", body.to_owned()).await;
        assert_eq!((got, &answer["error"]["code"]), (status, &json!(code)), "{answer}");
    }
    assert_eq!(server.get("/nothing").await.0, 404);
    let (status, _) = server.post("/embed", &json!({"texts": ["w1"]})).await;
    assert_eq!(status, 200, "the next good request is answered");
}

#[tokio::test]
async fn a_full_queue_is_answered_429_with_a_time_to_come_again() {
    let server = Server::start(&super::minilm(), &["--max-queue", "4"]);
    let body = json!({"texts": vec!["embedding ".repeat(300); 4]}).to_string();
    let client = reqwest::Client::new();
    let requests = (0..12).map(|_| client.post(format!("{}/embed", server.url)).body(body.clone()).send());
    let answers = futures_util::future::try_join_all(requests).await.expect("answers");
    let full: Vec<_> = answers.iter().filter(|answer| answer.status() == 429).collect();
    assert!(!full.is_empty() && full.iter().all(|answer| answer.headers().get("retry-after").is_some_and(|after| after == "1")));
    assert!(answers.iter().all(|answer| [200, 429].contains(&answer.status().as_u16())));
    assert!(answers.iter().any(|answer| answer.status() == 200));
}

#[tokio::test]
async fn metrics_and_info_say_what_ran() {
    let model = Model::new(1);
    let server = Server::start(model.dir(), &["--max-length", "16", "--token-budget", "64"]);
    server.post("/embed", &json!({"texts": ["w1", "w2 w3"]})).await;
    server.post("/v1/embeddings", &json!({"input": 5})).await;
    let (_, metrics) = server.get("/metrics").await;
    for line in [
        "em_embed_queue_depth 0",
        "em_embed_batch_texts_sum 2",
        // Three and four tokens, without padding.
        "em_embed_batch_tokens_sum 7",
        "em_embed_padding_ratio_sum 1",
        "em_embed_phase_seconds_count{phase=\"tokenise\"} 1",
        "em_embed_phase_seconds_count{phase=\"queue\"} 2",
        "em_embed_phase_seconds_count{phase=\"compute\"} 1",
        "em_embed_phase_seconds_count{phase=\"serialise\"} 1",
        "em_embed_requests_total{route=\"/embed\",status=\"200\"} 1",
        "em_embed_requests_total{route=\"/v1/embeddings\",status=\"400\"} 1",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} is not in\n{metrics}");
    }
    let (_, info) = server.get("/info").await;
    let info: Value = serde_json::from_str(&info).expect("JSON");
    assert_eq!(
        (&info["engine"]["max_length"], &info["engine"]["token_budget"], &info["engine"]["pooling"]),
        (&json!(16), &json!(64), &json!("mean"))
    );
    let (_, models) = server.get("/v1/models").await;
    assert!(models.contains("\"id\":\"tiny\""), "{models}");
}

#[tokio::test]
async fn plain_floats_come_to_who_asks_for_them_with_the_time_of_each_phase() {
    let model = Model::new(1);
    let server = Server::start(model.dir(), &[]);
    let body = json!({"texts": ["w1 w2 w3", "w4"]});
    let (_, numbers) = server.post("/embed", &body).await;
    let request = reqwest::Client::new().post(format!("{}/embed", server.url)).header("accept", "application/octet-stream");
    let response = request.body(body.to_string()).send().await.expect("an answer");
    assert_eq!(response.headers()["x-embedding-dim"], HIDDEN.to_string().as_str());
    let timing = response.headers()["server-timing"].to_str().expect("text").to_owned();
    for phase in ["tokenise;dur=", "queue;dur=", "compute;dur=", "serialise;dur="] {
        assert!(timing.contains(phase), "{timing}");
    }
    let bytes = response.bytes().await.expect("a body");
    let floats_of: Vec<f32> = bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    let wanted: Vec<f32> = (0..2).flat_map(|text| floats(&numbers["embeddings"][text])).map(|x| x as f32).collect();
    assert_eq!(floats_of, wanted);
}

#[tokio::test]
async fn long_texts_are_cut_or_refused_as_told_and_counted() {
    let model = Model::new(1);
    let server = Server::start(model.dir(), &["--max-length", "10"]);
    let long = "w1 ".repeat(20);
    let (status, tokens) = server.post("/tokenize", &json!({"texts": [long, "w4"]})).await;
    assert_eq!((status, &tokens["lengths"], &tokens["max_length"]), (200, &json!([22, 3]), &json!(10)));
    assert_eq!(tokens["tokens"][0].as_array().map(Vec::len), Some(10));
    assert_eq!(server.post("/embed", &json!({"texts": [long]})).await.0, 200);
    let refused = json!({"input": ["w1", long], "truncate": false});
    let (status, answer) = server.post("/v1/embeddings", &refused).await;
    assert_eq!((status, &answer["error"]["code"], &answer["error"]["param"]), (413, &json!("text_too_long"), &json!("input[1]")));
    let message = answer["error"]["message"].as_str().expect("a sentence");
    assert!(message.contains("22 tokens") && message.contains("10"), "{message}");
    assert!(server.get("/metrics").await.1.contains("em_embed_truncated_texts_total 1"));
    let strict = Server::start(model.dir(), &["--max-length", "10", "--refuse-long"]);
    assert_eq!(strict.post("/embed", &json!({"texts": [long]})).await.0, 413);
    assert_eq!(strict.post("/embed", &json!({"texts": [long], "truncate": true})).await.0, 200);
}

/// Work for seconds, so that a deadline or a client that leaves comes first.
fn much() -> Value {
    json!({"texts": vec!["embedding ".repeat(300); 200]})
}

#[tokio::test]
async fn a_deadline_is_answered_504_and_its_texts_are_not_computed() {
    let server = Server::start(&super::minilm(), &[]);
    let request = reqwest::Client::new().post(format!("{}/embed", server.url)).header("x-request-timeout", "0.5");
    let response = request.body(much().to_string()).send().await.expect("an answer");
    assert_eq!(response.status(), 504);
    let answer: Value = response.json().await.expect("JSON");
    assert_eq!((&answer["error"]["code"], &answer["error"]["type"]), (&json!("deadline_exceeded"), &json!("server_error")));
    texts_are_dropped(&server).await;
}

#[tokio::test]
async fn texts_of_a_client_that_leaves_are_dropped() {
    let server = Server::start(&super::minilm(), &[]);
    let request = reqwest::Client::new().post(format!("{}/embed", server.url)).body(much().to_string()).send();
    // Dropped with its connection when the time is over.
    assert!(tokio::time::timeout(std::time::Duration::from_millis(500), request).await.is_err());
    texts_are_dropped(&server).await;
}

async fn texts_are_dropped(server: &Server) {
    for _ in 0..2400 {
        let (_, metrics) = server.get("/metrics").await;
        let dropped = metrics.lines().find_map(|line| line.strip_prefix("em_embed_dropped_texts_total "));
        if dropped.expect("a counter").parse::<u64>().expect("a number") > 0 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("no text was dropped in two minutes");
}
