//! `POST /embed`: the proof of concept's interface, and `POST /tokenize`.

use actix_web::web::{Bytes, Data};
use actix_web::{Error, HttpRequest, HttpResponse};
use serde::Serialize;

use super::Service;
use super::body;
use super::reply::{self, Refusal};
use super::request::{self, Input};

pub(super) async fn embed(service: Data<Service>, request: HttpRequest, body: Result<Bytes, Error>) -> HttpResponse {
    let response = answer(&service, &request, body).await.unwrap_or_else(Refusal::into_response);
    service.engine.metrics().request("/embed", response.status().as_u16());
    response
}

async fn answer(service: &Service, request: &HttpRequest, body: Result<Bytes, Error>) -> Result<HttpResponse, Refusal> {
    let mut object = request::object(body)?;
    let texts = request::texts(&mut object, service.max_texts)?;
    let wishes = request::wishes(request.headers(), &object, service.wishes)?;
    let embedded = service.engine.embed_with(texts, wishes).await?;
    let model = &service.model_name;
    Ok(reply::vectors(request, service.engine.metrics(), &embedded, || body::embed(&embedded, model)))
}

#[derive(Serialize)]
struct Tokenised<'a> {
    model: &'a str,
    max_length: usize,
    /// Ids that are embedded, special ones included.
    tokens: Vec<&'a [u32]>,
    /// Of the whole texts; above `max_length`: cut, or refused without `truncate`.
    lengths: Vec<usize>,
}

pub(super) async fn tokenize(service: Data<Service>, body: Result<Bytes, Error>) -> HttpResponse {
    let response = ids(&service, body).await.unwrap_or_else(Refusal::into_response);
    service.engine.metrics().request("/tokenize", response.status().as_u16());
    response
}

async fn ids(service: &Service, body: Result<Bytes, Error>) -> Result<HttpResponse, Refusal> {
    let mut object = request::object(body)?;
    let texts = match object.contains_key("texts") {
        true => request::texts(&mut object, service.max_texts)?,
        false => match request::input(&mut object, service.max_texts)? {
            Input::Texts(texts) => texts,
            Input::Tokens(_) => return Err(Refusal::field("input", "input is a list of token ids already")),
        },
    };
    let tokens = service.engine.tokenise(texts).await?;
    Ok(reply::json(&Tokenised {
        model: &service.model_name,
        max_length: service.engine.info().max_length,
        lengths: tokens.iter().map(|text| text.length).collect(),
        tokens: tokens.iter().map(|text| text.ids.as_slice()).collect(),
    }))
}
