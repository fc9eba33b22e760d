//! Requests byte by byte: what no well-behaved client can send.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use em_api::problem::{CONTENT_TYPE, Problem};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::server::Server;

pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: String,
}

impl Server {
    pub(super) fn address(&self) -> SocketAddr {
        self.url.trim_start_matches("http://").parse().unwrap()
    }

    /// Sends the admin's request: a head with these lines, then the body as it is.
    pub(super) async fn raw(&self, method: &str, path: &[u8], lines: &[(&str, &[u8])], body: &[u8]) -> Option<Reply> {
        let mut request =
            [method.as_bytes(), b" ", path, b" HTTP/1.1\r\nHost: em\r\nConnection: close\r\nAuthorization: Bearer "].concat();
        request.extend_from_slice(self.admin.as_bytes());
        request.extend_from_slice(b"\r\n");
        for (name, value) in lines {
            request.extend_from_slice(&[name.as_bytes(), b": ", value, b"\r\n"].concat());
        }
        request.extend_from_slice(b"\r\n");
        request.extend_from_slice(body);
        exchange(self.address(), request).await
    }
}

/// `None`: the server hung up without a word.
pub(super) async fn exchange(address: SocketAddr, request: Vec<u8>) -> Option<Reply> {
    let (mut reader, mut writer) = TcpStream::connect(address).await.unwrap().into_split();
    // The server may answer before it has read everything, and hang up on the rest.
    let send = tokio::spawn(async move {
        let _ = writer.write_all(&request).await;
        writer
    });
    let mut answer = Vec::new();
    let read = async {
        let mut chunk = [0; 4096];
        while let Ok(size @ 1..) = reader.read(&mut chunk).await {
            answer.extend_from_slice(&chunk[..size]);
        }
    };
    tokio::time::timeout(Duration::from_secs(60), read).await.expect("the server answers or hangs up");
    send.abort();
    let text = String::from_utf8_lossy(&answer);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut lines = head.lines();
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let pair = |line: &str| line.split_once(':').map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()));
    Some(Reply { status, headers: lines.filter_map(pair).collect(), body: body.to_owned() })
}

impl Reply {
    /// What is wrong with this as a refusal, if anything: a 4xx with this code, as problem+json.
    pub(super) fn differs_from(&self, status: u16, code: &str) -> Option<String> {
        let shown = || format!("{} {}", self.status, self.body.chars().take(300).collect::<String>());
        let kind = self.headers.get("content-type").map(String::as_str);
        let Ok(problem) = serde_json::from_str::<Problem>(&self.body) else { return Some(format!("no problem: {}", shown())) };
        let fits = (self.status, kind, problem.status, problem.code.as_str()) == (status, Some(CONTENT_TYPE), status, code);
        let speaks = !problem.detail.is_empty() && !problem.detail.chars().any(char::is_control) && problem.detail.len() < 2_000;
        (!(fits && speaks)).then(|| format!("expected {status} {code}: {}", shown()))
    }
}
