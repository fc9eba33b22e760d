//! Asking a server what it is: whether it answers, its first vector, its versions.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use base64::Engine as _;
use em_api::spec::{BackendKind, Wire};
use serde_json::{Map, Value, json};

use super::key::{ApiKey, KeySource};
use super::{Launch, command};

const HEALTH_TIMEOUT: Duration = Duration::from_secs(2);
const FIRST_TEXT: &str = "Readiness is a vector, not a port.";

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Facts {
    pub(super) versions: BTreeMap<String, String>,
    pub(super) settings: BTreeMap<String, String>,
}

pub(super) struct Probe {
    client: reqwest::Client,
    base_url: String,
    kind: BackendKind,
    wire: Wire,
    model: String,
    api_key: Option<ApiKey>,
    fields: Map<String, Value>,
}

impl Probe {
    /// Errors: in words (an API key file that cannot be read).
    pub(super) fn new(launch: &Launch, base_url: String) -> Result<Self, String> {
        let api_key = KeySource::of(&launch.backend).read()?;
        let client = match launch.backend.url {
            Some(_) => reqwest::Client::builder(),
            // A site's proxy has no business between us and our own child.
            None => reqwest::Client::builder().no_proxy(),
        };
        Ok(Self {
            client: client.build().map_err(|error| format!("cannot make an HTTP client: {error}"))?,
            base_url,
            kind: launch.backend.kind,
            wire: launch.wire,
            model: launch.model.id.clone(),
            api_key,
            fields: command::request_fields(launch.backend.kind),
        })
    }

    pub(super) async fn healthy(&self) -> bool {
        let routes: &[&str] = if self.kind == BackendKind::Openai { &["/health", "/v1/models"] } else { &["/health"] };
        for route in routes {
            let answer = self.request(self.client.get(format!("{}{route}", self.base_url))).timeout(HEALTH_TIMEOUT).send().await;
            match answer.map(|answer| answer.status().as_u16()) {
                Ok(200..=299) => return true,
                // It answers, and the first vector will say what is wrong with the key; some have neither route.
                Ok(401 | 403 | 404) if self.kind == BackendKind::Openai && route == &"/v1/models" => return true,
                _ => {}
            }
        }
        false
    }

    /// The dimension of a first vector in the wire's form. Errors: what was wrong with the answer.
    pub(super) async fn first_vector(&self, deadline: Instant) -> Result<usize, String> {
        let mut body = match self.wire {
            Wire::OpenaiFloat => json!({"model": self.model, "input": [FIRST_TEXT]}),
            Wire::OpenaiBase64 => json!({"model": self.model, "input": [FIRST_TEXT], "encoding_format": "base64"}),
            Wire::Embed => json!({"texts": [FIRST_TEXT]}),
            Wire::Tei => json!({"inputs": [FIRST_TEXT]}),
        };
        body.as_object_mut().into_iter().for_each(|body| body.extend(self.fields.clone()));
        let request = self.request(self.client.post(endpoint(&self.base_url, self.wire)).json(&body));
        let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_secs(1));
        let answer = request.timeout(left).send().await.map_err(|error| format!("the first vector did not come: {error}"))?;
        let status = answer.status();
        let text = answer.text().await.map_err(|error| format!("the first vector did not come: {error}"))?;
        if !status.is_success() {
            let text = self.api_key.as_ref().map_or_else(|| text.clone(), |key| key.redacted(&text));
            let words: String = text.chars().take(500).collect();
            let cure = match (status.as_u16(), &self.api_key) {
                (401 | 403, None) => " (name its key by apiKeyFile or apiKeyEnv)",
                (401 | 403, Some(_)) => " (the key of apiKeyFile or apiKeyEnv is not the right one)",
                _ => "",
            };
            return Err(format!("the first request for a vector was answered {status}{cure}: {words}"));
        }
        let value: Value = serde_json::from_str(&text).map_err(|error| format!("the first answer is no JSON: {error}"))?;
        let vector = vector_of(&value, self.wire).ok_or("the first answer holds no vector in the form of load.wire")?;
        if vector.is_empty() || !vector.iter().all(|number| number.is_finite()) {
            return Err(format!("the first vector ({} numbers) is empty or holds NaN or infinity", vector.len()));
        }
        Ok(vector.len())
    }

    /// What the server says of itself: versions, and settings for the environment capsule. Empty where it says nothing.
    pub(super) async fn facts(&self) -> Facts {
        let route = match self.kind {
            BackendKind::Vllm => "/version",
            _ => "/info",
        };
        let answer = self.request(self.client.get(format!("{}{route}", self.base_url))).timeout(HEALTH_TIMEOUT).send().await;
        let Ok(answer) = answer else { return Facts::default() };
        let Ok(text) = answer.text().await else { return Facts::default() };
        let facts = |info: Value| Facts { versions: versions_of(self.kind, &info), settings: settings_of(self.kind, &info) };
        serde_json::from_str(&text).map(facts).unwrap_or_default()
    }

    fn request(&self, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        match &self.api_key {
            Some(key) => request.bearer_auth(key.expose()),
            None => request,
        }
    }
}

