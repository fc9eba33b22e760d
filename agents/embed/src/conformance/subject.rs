//! The server under test: asked over real connections, its answers taken apart, all statuses counted.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use em_api::spec::BackendKind;
use reqwest::header::CONTENT_TYPE;
use serde_json::{Map, Value, json};

use crate::launch::ApiKey;

const TIMEOUT: Duration = Duration::from_secs(120);

pub struct Subject {
    pub(super) base_url: String,
    pub(super) kind: BackendKind,
    pub(super) model: String,
    /// Fields that make it cut what is too long.
    pub(super) cut: Map<String, Value>,
    pub(super) client: reqwest::Client,
    pub(super) settings: Settings,
    key: Option<ApiKey>,
    statuses: Mutex<BTreeMap<u16, u32>>,
}

#[derive(Clone, Debug)]
pub struct Settings {
    /// Vectors of the same text may differ by this at most, as a cosine.
    pub min_cosine: f64,
    /// Words of a text that is too long for the model.
    pub long_words: usize,
    /// Texts in the largest request, where the server states no limit of its own.
    pub max_texts: usize,
    pub normalized: bool,
    /// A tokenizer.json of the model, for token ids.
    pub tokenizer: Option<std::path::PathBuf>,
    /// The server's process, to see how it ends.
    pub pid: Option<u32>,
}

pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) text: String,
    /// `Null`: no JSON.
    pub(super) json: Value,
    pub(super) content_type: String,
}

pub(super) type Vectors = Vec<Vec<f32>>;

impl Subject {
    /// `base_url` without `/v1`. Errors: no HTTP client, or no model to name, in words.
    pub async fn new(
        base_url: String,
        kind: BackendKind,
        model: Option<String>,
        key: Option<ApiKey>,
        settings: Settings,
    ) -> Result<Self, String> {
        let client = reqwest::Client::builder().no_proxy().timeout(TIMEOUT).build();
        let client = client.map_err(|error| format!("cannot make an HTTP client: {error}"))?;
        let cut = crate::launch::request_fields(kind);
        let statuses = Mutex::default();
        let mut subject = Self { base_url, kind, model: String::new(), cut, client, settings, key, statuses };
        subject.model = match model {
            Some(model) => model,
            None => subject.first_model().await?,
        };
        Ok(subject)
    }

    async fn first_model(&self) -> Result<String, String> {
        for (route, place) in [("/v1/models", "/data/0/id"), ("/info", "/model_id"), ("/info", "/model")] {
            let answer = self.get(route).await?;
            if let Some(model) = answer.json.pointer(place).and_then(Value::as_str) {
                return Ok(model.to_owned());
            }
        }
        Err(format!("{} names no model: give its name with --model", self.base_url))
    }

    pub(super) async fn get(&self, route: &str) -> Result<Answer, String> {
        self.send(self.keyed(self.client.get(format!("{}{route}", self.base_url)))).await
    }

    pub(super) async fn post(&self, route: &str, body: &Value) -> Result<Answer, String> {
        self.post_raw(route, body.to_string().into_bytes()).await
    }

    pub(super) async fn post_raw(&self, route: &str, body: Vec<u8>) -> Result<Answer, String> {
        self.send(self.open(route, body)).await
    }

    /// A request that the caller sends, or drops.
    pub(super) fn open(&self, route: &str, body: Vec<u8>) -> reqwest::RequestBuilder {
        self.keyed(self.client.post(format!("{}{route}", self.base_url)).header(CONTENT_TYPE, "application/json").body(body))
    }

