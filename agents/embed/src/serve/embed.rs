//! `POST /embed`: the proof of concept's interface.

use std::time::Instant;

use actix_web::web::{Bytes, Data};
use actix_web::{Error, HttpResponse};
use serde::Serialize;

use super::Service;
use super::reply::{Refusal, json};
use super::request;
use crate::engine::Phase;

#[derive(Serialize)]
struct Answer<'a> {
    embeddings: Vec<&'a [f32]>,
    model: &'a str,
    num_embeddings: usize,
    embedding_dim: usize,
}

pub(super) async fn embed(service: Data<Service>, body: Result<Bytes, Error>) -> HttpResponse {
    let response = answer(&service, body).await.unwrap_or_else(Refusal::into_response);
    service.engine.metrics().request("/embed", response.status().as_u16());
    response
}

async fn answer(service: &Service, body: Result<Bytes, Error>) -> Result<HttpResponse, Refusal> {
    let texts = request::texts(&mut request::object(body)?, service.max_texts)?;
    let embedded = service.engine.embed(texts).await?;
    let started = Instant::now();
    let embeddings: Vec<&[f32]> = embedded.vectors().collect();
    let num_embeddings = embeddings.len();
    let response = json(&Answer { embeddings, model: &service.model_name, num_embeddings, embedding_dim: embedded.dim });
    service.engine.metrics().phase(Phase::Serialise, started.elapsed());
    Ok(response)
}
