//! A server whose service times are known (a fake, for these tests): one thread a connection and `thread::sleep`, which is exact to a
//! tenth of a millisecond, where the timers of an asynchronous runtime step by whole ones.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What to do with a request.
#[derive(Clone, Copy)]
pub(crate) enum Act {
    /// A right answer after so long.
    After(Duration),
    /// The same, one request at a time: a queue forms.
    InTurn(Duration),
    Status(u16),
    NotFinite,
    WrongDimension,
}

type Script = dyn Fn(u64, Duration) -> Act + Send + Sync;

pub(crate) struct Scripted {
    pub(crate) url: String,
    ended: Arc<AtomicBool>,
}

struct Shared {
    script: Box<Script>,
    begin: Mutex<Option<Instant>>,
    number: AtomicU64,
    turn: Mutex<()>,
    good: Vec<u8>,
}

impl Scripted {
    /// `script` gets the number of the request and the time since the first one. Answers have one vector of 8 numbers.
    pub(crate) fn start(script: impl Fn(u64, Duration) -> Act + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let good = em_load::null_server::body(em_api::spec::Wire::OpenaiFloat, 1, 8, 0);
        let (begin, number, turn) = (Mutex::new(None), AtomicU64::new(0), Mutex::new(()));
        let shared = Arc::new(Shared { script: Box::new(script), begin, number, turn, good });
        let ended = Arc::new(AtomicBool::new(false));
        let stop = ended.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let shared = shared.clone();
                std::thread::spawn(move || serve(stream, &shared));
            }
        });
        Self { url: format!("http://127.0.0.1:{port}/v1/embeddings"), ended }
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        let port = self.url.trim_start_matches("http://").split('/').next().unwrap_or_default().to_owned();
        // Wakes the listener, which then ends.
        let _ = TcpStream::connect(port);
    }
}

/// Until the client hangs up.
fn serve(mut stream: TcpStream, shared: &Shared) {
    let _ = stream.set_nodelay(true);
    let mut buffer = Vec::new();
    while next_request(&mut stream, &mut buffer).is_some() {
        let arrived = Instant::now();
        let begin = *shared.begin.lock().expect("no panic").get_or_insert(arrived);
        let number = shared.number.fetch_add(1, Ordering::SeqCst);
        let act = (shared.script)(number, arrived - begin);
        let (status, body) = match act {
            Act::After(time) => {
                std::thread::sleep(time);
                (200, shared.good.clone())
            }
            Act::InTurn(time) => {
                let turn = shared.turn.lock().expect("no panic");
                std::thread::sleep(time);
                drop(turn);
                (200, shared.good.clone())
            }
            Act::Status(status) => (status, b"scripted".to_vec()),
            Act::NotFinite => (200, br#"{"data":[{"index":0,"embedding":[NaN,1,1,1,1,1,1,1]}]}"#.to_vec()),
            Act::WrongDimension => (200, br#"{"data":[{"index":0,"embedding":[0.6,0.8]}]}"#.to_vec()),
        };
        let head = format!("HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
        if stream.write_all(&[head.as_bytes(), &body].concat()).is_err() {
            return;
        }
    }
}

fn next_request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<()> {
    let mut part = [0; 16 * 1024];
    loop {
        if let Some(head) = buffer.windows(4).position(|end| end == b"\r\n\r\n") {
            let text = String::from_utf8_lossy(&buffer[..head]).to_ascii_lowercase();
            let length =
                text.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok()).unwrap_or(0);
            if buffer.len() >= head + 4 + length {
                buffer.drain(..head + 4 + length);
                return Some(());
            }
        }
        match stream.read(&mut part) {
            Ok(0) | Err(_) => return None,
            Ok(count) => buffer.extend_from_slice(&part[..count]),
        }
    }
}
