//! From a request body to texts or token ids. Fields are looked at one by one, so that a refusal names the field and the
//! place of what is wrong.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::HeaderMap;
use actix_web::web::Bytes;
use serde_json::{Map, Value};

use super::reply::Refusal;
use crate::engine::Wishes;

/// What to embed.
#[derive(Debug, PartialEq)]
pub(super) enum Input {
    Texts(Vec<String>),
    /// Ids of the model's own vocabulary.
    Tokens(Vec<Vec<u32>>),
}

pub(super) fn object(body: Result<Bytes, actix_web::Error>) -> Result<Map<String, Value>, Refusal> {
    let body = body.map_err(|error| match error.as_response_error().status_code() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            let message = "the body is larger than this service takes (--body-limit): send fewer texts a request";
            Refusal::body(message).with(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large")
        }
        status => Refusal::body(error.to_string()).with(status, "invalid_body"),
    })?;
    match serde_json::from_slice(&body) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(other) => Err(Refusal::body(format!("the body is {}, not a JSON object", kind(&other)))),
        Err(error) => Err(Refusal::body(format!("the body is not JSON: {error}"))),
    }
}

/// `texts` of `/embed`: one or more strings.
pub(super) fn texts(object: &mut Map<String, Value>, most: usize) -> Result<Vec<String>, Refusal> {
    match object.remove("texts") {
        Some(Value::Array(items)) => strings("texts", counted("texts", items, most)?),
        Some(other) => Err(Refusal::field("texts", format!("texts is {}, not a list of strings", kind(&other)))),
        None => Err(Refusal::field("texts", "texts is missing: send {\"texts\": [\"…\"]}")),
    }
}

/// `input` of `/v1/embeddings`: a string, strings, token ids, or lists of token ids.
pub(super) fn input(object: &mut Map<String, Value>, most: usize) -> Result<Input, Refusal> {
    let items = match object.remove("input") {
        Some(Value::String(text)) => return strings("input", vec![Value::String(text)]).map(Input::Texts),
        Some(Value::Array(items)) => items,
        Some(other) => {
            let message = format!("input is {}, not a string, strings, token ids or lists of token ids", kind(&other));
            return Err(Refusal::field("input", message));
        }
        None => return Err(Refusal::field("input", "input is missing")),
    };
    match items.first() {
        Some(Value::Number(_)) => Ok(Input::Tokens(vec![token_ids("input", items)?])),
        Some(Value::Array(_)) => {
            let lists = counted("input", items, most)?.into_iter().enumerate();
            let lists = lists.map(|(place, list)| match list {
                Value::Array(ids) => token_ids(&format!("input[{place}]"), ids),
                other => Err(mixed(place, &other, "a list of token ids")),
            });
            lists.collect::<Result<_, _>>().map(Input::Tokens)
        }
        _ => strings("input", counted("input", items, most)?).map(Input::Texts),
    }
}

/// What this request chooses: `truncate` in its body, `x-request-timeout` (seconds) in its headers.
pub(super) fn wishes(headers: &HeaderMap, object: &Map<String, Value>, defaults: Wishes) -> Result<Wishes, Refusal> {
    let truncate = match object.get("truncate") {
        None | Some(Value::Null) => defaults.truncate,
        Some(Value::Bool(truncate)) => *truncate,
        Some(other) => return Err(Refusal::field("truncate", format!("truncate is {}, not true or false", kind(other)))),
    };
    let Some(value) = headers.get(TIMEOUT_HEADER) else {
        return Ok(Wishes { truncate, ..defaults });
    };
    let seconds = value.to_str().ok().and_then(|text| text.trim().parse::<f64>().ok());
    match seconds.filter(|seconds| *seconds > 0.0).and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()) {
        Some(asked) => {
            let deadline = defaults.deadline.map_or(asked, |most| most.min(asked));
            Ok(Wishes { truncate, deadline: Some(deadline) })
        }
        None => {
            let message = format!("{TIMEOUT_HEADER} is not a number of seconds above 0");
            Err(Refusal::field(TIMEOUT_HEADER, message))
        }
    }
}

const TIMEOUT_HEADER: &str = "x-request-timeout";

fn counted(field: &str, items: Vec<Value>, most: usize) -> Result<Vec<Value>, Refusal> {
    match items.len() {
        0 => Err(Refusal::field(field, format!("{field} is an empty list: send at least one text"))),
        count if count > most => {
            let message = format!("{field} has {count} texts and this service takes {most} a request (--max-texts)");
            Err(Refusal::field(field, message).with(StatusCode::PAYLOAD_TOO_LARGE, "too_many_texts"))
        }
        _ => Ok(items),
    }
}

fn strings(field: &str, items: Vec<Value>) -> Result<Vec<String>, Refusal> {
    let lone = items.len() == 1 && field == "input";
    let texts = items.into_iter().enumerate().map(|(place, item)| match item {
        Value::String(text) if text.is_empty() => {
            let param = if lone { field.to_owned() } else { format!("{field}[{place}]") };
            Err(Refusal::field(param.clone(), format!("{param} is an empty string, which has no meaning to embed")))
        }
        Value::String(text) => Ok(text),
        other => {
            let param = format!("{field}[{place}]");
            Err(Refusal::field(param.clone(), format!("{param} is {}, not a string", kind(&other))))
        }
    });
    texts.collect()
}

fn token_ids(field: &str, items: Vec<Value>) -> Result<Vec<u32>, Refusal> {
    if items.is_empty() {
        return Err(Refusal::field(field, format!("{field} is an empty list of token ids")));
    }
    let ids = items.iter().enumerate().map(|(place, item)| {
        let param = format!("{field}[{place}]");
        let id = item.as_u64().and_then(|id| u32::try_from(id).ok());
        id.ok_or_else(|| Refusal::field(param.clone(), format!("{param} is {item}, not a token id")))
    });
    ids.collect()
}

fn mixed(place: usize, found: &Value, expected: &str) -> Refusal {
    Refusal::field(format!("input[{place}]"), format!("input[{place}] is {}, but input began with {expected}", kind(found)))
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
