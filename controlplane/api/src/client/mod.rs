//! Typed HTTP client of the control plane. Each file adds the calls of one kind of caller: people ([`experiments`], [`files`])
//! and agents ([`agent`]).

pub mod agent;
pub mod experiments;
pub mod files;

use std::time::Duration;

use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::de::DeserializeOwned;
use url::Url;

use crate::problem::Problem;

/// A control plane at an address, spoken to with a bearer token. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {
    base: Url,
    token: Option<String>,
    http: reqwest::Client,
}

#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The server answered with a problem: what it says is for the user.
    #[error("{} (HTTP {})", .0.detail, .0.status)]
    Problem(Box<Problem>),
    /// No answer: not started, gone, or out of reach. Safe to try again.
    #[error("the control plane at {url} does not answer")]
    Unreachable {
        url: String,
        #[source]
        source: reqwest::Error,
    },
    #[error("the answer of {url} is not what this version understands")]
    Answer {
        url: String,
        #[source]
        source: reqwest::Error,
    },
    #[error("`{0}` is not a web address; write for example http://127.0.0.1:8080")]
    Address(String),
}

impl ClientError {
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Problem(problem) => Some(problem),
            _ => None,
        }
    }
}

impl Client {
    /// `base`: the server's address; its path, if any, is kept as a prefix. Requests end after 30 s, streams excepted.
    pub fn new(base: &str, token: Option<String>) -> Result<Self, ClientError> {
        let fail = || ClientError::Address(base.to_owned());
        let mut url: Url = base.parse().map_err(|_| fail())?;
        if url.cannot_be_a_base() {
            return Err(fail());
        }
        if !url.path().ends_with('/') {
            url.set_path(&format!("{}/", url.path()));
        }
        let http = reqwest::Client::builder().connect_timeout(Duration::from_secs(5)).build().map_err(|_| fail())?;
        Ok(Self { base: url, token, http })
    }

    pub fn base(&self) -> &Url {
        &self.base
    }

    /// A request to `path` (no leading slash), authorised.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = self.base.join(path).unwrap_or_else(|_| self.base.clone());
        let request = self.http.request(method, url).timeout(Duration::from_secs(30));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// Sends, and turns everything but success into an error.
    pub(crate) async fn send(&self, request: RequestBuilder) -> Result<Response, ClientError> {
        let response = request.send().await.map_err(|source| ClientError::Unreachable { url: self.base.to_string(), source })?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        Err(ClientError::Problem(Box::new(read_problem(status, response).await)))
    }

    pub(crate) async fn json<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, ClientError> {
        let response = self.send(request).await?;
        let url = response.url().to_string();
        response.json().await.map_err(|source| ClientError::Answer { url, source })
    }

    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.json(self.request(Method::GET, path)).await
    }
}

/// A proxy in between may answer something else than problem+json: the user still gets a sentence.
async fn read_problem(status: StatusCode, response: Response) -> Problem {
    let text = response.text().await.unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_else(|_| {
        let start: String = text.chars().take(200).collect();
        let title = status.canonical_reason().unwrap_or("error");
        Problem::new(status.as_u16(), "unexpected_answer", title, format!("the server answered {status}: {start}"))
    })
}
