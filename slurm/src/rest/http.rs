//! One HTTP call to slurmrestd with a deadline, and what is known about a call that got no answer: whether it was sent at all.

use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method, Response, StatusCode};
use serde_json::Value;
use tokio::time::timeout;

use super::settings::{RestEndpoint, RestError, RestSettings};
use super::token::Token;

const USER: HeaderName = HeaderName::from_static("x-slurm-user-name");
const TOKEN: HeaderName = HeaderName::from_static("x-slurm-user-token");

/// Far above what 50,000 jobs take.
const LONGEST_ANSWER: usize = 512 * 1024 * 1024;

/// slurmrestd drops idle connections; a submission on one of those would be ambiguous for nothing.
const IDLE: Duration = Duration::from_secs(5);

pub(super) struct Http {
    client: Client,
    base: String,
    user: HeaderValue,
    token: Option<Token>,
    timeout: Duration,
}

pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Vec<u8>,
}

impl Answer {
    /// slurmrestd has no such path (its answer is plain text), unlike "no such job" (JSON).
    pub(super) fn unknown_path(&self) -> bool {
        self.status == StatusCode::NOT_FOUND && !self.body.trim_ascii_start().starts_with(b"{")
    }
}

#[derive(Debug)]
pub(super) enum CallError {
    /// Nothing was asked of Slurm: no connection, no token, or slurmrestd turned us away before it read the request.
    NotSent(String),
    TimedOut {
        after: Duration,
    },
    /// It may have been read and done.
    Lost(String),
}

impl Http {
    pub(super) fn new(settings: &RestSettings) -> Result<Self, RestError> {
        let client = Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .connect_timeout((settings.timeout / 2).min(Duration::from_secs(10)))
            .pool_idle_timeout(IDLE);
        let (client, base) = match &settings.endpoint {
            RestEndpoint::Socket(path) => (client.unix_socket(path.clone()), "http://slurmrestd".to_owned()),
            RestEndpoint::Url(url) => {
                let known = url.starts_with("http://") || url.starts_with("https://");
                if !known || reqwest::Url::parse(url).is_err() {
                    return Err(RestError::Address { url: url.clone() });
                }
                (client, url.trim_end_matches('/').to_owned())
            }
        };
        let user = HeaderValue::from_str(&settings.user).map_err(|_| RestError::User { user: settings.user.clone() })?;
        let token = settings.token.clone().map(|source| Token::new(source, settings.timeout));
        Ok(Self { client: client.build().map_err(RestError::Http)?, base, user, token, timeout: settings.timeout })
    }

    /// A call that may be made twice.
    pub(super) async fn get(&self, path: &str) -> Result<Answer, CallError> {
        self.repeatable(Method::GET, path).await
    }

    pub(super) async fn delete(&self, path: &str) -> Result<Answer, CallError> {
        self.repeatable(Method::DELETE, path).await
    }

    pub(super) async fn post(&self, path: &str, body: &Value) -> Result<Answer, CallError> {
        self.call(Method::POST, path, Some(body)).await
    }

    /// The token that was used may be the cause of a failure that slurmrestd does not explain.
    pub(super) async fn suspect_token(&self) {
        if let Some(token) = &self.token {
            token.refused().await;
        }
    }

    /// A connection kept from before may be closed by now.
    async fn repeatable(&self, method: Method, path: &str) -> Result<Answer, CallError> {
        match self.call(method.clone(), path, None).await {
            Err(CallError::Lost(_)) => self.call(method, path, None).await,
            answer => answer,
        }
    }

    async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Answer, CallError> {
        let attempts = async {
            let answer = self.attempt(method.clone(), path, body).await?;
            // slurmrestd itself: the request went no further.
            let renewed = match &self.token {
                Some(token) if answer.status == StatusCode::UNAUTHORIZED => token.refused().await,
                _ => false,
            };
            let answer = if renewed { self.attempt(method, path, body).await? } else { answer };
            if answer.status == StatusCode::UNAUTHORIZED {
                return Err(CallError::NotSent(format!("slurmrestd does not accept who we are: {}", words(&answer.body))));
            }
            Ok(answer)
        };
        timeout(self.timeout, attempts).await.unwrap_or(Err(CallError::TimedOut { after: self.timeout }))
    }

    async fn attempt(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Answer, CallError> {
        let mut headers = HeaderMap::new();
        if let Some(token) = &self.token {
            headers.insert(USER, self.user.clone());
            headers.insert(TOKEN, token.header().await.map_err(CallError::NotSent)?);
        }
        let mut request = self.client.request(method, format!("{}{path}", self.base)).headers(headers);
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.map_err(|error| {
            let text = causes(&error);
            if error.is_connect() || error.is_builder() { CallError::NotSent(text) } else { CallError::Lost(text) }
        })?;
        Ok(Answer { status: response.status(), body: read(response).await.map_err(CallError::Lost)? })
    }
}

async fn read(mut response: Response) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| causes(&error))? {
        if body.len() + chunk.len() > LONGEST_ANSWER {
            return Err(format!("the answer is longer than {LONGEST_ANSWER} bytes"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// reqwest says only the outermost cause.
fn causes(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

/// The beginning of an answer that is no JSON.
pub(super) fn words(body: &[u8]) -> String {
    String::from_utf8_lossy(body).trim().chars().take(300).collect()
}
