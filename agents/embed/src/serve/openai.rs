//! OpenAI's `/v1/embeddings` and `/v1/models`, as its client libraries and LangChain's use them.

use actix_web::http::StatusCode;
use actix_web::web::{Bytes, Data};
use actix_web::{Error, HttpRequest, HttpResponse};
use serde_json::{Map, Value, json};

use super::Service;
use super::body;
use super::reply::{self, Refusal};
use super::request::{self, Input};
use crate::engine::Embedded;

/// What a client may choose about its vectors.
struct Shape {
    base64: bool,
    dimensions: Option<usize>,
}

pub(super) async fn embeddings(service: Data<Service>, request: HttpRequest, body: Result<Bytes, Error>) -> HttpResponse {
    let response = answer(&service, &request, body).await.unwrap_or_else(Refusal::into_response);
    service.engine.metrics().request("/v1/embeddings", response.status().as_u16());
    response
}

async fn answer(service: &Service, request: &HttpRequest, body: Result<Bytes, Error>) -> Result<HttpResponse, Refusal> {
    let mut object = request::object(body)?;
    check_model(&object, &service.model_name)?;
    let info = service.engine.info();
    let shape = Shape::parse(&object, info.embedding_dim)?;
    let wishes = request::wishes(request.headers(), &object, service.wishes)?;
    let embedded = match request::input(&mut object, service.max_texts)? {
        Input::Texts(texts) => service.engine.embed_with(texts, wishes).await?,
        Input::Tokens(tokens) => service.engine.embed_tokens_with(tokens, wishes).await?,
    };
    let embedded = match shape.dimensions {
        Some(count) if count < embedded.dim => shortened(&embedded, count, info.normalize),
        _ => embedded,
    };
    let write = || body::openai(&embedded, &service.model_name, shape.base64);
    Ok(reply::vectors(request, service.engine.metrics(), &embedded, write))
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
}

/// The first `count` numbers of each vector, at unit length again where the service normalises.
fn shortened(embedded: &Embedded, count: usize, normalize: bool) -> Embedded {
    let mut values = Vec::with_capacity(embedded.vectors().len() * count);
    for vector in embedded.vectors() {
        let first = &vector[..count];
        let norm = if normalize { first.iter().map(|value| value * value).sum::<f32>().sqrt().max(1e-12) } else { 1.0 };
        values.extend(first.iter().map(|value| value / norm));
    }
    Embedded { values, dim: count, ..*embedded }
}

pub(super) async fn models(service: Data<Service>) -> HttpResponse {
    reply::json(&json!({
        "object": "list",
        "data": [{"id": service.model_name, "object": "model", "created": service.started_at, "owned_by": "embedding-meter"}],
    }))
}
