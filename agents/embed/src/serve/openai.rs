//! OpenAI's `/v1/embeddings` and `/v1/models`, as its client libraries and LangChain's use them.

use std::borrow::Cow;
use std::time::Instant;

use actix_web::http::StatusCode;
use actix_web::web::{Bytes, Data};
use actix_web::{Error, HttpResponse};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::Service;
use super::reply::{self, Refusal};
use super::request::{self, Input};
use crate::engine::{Embedded, Phase};

#[derive(Serialize)]
struct Answer<'a> {
    object: &'static str,
    data: Vec<Datum<'a>>,
    model: &'a str,
    usage: Usage,
}

#[derive(Serialize)]
struct Datum<'a> {
    object: &'static str,
    index: usize,
    embedding: Encoded<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Encoded<'a> {
    Floats(Cow<'a, [f32]>),
    /// Of the little-endian f32.
    Base64(String),
}

#[derive(Serialize)]
struct Usage {
    prompt_tokens: usize,
    total_tokens: usize,
}

/// What a client may choose about its vectors.
struct Shape {
    base64: bool,
    dimensions: Option<usize>,
}

pub(super) async fn embeddings(service: Data<Service>, body: Result<Bytes, Error>) -> HttpResponse {
    let response = answer(&service, body).await.unwrap_or_else(Refusal::into_response);
    service.engine.metrics().request("/v1/embeddings", response.status().as_u16());
    response
}

async fn answer(service: &Service, body: Result<Bytes, Error>) -> Result<HttpResponse, Refusal> {
    let mut object = request::object(body)?;
    check_model(&object, &service.model_name)?;
    let shape = Shape::parse(&object, service.engine.info().embedding_dim)?;
    let embedded = match request::input(&mut object, service.max_texts)? {
        Input::Texts(texts) => service.engine.embed(texts).await?,
        Input::Tokens(tokens) => service.engine.embed_tokens(tokens).await?,
    };
    let started = Instant::now();
    let response = reply::json(&shape.answer(&embedded, &service.model_name, service.engine.info().normalize));
    service.engine.metrics().phase(Phase::Serialise, started.elapsed());
    Ok(response)
}

fn check_model(object: &Map<String, Value>, served: &str) -> Result<(), Refusal> {
    match object.get("model") {
        None | Some(Value::Null) => Ok(()),
        Some(Value::String(name)) if name == served => Ok(()),
        Some(Value::String(name)) => {
            let message = format!("the model {name:?} is not served here; {served:?} is");
            Err(Refusal::field("model", message).with(StatusCode::NOT_FOUND, "model_not_found"))
        }
        Some(_) => Err(Refusal::field("model", "model is not a string")),
    }
}

impl Shape {
    fn parse(object: &Map<String, Value>, dim: usize) -> Result<Self, Refusal> {
        let base64 = match object.get("encoding_format") {
            None | Some(Value::Null) => false,
            Some(Value::String(format)) if format == "float" => false,
            Some(Value::String(format)) if format == "base64" => true,
            Some(other) => {
                let message = format!("encoding_format is {other}, not \"float\" or \"base64\"");
                return Err(Refusal::field("encoding_format", message));
            }
        };
        let dimensions = match object.get("dimensions") {
            None | Some(Value::Null) => None,
            Some(value) => match value.as_u64().and_then(|count| usize::try_from(count).ok()) {
                Some(count) if (1..=dim).contains(&count) => Some(count),
                _ => {
                    let message = format!("dimensions is {value}, not a whole number from 1 to {dim}");
                    return Err(Refusal::field("dimensions", message));
                }
            },
        };
        Ok(Self { base64, dimensions })
    }

    fn answer<'a>(&self, embedded: &'a Embedded, model: &'a str, normalize: bool) -> Answer<'a> {
        let vectors = embedded.vectors().map(|vector| match self.dimensions {
            Some(count) => Cow::Owned(shortened(vector, count, normalize)),
            None => Cow::Borrowed(vector),
        });
        let encoded = vectors.map(|vector| {
            if self.base64 {
                let bytes: Vec<u8> = vector.iter().flat_map(|value| value.to_le_bytes()).collect();
                Encoded::Base64(BASE64_STANDARD.encode(bytes))
            } else {
                Encoded::Floats(vector)
            }
        });
        let data = encoded.enumerate().map(|(index, embedding)| Datum { object: "embedding", index, embedding }).collect();
        let usage = Usage { prompt_tokens: embedded.tokens, total_tokens: embedded.tokens };
        Answer { object: "list", data, model, usage }
    }
}

/// The first `count` numbers, at unit length again where the service normalises.
fn shortened(vector: &[f32], count: usize, normalize: bool) -> Vec<f32> {
    let first = &vector[..count];
    if !normalize {
        return first.to_vec();
    }
    let norm = first.iter().map(|value| value * value).sum::<f32>().sqrt().max(1e-12);
    first.iter().map(|value| value / norm).collect()
}

pub(super) async fn models(service: Data<Service>) -> HttpResponse {
    reply::json(&json!({
        "object": "list",
        "data": [{"id": service.model_name, "object": "model", "created": service.started_at, "owned_by": "embedding-meter"}],
    }))
}
