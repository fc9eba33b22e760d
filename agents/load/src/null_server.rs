//! A server that answers every request at once with the same bytes: what a generator reaches against it is the generator's limit.
//! HTTP/1.1 as our client speaks it (content-length, keep-alive), one thread.

use std::io;
use std::sync::Arc;

use em_api::spec::Wire;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

/// Ends when it is dropped.
pub struct NullServer {
    /// `http://127.0.0.1:<port>/v1/embeddings`.
    pub url: String,
    _stop: oneshot::Sender<()>,
}

impl NullServer {
    /// `body`: of every answer. Errors: no port, or no thread.
    pub fn start(body: Vec<u8>) -> io::Result<Self> {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0))?;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
        let answer: Arc<[u8]> = [head.as_bytes(), &body].concat().into();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let (stop, stopped) = oneshot::channel::<()>();
        std::thread::Builder::new().name("null-server".to_owned()).spawn(move || {
            runtime.block_on(async move {
                let Ok(listener) = TcpListener::from_std(listener) else { return };
                tokio::select! {
                    _ = stopped => {}
                    () = accept(listener, answer) => {}
                }
            });
        })?;
        Ok(Self { url: format!("http://127.0.0.1:{port}/v1/embeddings"), _stop: stop })
    }
}

async fn accept(listener: TcpListener, answer: Arc<[u8]>) {
    // A connection that cannot be accepted will be tried again by the client.
    while let Ok((stream, _)) = listener.accept().await {
        let answer = answer.clone();
        tokio::spawn(async move {
            // Ends with an error when the client hangs up.
            let _ = serve(stream, &answer).await;
        });
    }
}

async fn serve(mut stream: TcpStream, answer: &[u8]) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::with_capacity(64 * 1024);
    loop {
        let length = loop {
            if let Some(length) = request_length(&buffer) {
                break length;
            }
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        };
        while buffer.len() < length {
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        }
        buffer.drain(..length);
        stream.write_all(answer).await?;
    }
}

/// Bytes of the first request, when its head is whole.
fn request_length(buffer: &[u8]) -> Option<usize> {
    let head = buffer.windows(4).position(|end| end == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&buffer[..head]).unwrap_or("");
    let length = text.lines().filter_map(|line| line.split_once(':')).find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    Some(head + length.and_then(|(_, value)| value.trim().parse::<usize>().ok()).unwrap_or(0))
}

/// An answer with `texts` vectors of `dim` numbers and the length 1, of about `size` bytes as far as digits can make it.
pub fn body(wire: Wire, texts: u32, dim: u32, size: u64) -> Vec<u8> {
    let value = 1.0 / f64::from(dim.max(1)).sqrt();
    let vector = if wire == Wire::OpenaiBase64 {
        use base64::Engine;
        let bytes: Vec<u8> = (0..dim).flat_map(|_| (value as f32).to_le_bytes()).collect();
        format!("\"{}\"", base64::engine::general_purpose::STANDARD.encode(bytes))
    } else {
        // Without brackets, commas and `0.`; between 4 digits and those of an f64.
        let digits = (size / (u64::from(texts.max(1)) * u64::from(dim.max(1)))).saturating_sub(3).clamp(4, 20) as usize;
        format!("[{}]", vec![format!("{value:.digits$}"); dim as usize].join(","))
    };
    let list = |item: &dyn Fn(u32) -> String| (0..texts).map(item).collect::<Vec<_>>().join(",");
    let text = match wire {
        Wire::OpenaiFloat | Wire::OpenaiBase64 => {
            let data = list(&|index| format!(r#"{{"object":"embedding","index":{index},"embedding":{vector}}}"#));
            format!(r#"{{"object":"list","data":[{data}],"model":"null","usage":{{"prompt_tokens":0,"total_tokens":0}}}}"#)
        }
        Wire::Embed => {
            let vectors = list(&|_| vector.clone());
            format!(r#"{{"embeddings":[{vectors}],"model":"null","num_embeddings":{texts},"embedding_dim":{dim}}}"#)
        }
        Wire::Tei => format!("[{}]", list(&|_| vector.clone())),
    };
    text.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Verdict, check};

    #[test]
    fn its_answers_are_right_on_every_wire_and_of_the_asked_size() {
        for wire in [Wire::OpenaiFloat, Wire::OpenaiBase64, Wire::Embed, Wire::Tei] {
            for (texts, dim, size) in [(1, 8, 0), (4, 384, 4 * 384 * 12), (2, 768, 2 * 768 * 21)] {
                let body = body(wire, texts, dim, size);
                assert_eq!(check(wire, &body, texts, Some(dim), true), Verdict::Valid { dim }, "{wire:?}");
                if size > 0 && wire != Wire::OpenaiBase64 {
                    let off = body.len() as f64 / size as f64;
                    assert!((0.95..1.1).contains(&off), "{wire:?}: {} for {size}", body.len());
                }
            }
        }
    }

    #[test]
    fn a_request_ends_with_its_body() {
        assert_eq!(request_length(b"POST / HTTP/1.1\r\ncontent-len"), None);
        assert_eq!(request_length(b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcPOST"), Some(41));
    }
}
