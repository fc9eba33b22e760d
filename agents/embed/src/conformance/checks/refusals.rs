//! Requests that are wrong: refused with 4xx and a sentence, never a 5xx, never an answer to something else.

use serde_json::{Map, Value, json};

use super::{Check, Difference, Seen, Subject, checks, differs, fine};

pub(super) fn all() -> Vec<Check> {
    checks![
        an_empty_list_is_refused,
        a_number_is_refused,
        an_object_is_refused,
        null_is_refused,
        a_missing_input_is_refused,
        a_list_with_a_number_among_texts_is_refused,
        no_json_is_refused,
        half_a_body_of_json_is_refused,
        an_empty_body_is_refused,
        broken_utf8_is_refused,
        an_unknown_model_is_refused,
        an_unknown_encoding_is_refused,
        negative_dimensions_are_refused,
        a_wild_token_id_is_refused,
        errors_are_sentences,
        a_huge_body_ends_well,
        after_all_that_it_answers,
    ]
}

async fn refused(subject: &Subject, input: Value) -> Seen {
    fine(subject.ask(input).await?.refused()?)
}

async fn an_empty_list_is_refused(subject: &Subject) -> Seen {
    let answer = subject.ask(json!([])).await?;
    if answer.status == 200 { differs(Difference::EmptyListAnswered, "") } else { fine(answer.refused()?) }
}

async fn a_number_is_refused(subject: &Subject) -> Seen {
    refused(subject, json!(5)).await
}

async fn an_object_is_refused(subject: &Subject) -> Seen {
    refused(subject, json!({"text": "a"})).await
}

async fn null_is_refused(subject: &Subject) -> Seen {
    refused(subject, Value::Null).await
}

async fn a_missing_input_is_refused(subject: &Subject) -> Seen {
    fine(subject.post("/v1/embeddings", &json!({"model": subject.model})).await?.refused()?)
}

async fn a_list_with_a_number_among_texts_is_refused(subject: &Subject) -> Seen {
    refused(subject, json!(["a", 5])).await
}

async fn no_json_is_refused(subject: &Subject) -> Seen {
    fine(subject.post_raw("/v1/embeddings", b"input=hello".to_vec()).await?.refused()?)
}

async fn half_a_body_of_json_is_refused(subject: &Subject) -> Seen {
    fine(subject.post_raw("/v1/embeddings", br#"{"input": ["a", "#.to_vec()).await?.refused()?)
}

async fn an_empty_body_is_refused(subject: &Subject) -> Seen {
    fine(subject.post_raw("/v1/embeddings", Vec::new()).await?.refused()?)
}

async fn broken_utf8_is_refused(subject: &Subject) -> Seen {
    fine(subject.post_raw("/v1/embeddings", b"{\"input\": \"a\xff\xfeb\"}".to_vec()).await?.refused()?)
}

async fn an_unknown_model_is_refused(subject: &Subject) -> Seen {
    let answer = subject.post("/v1/embeddings", &json!({"model": "no-such-model", "input": "a"})).await?;
    if answer.status == 200 { differs(Difference::AnyModelName, "") } else { fine(answer.refused()?) }
}

async fn an_unknown_encoding_is_refused(subject: &Subject) -> Seen {
    let answer = subject.ask_with("a", json!({"encoding_format": "morse"}).as_object().unwrap_or(&Map::new())).await?;
    if answer.status == 200 { differs(Difference::AnyEncoding, "") } else { fine(answer.refused()?) }
}

async fn negative_dimensions_are_refused(subject: &Subject) -> Seen {
    let answer = subject.ask_with("a", json!({"dimensions": -1}).as_object().unwrap_or(&Map::new())).await?;
    if answer.status == 200 { differs(Difference::IgnoresDimensions, "") } else { fine(answer.refused()?) }
}

async fn a_wild_token_id_is_refused(subject: &Subject) -> Seen {
    let answer = subject.ask(json!([[101, 2_000_000_000, 102]])).await?;
    if answer.status == 200 { differs(Difference::AnyTokenId, "") } else { fine(answer.refused()?) }
}

async fn errors_are_sentences(subject: &Subject) -> Seen {
    let answer = subject.ask(json!(5)).await?;
    let told = answer.json.pointer("/error/message").and_then(Value::as_str).unwrap_or_default();
    if told.len() >= 10 {
        return fine("");
    }
    let anything = answer.text.trim().len() >= 10;
    if anything { differs(Difference::OwnErrors, answer.told()) } else { Err(format!("no sentence: {}", answer.told())) }
}

/// 20 MB, nearly all of it in a field that says nothing: refused, or the connection closed over it, or answered.
async fn a_huge_body_ends_well(subject: &Subject) -> Seen {
    let fields = json!({"user": "x".repeat(20_000_000)});
    let seen = match subject.ask_with("a", fields.as_object().unwrap_or(&Map::new())).await {
        Ok(answer) if answer.status < 500 => answer.status.to_string(),
        Ok(answer) => return Err(answer.told()),
        Err(_) => "connection closed".to_owned(),
    };
    subject.vector("still there").await.map_err(|problem| format!("gone after 20 MB: {problem}"))?;
    fine(seen)
}

async fn after_all_that_it_answers(subject: &Subject) -> Seen {
    let (one, other) = (subject.vector("The river froze in January.").await?, subject.vector("The river froze in January.").await?);
    subject.same("after the wrong requests", &one, &other)?;
    fine("")
}
