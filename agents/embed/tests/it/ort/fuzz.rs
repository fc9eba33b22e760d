//! Whatever is sent, the server lives, says 4xx to what is wrong and 503 or 429 at most to what is right, keeps its memory,
//! and answers the next good request as before. EM_FUZZ_REQUESTS: how many (`make test-fuzz`: 10,000).

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::process::Server;
use super::tiny::Model;

/// xorshift64*: the same requests for the same seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, end: u64) -> u64 {
        (self.next() >> 16) % end
    }

    fn one_of<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.below(all.len() as u64) as usize].clone()
    }

    fn text(&mut self) -> String {
        let words = self.one_of(&[1, 1, 3, 10, 30, 400]);
        let word = |random: &mut Self| match random.below(8) {
            0 => random.one_of(&["漢字", "\u{202e}", "🧑‍🚀", "\u{0}", "ﷺ", "\u{fffd}", "\\", "\"", "\u{301}"]).to_owned(),
            1 => "x".repeat(random.below(300) as usize),
            _ => format!("w{}", random.below(60)),
        };
        (0..words).map(|_| word(self)).collect::<Vec<_>>().join(" ")
    }

    fn value(&mut self, depth: u64) -> Value {
        match self.below(if depth > 3 { 6 } else { 8 }) {
            0 => Value::Null,
            1 => json!(self.below(2) == 0),
            2 => json!(self.below(100) as i64 - 50),
            3 => json!(self.next() as f64 * 1e100),
            4 => json!(self.next()),
            5 => json!(self.text()),
            6 => (0..self.below(6)).map(|_| self.value(depth + 1)).collect(),
            _ => json!({ self.one_of(&["texts", "input", "a"]): self.value(depth + 1) }),
        }
    }

    fn body(&mut self) -> Vec<u8> {
        let texts: Vec<String> = (0..self.one_of(&[1, 1, 2, 8, 40])).map(|_| self.text()).collect();
        let ids: Vec<Vec<u64>> = (0..1 + self.below(4)).map(|_| (0..self.below(50)).map(|_| self.below(60)).collect()).collect();
        let mut body = match self.below(5) {
            0 => json!({"texts": texts}),
            1 => json!({"input": texts}),
            2 => json!({"input": self.text()}),
            3 => json!({"input": ids}),
            _ => self.value(0),
        };
        if let (Value::Object(object), true) = (&mut body, self.below(4) == 0) {
            let field = self.one_of(&["model", "encoding_format", "dimensions", "truncate", "user", "texts", "input"]);
            let value = match self.below(3) {
                0 => self.one_of(&[json!("base64"), json!("float"), json!(3), json!("tiny"), json!(true), json!(false)]),
                _ => self.value(2),
            };
            object.insert(field.into(), value);
        }
        let mut bytes = body.to_string().into_bytes();
        match self.below(16) {
            0 => bytes.truncate(self.below(bytes.len() as u64 + 1) as usize),
            1 if !bytes.is_empty() => {
                let place = self.below(bytes.len() as u64) as usize;
                bytes[place] = self.next() as u8;
            }
            2 => bytes = (0..self.below(3000)).map(|_| self.next() as u8).collect(),
            3 => bytes = [b"[".repeat(self.below(5000) as usize), b"{\"texts\":".repeat(300)].concat(),
            4 => bytes.resize(self.one_of(&[0, 1, 19_999, 20_001, 300_000]), b' '),
            _ => {}
        }
        bytes
    }

    /// A request on the wire, and how much of it is sent before the client leaves; `None`: it waits for the answer.
    fn request(&mut self) -> (Vec<u8>, Option<usize>) {
        let body = self.body();
        let path = self.one_of(&["/embed", "/embed", "/v1/embeddings", "/v1/embeddings", "/tokenize", "/health", "/metrics", "/x"]);
        let method = if self.below(8) == 0 { self.one_of(&["GET", "PUT", "DELETE"]) } else { "POST" };
        let length = match self.below(20) {
            0 => body.len() + self.below(100) as usize,
            1 => body.len() / 2,
            _ => body.len(),
        };
        let short = length > body.len();
        let extra = self.one_of(&[
            "",
            "",
            "",
            "accept: application/octet-stream\r\n",
            "x-request-timeout: 0.001\r\n",
            "x-request-timeout: 5\r\n",
            "x-request-timeout: -1\r\n",
            "content-type: text/plain\r\n",
            "content-encoding: gzip\r\n",
            "expect: 100-continue\r\n",
        ]);
        let head = format!("{method} {path} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n{extra}content-length: {length}\r\n\r\n");
        let whole = [head.into_bytes(), body].concat();
        let leaves = (self.below(5) == 0).then(|| self.below(whole.len() as u64 + 1) as usize);
        let sent = whole.len();
        // What never comes whole is waited for in vain.
        (whole, leaves.or(short.then_some(sent)))
    }
}

