//! Calls that agents make: claim, records, measurements. Errors are sorted by what the agent does next, so that nobody
//! has to look at status codes again.

use reqwest::{Method, RequestBuilder, Response, StatusCode, header};

use super::{Client, ClientError};
use crate::agent::{ClaimAnswer, ClaimRequest, RecordAnswer, RecordBatch};
use crate::problem::Problem;
use crate::{AttemptId, TrialId};

/// 409 on a claim: another agent has this attempt.
pub const ALREADY_CLAIMED: &str = "already_claimed";
/// 409 on everything: a later epoch of this attempt has taken over.
pub const FENCED: &str = "fenced";
/// 409 on a measurement or record: another body came first for the same key.
pub const CONFLICT: &str = "conflict";

#[derive(Debug, thiserror::Error)]
pub enum AgentCallError {
    /// Leave before any GPU work.
    #[error("another agent holds this attempt: {0}")]
    AlreadyClaimed(String),
    /// Stop: a later run of this job works on the attempt.
    #[error("a later epoch of this attempt has taken over: {0}")]
    Fenced(String),
    /// Another body was accepted first; ours is kept as evidence and not asked for again.
    #[error("the control plane has another body for this key: {0}")]
    Conflict(String),
    /// Not reachable or not able right now: try again later.
    #[error(transparent)]
    Unavailable(ClientError),
    /// Trying the same again will not help.
    #[error(transparent)]
    Refused(ClientError),
}

impl Client {
    /// Asks for the attempt. Safe to repeat with the same `boot_nonce`.
    pub async fn claim(&self, request: &ClaimRequest) -> Result<ClaimAnswer, AgentCallError> {
        let path = format!("agent/attempts/{}/claim", request.attempt);
        self.agent_json(self.request(Method::POST, &path).json(request)).await
    }

    /// Posts records; an empty batch is a heartbeat. Safe to repeat: the first accepted body of each seq wins.
    pub async fn post_records(&self, attempt: AttemptId, batch: &RecordBatch) -> Result<RecordAnswer, AgentCallError> {
        let path = format!("agent/attempts/{attempt}/records");
        self.agent_json(self.request(Method::POST, &path).json(batch)).await
    }

    /// Hands in `json`, a serialised [`Measurement`](crate::measurement::Measurement). Bytes, not the type: what is sent is
    /// exactly what lies in the spool, so a repetition has an equal body and is accepted again.
    pub async fn put_measurement(&self, attempt: AttemptId, trial: TrialId, json: Vec<u8>) -> Result<(), AgentCallError> {
        let path = format!("agent/attempts/{attempt}/trials/{trial}/measurement");
        let request = self.request(Method::PUT, &path).header(header::CONTENT_TYPE, "application/json").body(json);
        self.agent_send(request).await.map(drop)
    }

    async fn agent_json<T: serde::de::DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, AgentCallError> {
        let response = self.agent_send(request).await?;
        let url = response.url().to_string();
        response.json().await.map_err(|source| AgentCallError::Unavailable(ClientError::Answer { url, source }))
    }

    async fn agent_send(&self, request: RequestBuilder) -> Result<Response, AgentCallError> {
        self.send(request).await.map_err(sort)
    }
}

fn sort(error: ClientError) -> AgentCallError {
    match error {
        ClientError::Problem(problem) => sort_problem(problem),
        ClientError::Address(_) => AgentCallError::Refused(error),
        ClientError::Unreachable { .. } | ClientError::Answer { .. } => AgentCallError::Unavailable(error),
    }
}

fn sort_problem(problem: Box<Problem>) -> AgentCallError {
    let passing = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_EARLY, StatusCode::TOO_MANY_REQUESTS];
    match (problem.status, problem.code.as_str()) {
        (409, ALREADY_CLAIMED) => AgentCallError::AlreadyClaimed(problem.detail),
        (409, FENCED) => AgentCallError::Fenced(problem.detail),
        (409, _) => AgentCallError::Conflict(problem.detail),
        (status, _) if status >= 500 || passing.iter().any(|passing| passing.as_u16() == status) => {
            AgentCallError::Unavailable(ClientError::Problem(problem))
        }
        _ => AgentCallError::Refused(ClientError::Problem(problem)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(status: u16, code: &str) -> AgentCallError {
        sort(ClientError::Problem(Box::new(Problem::new(status, code, "title", "detail"))))
    }

    #[test]
    fn answers_are_sorted_by_what_the_agent_does_next() {
        assert!(matches!(sorted(409, ALREADY_CLAIMED), AgentCallError::AlreadyClaimed(_)));
        assert!(matches!(sorted(409, FENCED), AgentCallError::Fenced(_)));
        assert!(matches!(sorted(409, CONFLICT), AgentCallError::Conflict(_)));
        for status in [408, 429, 500, 502, 503] {
            assert!(matches!(sorted(status, "x"), AgentCallError::Unavailable(_)), "{status}");
        }
        for status in [400, 401, 403, 404, 413, 422] {
            assert!(matches!(sorted(status, "x"), AgentCallError::Refused(_)), "{status}");
        }
    }
}
