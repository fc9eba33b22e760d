//! A client that costs as little as it can: it shares the cores with the server that it measures. HTTP/1.1, one request at a time.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub(crate) struct Client {
    stream: TcpStream,
    token: String,
    received: Vec<u8>,
}

impl Client {
    pub(crate) async fn connect(server: SocketAddr, token: &str) -> Self {
        let stream = TcpStream::connect(server).await.expect("the server listens");
        stream.set_nodelay(true).expect("a TCP socket");
        Self { stream, token: token.to_owned(), received: Vec::new() }
    }

    pub(crate) async fn get(&mut self, path: &str) -> (u16, String) {
        self.ask("GET", path, "").await
    }

    /// Status and body.
    pub(crate) async fn ask(&mut self, method: &str, path: &str, body: &str) -> (u16, String) {
        self.try_to_ask(method, path, body).await.expect("the server answers")
    }

    /// `None`: the server went away before its answer was whole.
    pub(crate) async fn try_to_ask(&mut self, method: &str, path: &str, body: &str) -> Option<(u16, String)> {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            self.token,
            body.len()
        );
        self.stream.write_all(request.as_bytes()).await.ok()?;
        self.received.clear();
        loop {
            if let Some((status, from, length)) = head(&self.received)
                && self.received.len() >= from + length
            {
                return Some((status, String::from_utf8_lossy(&self.received[from..from + length]).into_owned()));
            }
            if self.stream.read_buf(&mut self.received).await.ok()? == 0 {
                return None;
            }
        }
    }
}

/// Status, where the body begins, and its length.
fn head(received: &[u8]) -> Option<(u16, usize, usize)> {
    let end = received.windows(4).position(|four| four == b"\r\n\r\n")?;
    let text = std::str::from_utf8(&received[..end]).expect("heads are text");
    let status = text.split(' ').nth(1)?.parse().ok()?;
    let length = text.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok())?;
    Some((status, end + 4, length))
}
