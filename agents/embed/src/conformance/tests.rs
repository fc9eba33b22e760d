//! The suite against a server that is wrong on purpose (a fake: vectors made of the letters of a text): each fault fails its checks.

use std::collections::BTreeSet;

use actix_web::{App, HttpResponse, HttpServer, web};
use em_api::spec::BackendKind;
use serde_json::{Value, json};

use super::*;

#[derive(Clone, Copy, PartialEq)]
enum Fault {
    None,
    TurnsOrder,
    ForgetsToNormalise,
    FailsOnNumbers,
    ForgetsOneText,
    NeighboursShowThrough,
}

fn vector(text: &str, fault: Fault, among: usize) -> Vec<f32> {
    let mut numbers = [1.0_f32; 16];
    text.bytes().take(500).enumerate().for_each(|(place, byte)| numbers[(place * 7 + byte as usize) % 16] += f32::from(byte) * 0.1);
    if fault == Fault::NeighboursShowThrough {
        numbers[0] += 40.0 * among as f32;
    }
    let length = numbers.iter().map(|number| number * number).sum::<f32>().sqrt();
    let length = if fault == Fault::ForgetsToNormalise { 1.0 } else { length };
    numbers.map(|number| number / length).to_vec()
}

async fn embeddings(fault: web::Data<Fault>, body: web::Bytes) -> HttpResponse {
    let fault = **fault;
    let wrong = |status: u16| {
        let status = actix_web::http::StatusCode::from_u16(status).expect("a status");
        HttpResponse::build(status).json(json!({"error": {"message": "input is not what it should be"}}))
    };
    let Ok(body) = serde_json::from_slice::<Value>(&body) else { return wrong(400) };
    let texts: Option<Vec<String>> = match &body["input"] {
        Value::String(text) => Some(vec![text.clone()]),
        Value::Number(_) if fault == Fault::FailsOnNumbers => return wrong(500),
        input => serde_json::from_value(input.clone()).ok().filter(|texts: &Vec<String>| !texts.is_empty()),
    };
    let known = body["model"] == "m"
        && !body["dimensions"].is_number()
        && ["float", ""].contains(&body["encoding_format"].as_str().unwrap_or(""));
    let Some(texts) = texts.filter(|_| known) else { return wrong(400) };
    let mut vectors: Vec<Vec<f32>> = texts.iter().map(|text| vector(text, fault, texts.len())).collect();
    match fault {
        Fault::TurnsOrder => vectors.reverse(),
        Fault::ForgetsOneText if vectors.len() > 1 => drop(vectors.pop()),
        _ => {}
    }
    let item = |(index, vector): (usize, Vec<f32>)| json!({"object": "embedding", "index": index, "embedding": vector});
    let words: usize = texts.iter().map(|text| text.split_whitespace().count()).sum();
    let usage = json!({"prompt_tokens": words, "total_tokens": words});
    HttpResponse::Ok().json(json!({"object": "list", "model": "m", "data": vectors.into_iter().enumerate().map(item).collect::<Vec<_>>(), "usage": usage}))
}

/// The names of the checks that fail.
async fn failing(fault: Fault) -> BTreeSet<&'static str> {
    let server = HttpServer::new(move || {
        App::new()
            .app_data(web::Data::new(fault))
            .app_data(web::PayloadConfig::new(64 << 20))
            .route("/health", web::get().to(HttpResponse::Ok))
            .route("/v1/models", web::get().to(|| async { HttpResponse::Ok().json(json!({"data": [{"id": "m"}]})) }))
            .route("/v1/embeddings", web::post().to(embeddings))
    });
    let server = server.workers(1).disable_signals().bind(("127.0.0.1", 0)).expect("bind");
    let url = format!("http://{}", server.addrs()[0]);
    let server = server.run();
    let handle = server.handle();
    tokio::spawn(server);
    let settings = Settings { min_cosine: 0.9999, long_words: 100, max_texts: 64, normalized: true, tokenizer: None, pid: None };
    let subject = Subject::new(url, BackendKind::Openai, None, None, settings).await.expect("a subject");
    let lines = examine(&subject).await;
    handle.stop(false).await;
    lines.iter().filter(|line| line.verdict == Verdict::Failed).map(|line| line.check).collect()
}

#[tokio::test]
async fn a_sound_server_passes_and_each_fault_fails_its_checks() {
    assert_eq!(failing(Fault::None).await, BTreeSet::new());
    for (fault, check) in [
        (Fault::TurnsOrder, "order_is_kept"),
        (Fault::ForgetsToNormalise, "vectors_are_of_unit_length"),
        (Fault::FailsOnNumbers, "a_number_is_refused"),
        (Fault::FailsOnNumbers, "no_server_error_was_seen"),
        (Fault::ForgetsOneText, "a_list_gives_a_vector_each"),
        (Fault::NeighboursShowThrough, "alone_or_among_others_is_the_same"),
    ] {
        let failing = failing(fault).await;
        assert!(failing.contains(check), "{check} did not notice: {failing:?}");
    }
}

#[test]
fn a_difference_passes_only_where_the_kind_is_known_for_it() {
    let seen = || differs(Difference::NoTokenIds, "status 400");
    assert_eq!(line(BackendKind::Huggingface, "ids", seen(), 0.0).verdict, Verdict::Differs);
    assert_eq!(line(BackendKind::Openai, "ids", seen(), 0.0).verdict, Verdict::Differs);
    let failed = line(BackendKind::Vllm, "ids", seen(), 0.0);
    assert!(failed.verdict == Verdict::Failed && failed.detail.contains("vllm is not known for this"), "{failed:?}");
    let text = table(&[line(BackendKind::Huggingface, "ids", seen(), 0.0), failed]);
    insta::assert_snapshot!(text, @"
    differs  ids  [no-token-ids] status 400
    FAILED   ids  [no-token-ids] status 400; vllm is not known for this

    2 checks in 0.0 s: 0 ok, 1 differ as this kind is known to, 0 skipped, 1 failed
    ");
}