    fn keyed(&self, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        match &self.key {
            Some(key) => request.bearer_auth(key.expose()),
            None => request,
        }
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<Answer, String> {
        let failed = |error: reqwest::Error| {
            let timeout = if error.is_timeout() { format!(" within {} s", TIMEOUT.as_secs()) } else { String::new() };
            let causes = std::iter::successors(std::error::Error::source(&error), |cause| cause.source());
            let causes: String = causes.map(|cause| format!(": {cause}")).collect();
            format!("no answer{timeout}: {error}{causes}")
        };
        let answer = request.send().await.map_err(failed)?;
        let status = answer.status().as_u16();
        *self.statuses.lock().unwrap_or_else(PoisonError::into_inner).entry(status).or_default() += 1;
        let content_type = answer.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
        let text = answer.text().await.map_err(failed)?;
        let text = self.key.as_ref().map_or_else(|| text.clone(), |key| key.redacted(&text));
        let json = serde_json::from_str(&text).unwrap_or(Value::Null);
        Ok(Answer { status, text, json, content_type })
    }

    /// Whether it needs no key.
    pub(super) fn is_open(&self) -> bool {
        self.key.is_none()
    }

    /// So far.
    pub(super) fn statuses(&self) -> BTreeMap<u16, u32> {
        self.statuses.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A body of `/v1/embeddings`.
    pub(super) fn body(&self, input: impl Into<Value>) -> Value {
        json!({"model": self.model, "input": input.into()})
    }

    pub(super) async fn ask(&self, input: impl Into<Value>) -> Result<Answer, String> {
        self.post("/v1/embeddings", &self.body(input)).await
    }

    /// The same, with further fields.
    pub(super) async fn ask_with(&self, input: impl Into<Value>, fields: &Map<String, Value>) -> Result<Answer, String> {
        let mut body = self.body(input);
        body.as_object_mut().into_iter().for_each(|body| body.extend(fields.clone()));
        self.post("/v1/embeddings", &body).await
    }

    /// One vector for each text.
    pub(super) async fn vectors(&self, texts: &[String]) -> Result<Vectors, String> {
        let answer = self.ask(texts).await?;
        let vectors = answer.vectors()?;
        if vectors.len() == texts.len() { Ok(vectors) } else { Err(format!("{} vectors for {} texts", vectors.len(), texts.len())) }
    }

    pub(super) async fn vector(&self, text: &str) -> Result<Vec<f32>, String> {
        Ok(self.vectors(&[text.to_owned()]).await?.remove(0))
    }

    /// Whether the two are the same vector. Errors: how far they are apart.
    pub(super) fn same(&self, what: &str, one: &[f32], other: &[f32]) -> Result<(), String> {
        let cosine = cosine(one, other);
        if one.len() == other.len() && cosine >= self.settings.min_cosine {
            Ok(())
        } else {
            Err(format!("{what}: cosine {cosine:.6} between vectors of {} and {} numbers", one.len(), other.len()))
        }
    }

    pub(super) async fn timed<T>(work: impl Future<Output = T>) -> (T, Duration) {
        let started = Instant::now();
        (work.await, started.elapsed())
    }
}

impl Answer {
    /// By `index`. Errors: what is wrong with the answer.
    pub(super) fn vectors(&self) -> Result<Vectors, String> {
        if self.status != 200 {
            return Err(self.told());
        }
        let data = self.json.get("data").and_then(Value::as_array).ok_or_else(|| format!("no `data`: {}", self.beginning()))?;
        let mut rows: Vec<(u64, Vec<f32>)> = Vec::with_capacity(data.len());
        for item in data {
            let index = item.get("index").and_then(Value::as_u64).ok_or("an item without `index`")?;
            rows.push((index, floats(item.get("embedding").unwrap_or(&Value::Null))?));
        }
        rows.sort_by_key(|(index, _)| *index);
        if let Some((place, _)) = rows.iter().enumerate().find(|(place, (index, _))| *place as u64 != *index) {
            return Err(format!("indices are not 0 to {}: {place} is missing", rows.len() - 1));
        }
        Ok(rows.into_iter().map(|(_, row)| row).collect())
    }

    /// Refused for the request's own fault.
    pub(super) fn refused(&self) -> Result<String, String> {
        if (400..500).contains(&self.status) { Ok(self.status.to_string()) } else { Err(format!("not refused: {}", self.told())) }
    }

    pub(super) fn told(&self) -> String {
        format!("{}: {}", self.status, self.beginning())
    }

    fn beginning(&self) -> String {
        self.text.chars().take(200).collect()
    }
}

/// Numbers, or little-endian f32 as base64.
pub(super) fn floats(value: &Value) -> Result<Vec<f32>, String> {
    match value {
        Value::String(text) => {
            let bytes = BASE64_STANDARD.decode(text).map_err(|error| format!("no base64: {error}"))?;
            let (values, rest) = bytes.as_chunks::<4>();
            if rest.is_empty() {
                Ok(values.iter().map(|value| f32::from_le_bytes(*value)).collect())
            } else {
                Err("no whole floats".into())
            }
        }
        Value::Array(numbers) => {
            let number = |value: &Value| value.as_f64().map(|number| number as f32).ok_or_else(|| format!("`{value}` in a vector"));
            numbers.iter().map(number).collect()
        }
        other => Err(format!("a vector is {other}")),
    }
}

pub(super) fn cosine(one: &[f32], other: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    dot(one, other) / (dot(one, one) * dot(other, other)).sqrt()
}