/// The status, if the client stayed for it and the server did not hang up on bytes that are no HTTP.
async fn send(address: &str, whole: Vec<u8>, leaves: Option<usize>) -> Option<u16> {
    let mut stream = TcpStream::connect(address).await.expect("the server accepts");
    // It may refuse and close before it has read everything.
    let _ = stream.write_all(&whole[..leaves.unwrap_or(whole.len())]).await;
    if leaves.is_some() {
        return None;
    }
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(120), stream.read_to_end(&mut answer)).await;
    assert!(read.is_ok() || !answer.is_empty(), "no answer to {:?}", String::from_utf8_lossy(&whole[..whole.len().min(400)]));
    let line = String::from_utf8_lossy(&answer[..answer.len().min(12)]).into_owned();
    line.strip_prefix("HTTP/1.1 ").and_then(|status| status.parse().ok())
}

#[tokio::test]
async fn random_requests_and_clients_that_leave_do_no_harm() {
    let count = std::env::var("EM_FUZZ_REQUESTS").map_or(400, |count| count.parse().expect("EM_FUZZ_REQUESTS is a number"));
    let seed = std::env::var("EM_FUZZ_SEED").map_or(1, |seed| seed.parse().expect("EM_FUZZ_SEED is a number"));
    let model = Model::new(1);
    let server = Server::start(model.dir(), &["--body-limit", "200000", "--max-queue", "60"]);
    let address = server.url.trim_start_matches("http://").to_owned();
    let good = json!({"texts": ["w1 w2 w3", "w4"]});
    let before = server.post("/embed", &good).await;

    let mut random = Random(0x9E37_79B9_7F4A_7C15 ^ seed);
    let mut statuses: BTreeMap<Option<u16>, usize> = BTreeMap::new();
    let mut half = 0;
    for part in 0..2 {
        let requests: Vec<_> = (0..count / 2).map(|_| random.request()).collect();
        let mut answers = futures_util::stream::iter(requests)
            .map(|(whole, leaves)| {
                let timed = String::from_utf8_lossy(&whole).contains("x-request-timeout: 0.001");
                let (address, shown) = (&address, whole[..whole.len().min(300)].to_vec());
                async move { (send(address, whole, leaves).await, timed, shown) }
            })
            .buffer_unordered(24);
        while let Some((status, timed, shown)) = answers.next().await {
            let fault = status.is_some_and(|status| status >= 500 && status != 503 && !(timed && status == 504));
            assert!(!fault, "{status:?} to {}", String::from_utf8_lossy(&shown));
            *statuses.entry(status).or_default() += 1;
        }
        if part == 0 {
            half = server.memory_kib();
        }
    }
    println!("seed {seed}: {statuses:?}; {half} KiB after half, {} KiB at the end", server.memory_kib());
    assert!(statuses.contains_key(&Some(200)) && statuses.contains_key(&Some(400)), "{statuses:?}");
    assert!(server.memory_kib() < half + 64 * 1024, "memory grows: {half} KiB, then {}", server.memory_kib());
    assert_eq!(server.post("/embed", &good).await, before);
    let (_, metrics) = server.get("/metrics").await;
    assert!(metrics.contains("em_embed_queue_depth 0"), "{metrics}");
}
