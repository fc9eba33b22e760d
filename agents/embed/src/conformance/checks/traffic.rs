//! Many clients, leaving clients, slow clients: answers never mix, and nobody harms the next one.

use std::time::Duration;

use futures_util::future::try_join_all;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Check, Finding, Seen, Subject, checks, fine};

const CLIENTS: usize = 32;

pub(super) fn all() -> Vec<Check> {
    checks![
        many_at_once_get_their_own_answers,
        many_follow_on_one_connection,
        clients_that_leave_harm_nobody,
        half_a_request_harms_nobody,
        chunks_are_a_body_too,
        no_server_error_was_seen,
    ]
}

fn text(client: usize) -> String {
    format!("Client {client} asks about {}.", ["rivers", "engines", "bread", "elections", "glaciers"][client % 5])
}

async fn many_at_once_get_their_own_answers(subject: &Subject) -> Seen {
    let texts: Vec<String> = (0..CLIENTS).map(text).collect();
    let right = subject.vectors(&texts).await?;
    let (answers, took) = Subject::timed(try_join_all(texts.iter().map(|text| subject.vector(text)))).await;
    for (client, (own, right)) in answers?.iter().zip(&right).enumerate() {
        subject.same(&format!("client {client}"), own, right)?;
    }
    fine(format!("{CLIENTS} clients in {:.2} s", took.as_secs_f64()))
}

async fn many_follow_on_one_connection(subject: &Subject) -> Seen {
    let right = subject.vector(&text(0)).await?;
    for _ in 0..8 {
        subject.same("one after the other", &subject.vector(&text(0)).await?, &right)?;
    }
    fine("8 requests")
}

async fn clients_that_leave_harm_nobody(subject: &Subject) -> Seen {
    let right = subject.vector(&text(1)).await?;
    let work: Vec<String> = (0..24).map(|number| format!("{number} {}", "a longer text to work on ".repeat(8))).collect();
    let body = subject.body(work).to_string().into_bytes();
    let leave = |number: u64| {
        let request = subject.open("/v1/embeddings", body.clone());
        async move {
            let _ = tokio::time::timeout(Duration::from_millis(20 + 15 * number), request.send()).await;
        }
    };
    futures_util::future::join_all((0..4).map(leave)).await;
    let (answer, took) = Subject::timed(subject.vector(&text(1))).await;
    subject.same("after four clients left", &answer?, &right)?;
    fine(format!("the next answer came after {:.2} s", took.as_secs_f64()))
}

/// Announces more than it sends, then leaves.
async fn half_a_request_harms_nobody(subject: &Subject) -> Seen {
    let Some((address, host)) = plain_address(subject) else { return Ok(Finding::Skipped("not over TLS".into())) };
    let right = subject.vector(&text(2)).await?;
    for _ in 0..4 {
        let mut stream = TcpStream::connect(&address).await.map_err(|error| error.to_string())?;
        let head = format!(
            "POST /v1/embeddings HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{{\"inp"
        );
        stream.write_all(head.as_bytes()).await.map_err(|error| error.to_string())?;
        stream.flush().await.map_err(|error| error.to_string())?;
    }
    subject.same("after half requests", &subject.vector(&text(2)).await?, &right)?;
    fine("")
}

async fn chunks_are_a_body_too(subject: &Subject) -> Seen {
    let Some((address, host)) = plain_address(subject) else { return Ok(Finding::Skipped("not over TLS".into())) };
    let body = json!({"model": subject.model, "input": text(3)}).to_string();
    let (one, other) = body.split_at(body.len() / 2);
    let chunk = |part: &str| format!("{:x}\r\n{part}\r\n", part.len());
    let request = format!(
        "POST /v1/embeddings HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n{}{}0\r\n\r\n",
        chunk(one),
        chunk(other)
    );
    let exchange = async {
        let mut stream = TcpStream::connect(&address).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    let answer = tokio::time::timeout(Duration::from_secs(30), exchange).await.map_err(|_| "no answer within 30 s")?;
    let answer = answer.map_err(|error| error.to_string())?;
    let first = String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned();
    if first.contains(" 200") { fine("") } else { Err(format!("`{first}`")) }
}

/// `host:port` to connect to, and the Host header. `None`: TLS, or a key is needed, which only the client carries.
fn plain_address(subject: &Subject) -> Option<(String, String)> {
    let url = reqwest::Url::parse(&subject.base_url).ok().filter(|url| url.scheme() == "http" && subject.is_open())?;
    let host = format!("{}:{}", url.host_str()?, url.port_or_known_default()?);
    Some((host.clone(), host))
}

/// 503 and 429 are an overloaded server's right; anything else is a fault that a request of this suite brought about.
async fn no_server_error_was_seen(subject: &Subject) -> Seen {
    let statuses = subject.statuses();
    let faults: Vec<String> = statuses
        .iter()
        .filter(|(status, _)| **status >= 500 && **status != 503)
        .map(|(status, count)| format!("{count} × {status}"))
        .collect();
    let told = statuses.iter().map(|(status, count)| format!("{count} × {status}")).collect::<Vec<_>>().join(", ");
    if faults.is_empty() { fine(told) } else { Err(faults.join(", ")) }
}