pub(super) fn endpoint(base_url: &str, wire: Wire) -> String {
    match wire {
        Wire::OpenaiFloat | Wire::OpenaiBase64 => format!("{base_url}/v1/embeddings"),
        Wire::Embed | Wire::Tei => format!("{base_url}/embed"),
    }
}

/// People give OpenAI addresses with and without `/v1`.
pub(crate) fn base_of(url: &str) -> String {
    let url = url.trim_end_matches('/');
    url.strip_suffix("/v1").unwrap_or(url).to_owned()
}

fn vector_of(answer: &Value, wire: Wire) -> Option<Vec<f64>> {
    match wire {
        Wire::OpenaiFloat => numbers(answer.pointer("/data/0/embedding")?),
        Wire::OpenaiBase64 => {
            let bytes = base64::engine::general_purpose::STANDARD.decode(answer.pointer("/data/0/embedding")?.as_str()?).ok()?;
            let (floats, rest) = bytes.as_chunks::<4>();
            rest.is_empty().then(|| floats.iter().map(|bytes| f64::from(f32::from_le_bytes(*bytes))).collect())
        }
        Wire::Embed => numbers(answer.pointer("/embeddings/0")?),
        Wire::Tei => numbers(answer.get(0)?),
    }
}

fn numbers(value: &Value) -> Option<Vec<f64>> {
    value.as_array()?.iter().map(Value::as_f64).collect()
}

fn versions_of(kind: BackendKind, info: &Value) -> BTreeMap<String, String> {
    let text = |pointer: &str| info.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    let one = |name: &str, pointer: &str| text(pointer).map(|version| (name.to_owned(), version));
    match kind {
        BackendKind::Vllm => one("vllm", "/version").into_iter().collect(),
        BackendKind::Tei => one("tei", "/version").into_iter().collect(),
        BackendKind::Ort => one("em-agent", "/version").into_iter().chain(one("onnxruntime", "/engine/runtime")).collect(),
        BackendKind::Huggingface => {
            let versions = info.get("versions").and_then(Value::as_object).into_iter().flatten();
            versions.filter_map(|(name, version)| Some((name.clone(), version.as_str()?.to_owned()))).collect()
        }
        BackendKind::Openai => BTreeMap::new(),
    }
}

/// What changes speed or vectors, flat, as the server names it.
fn settings_of(kind: BackendKind, info: &Value) -> BTreeMap<String, String> {
    let place = match kind {
        BackendKind::Huggingface => "/settings",
        BackendKind::Ort => "/engine",
        BackendKind::Tei => "",
        BackendKind::Vllm | BackendKind::Openai => return BTreeMap::new(),
    };
    let fields = info.pointer(place).and_then(Value::as_object).into_iter().flatten();
    let shown = fields.filter_map(|(name, value)| {
        let value = match value {
            Value::String(text) => text.clone(),
            Value::Number(_) | Value::Bool(_) => value.to_string(),
            _ => return None,
        };
        Some((name.clone(), value))
    });
    shown.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vector_is_found_in_each_form() {
        let base64 = base64::engine::general_purpose::STANDARD.encode([0.5_f32.to_le_bytes(), (-2.0_f32).to_le_bytes()].concat());
        for (wire, answer) in [
            (Wire::OpenaiFloat, json!({"data": [{"embedding": [0.5, -2.0]}]})),
            (Wire::OpenaiBase64, json!({"data": [{"embedding": base64}]})),
            (Wire::Embed, json!({"embeddings": [[0.5, -2.0]]})),
            (Wire::Tei, json!([[0.5, -2.0]])),
        ] {
            assert_eq!(vector_of(&answer, wire), Some(vec![0.5, -2.0]), "{wire:?}");
        }
        assert_eq!(vector_of(&json!({"data": [{"embedding": [0.5, null]}]}), Wire::OpenaiFloat), None, "null stands for NaN");
        assert_eq!(vector_of(&json!({"data": [{"embedding": "AAAA"}]}), Wire::OpenaiBase64), None, "three bytes are no float");
    }

    #[test]
    fn an_address_may_end_in_v1() {
        for url in ["http://host:1/v1", "http://host:1/v1/", "http://host:1", "http://host:1/"] {
            assert_eq!(endpoint(&base_of(url), Wire::OpenaiFloat), "http://host:1/v1/embeddings");
        }
    }
}
