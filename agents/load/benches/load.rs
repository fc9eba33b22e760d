//! `make bench-load`: what the generator can do on this machine, and whether it agrees with another one.
//!
//! 1. Small requests a second, and MB/s of embedding JSON received and checked, against the built-in null server on the same cores.
//! 2. Slip of an open loop at 2,000 requests/s.
//! 3. Where `oha` or `wrk` is installed: throughput and p99 of both on one server with sleeping service times, in turns, medians of five.
//!
//! Prints what it saw and ends with 1 when a target is missed. `cargo bench … -- slip` runs one part: small, parsed, slip or cross.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

use em_api::HumanDuration;
use em_api::measurement::{Histogram, LoadReport};
use em_api::spec::{Arrival, DatasetSource, LoadLevel, Wire};
use em_load::null_server::{NullServer, body};
use em_load::{DatasetRef, LoadPlan};
use em_stats::histogram;
use tokio_util::sync::CancellationToken;

const WINDOW_S: u64 = 8;
const ROUNDS: usize = 5;
/// Of the cross-check.
const CONNECTIONS: u32 = 16;

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let folder = tempfile::tempdir().expect("a folder");
    let lines: String = (0..20_000).map(|n| format!("text {n} of a data set that was made for a benchmark\n")).collect();
    std::fs::write(folder.path().join("texts.txt"), lines).expect("texts");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    println!("{cores} cores, shared by the generator and the server; windows of {WINDOW_S} s");
    let met = runtime.block_on(async {
        let mut met = true;
        if wanted("small") {
            met &= small_requests(folder.path()).await;
        }
        if wanted("parsed") {
            met &= parsed(folder.path()).await;
        }
        if wanted("slip") {
            met &= slip(folder.path()).await;
        }
        if wanted("cross") {
            met &= cross_check(folder.path()).await;
        }
        met
    });
    if met { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// cargo adds `--bench`.
fn wanted(part: &str) -> bool {
    let named: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    named.is_empty() || named.iter().any(|name| name == part)
}

fn plan(url: &str, folder: &Path, level: LoadLevel, batch_size: u32) -> LoadPlan {
    LoadPlan {
        url: url.to_owned(),
        wire: Wire::OpenaiFloat,
        model: "m".to_owned(),
        level,
        batch_size,
        warmup: HumanDuration::from_secs(1),
        duration: HumanDuration::from_secs(WINDOW_S),
        timeout: HumanDuration::from_secs(20),
        min_requests: 0,
        arrival: Arrival::Constant,
        dataset: DatasetRef { source: DatasetSource::Text, path: folder.to_owned(), limit: 20_000, seed: 42 },
        text_offset: 0,
        shape: None,
        batch_mix: None,
        length_mix: None,
        api_key_env: None,
        api_key_file: None,
        fields: Default::default(),
        text_tokens: None,
        expected_dim: None,
        normalized: true,
        headroom_requests_per_s: Some(f64::MAX),
        requests: None,
        cores: None,
        deadline: HumanDuration::from_secs(120),
    }
}

async fn measure(plan: LoadPlan) -> LoadReport {
    em_load::run(plan, CancellationToken::new(), |_| {}).await.expect("a report")
}

fn quantile_ms(histogram: &Histogram, quantile: f64) -> f64 {
    histogram::decode(&histogram.0).expect("our own").value_at_quantile(quantile) as f64 / 1_000.0
}

fn target(name: &str, value: f64, unit: &str, met: bool, asked: &str) -> bool {
    println!("{} {name}: {value:.3} {unit} (asked: {asked})", if met { "✓" } else { "✗" });
    met
}

async fn small_requests(folder: &Path) -> bool {
    let server = NullServer::start(body(Wire::OpenaiFloat, 1, 8, 0)).expect("a server");
    let report = measure(plan(&server.url, folder, LoadLevel::Concurrency(32), 1)).await;
    let rate = report.requests_ok as f64 / report.window_s;
    let (cores, p99) = (report.generator.cpu_s / report.window_s, quantile_ms(&report.latency_us, 0.99));
    println!("  generator and null server {cores:.2} cores, p99 {p99:.2} ms");
    target("small requests", rate, "requests/s", rate >= 10_000.0, "10,000 or more")
}

async fn parsed(folder: &Path) -> bool {
    // 32 vectors of 768 numbers of 12 characters.
    let answer = body(Wire::OpenaiFloat, 32, 768, 32 * 768 * 13);
    let bytes = answer.len();
    let server = NullServer::start(answer).expect("a server");
    let report = measure(plan(&server.url, folder, LoadLevel::Concurrency(8), 32)).await;
    let rate = report.response_bytes as f64 / report.window_s / 1e6;
    let (cores, errors) = (report.generator.cpu_s / report.window_s, report.counts.errors());
    println!("  answers of {bytes} bytes; generator and null server {cores:.2} cores, {errors} errors");
    target("embedding JSON", rate, "MB/s", rate >= 150.0 && errors == 0, "150 or more")
}

async fn slip(folder: &Path) -> bool {
    let server = NullServer::start(body(Wire::OpenaiFloat, 1, 8, 0)).expect("a server");
    let report = measure(plan(&server.url, folder, LoadLevel::RequestRate(2_000.0), 1)).await;
    let [p50, p99, p999, most] = [0.5, 0.99, 0.999, 1.0].map(|quantile| quantile_ms(&report.slip_us, quantile));
    println!("  p50 {p50:.3} ms, p99.9 {p999:.3} ms, max {most:.3} ms");
    target("slip p99 at 2,000 requests/s", p99, "ms", p99 < 1.0, "below 1 on a quiet machine")
}

/// Throughput and p99, milliseconds.
#[derive(Clone, Copy)]
struct Seen {
    rate: f64,
    p99_ms: f64,
}

async fn cross_check(folder: &Path) -> bool {
    let there = |program: &str| Command::new(program).arg("--version").output().is_ok();
    let Some(other) = ["oha", "wrk"].into_iter().find(|program| there(program)) else {
        println!("- cross-check: neither oha nor wrk is installed; left out");
        return true;
    };
    let url = sleeping_server();
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let report = measure(plan(&url, folder, LoadLevel::Concurrency(CONNECTIONS), 1)).await;
        ours.push(Seen { rate: report.requests_ok as f64 / report.window_s, p99_ms: quantile_ms(&report.latency_us, 0.99) });
        theirs.push(if other == "oha" { oha(&url) } else { wrk(&url, folder) });
    }
    let median = |seen: &[Seen], of: fn(&Seen) -> f64| {
        let mut values: Vec<f64> = seen.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let (rate, their_rate) = (median(&ours, |seen| seen.rate), median(&theirs, |seen| seen.rate));
    let (p99, their_p99) = (median(&ours, |seen| seen.p99_ms), median(&theirs, |seen| seen.p99_ms));
    println!(
        "  ours {rate:.2} requests/s, p99 {p99:.3} ms; {other} {their_rate:.2} requests/s, p99 {their_p99:.3} ms; medians of {ROUNDS}"
    );
    let (rates, tails) = ((rate / their_rate - 1.0) * 100.0, (p99 / their_p99 - 1.0) * 100.0);
    let rates = target(&format!("throughput against {other}"), rates, "%", rates.abs() <= 3.0, "within 3");
    target(&format!("p99 against {other}"), tails, "%", tails.abs() <= 5.0, "within 5") & rates
}

const BODY: &str = r#"{"model":"m","input":["text 1 of a data set that was made for a benchmark"],"encoding_format":"float"}"#;

fn oha(url: &str) -> Seen {
    let (time, connections) = (format!("{WINDOW_S}s"), CONNECTIONS.to_string());
    let mut command = Command::new("oha");
    command.args(["-z", &time, "-c", &connections, "-m", "POST", "-T", "application/json", "-d", BODY]);
    let output = command.args(["--no-tui", "--output-format", "json", url]).output().expect("oha runs");
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("oha prints JSON");
    let number = |value: &serde_json::Value| value.as_f64().expect("a number of oha");
    Seen { rate: number(&json["summary"]["requestsPerSec"]), p99_ms: number(&json["latencyPercentiles"]["p99"]) * 1_000.0 }
}

fn wrk(url: &str, folder: &Path) -> Seen {
    let script = folder.join("post.lua");
    let words = format!(
        "wrk.method = 'POST'\nwrk.body = '{BODY}'\nwrk.headers['Content-Type'] = 'application/json'\ndone = function(summary, latency)\n  \
         io.write(string.format('SEEN %f %f\\n', summary.requests / summary.duration * 1e6, latency:percentile(99) / 1e3))\nend\n"
    );
    std::fs::write(&script, words).expect("a script");
    let (time, connections) = (format!("{WINDOW_S}s"), CONNECTIONS.to_string());
    let mut command = Command::new("wrk");
    let output = command.args(["-t1", "-c", &connections, "-d", &time, "-s"]).arg(&script).arg(url).output().expect("wrk runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let seen = text.lines().find_map(|line| line.strip_prefix("SEEN ")).unwrap_or_else(|| panic!("wrk printed {text}"));
    let numbers: Vec<f64> = seen.split_whitespace().map(|number| number.parse().expect("a number of wrk")).collect();
    Seen { rate: numbers[0], p99_ms: numbers[1] }
}

/// One thread a connection, each sleeping 10 ms, and 30 ms for each fiftieth request: never the one that is short of a core.
fn sleeping_server() -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let url = format!("http://{}/v1/embeddings", listener.local_addr().expect("an address"));
    std::thread::spawn(move || {
        let answer = body(Wire::OpenaiFloat, 1, 8, 0);
        let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", answer.len());
        let answer = [head.as_bytes(), &answer].concat();
        for stream in listener.incoming().flatten() {
            let answer = answer.clone();
            std::thread::spawn(move || serve(stream, &answer));
        }
    });
    url
}

fn serve(mut stream: TcpStream, answer: &[u8]) {
    let _ = stream.set_nodelay(true);
    let (mut buffer, mut part, mut number) = (Vec::new(), [0; 8_192], 0_u64);
    loop {
        while !whole(&buffer) {
            match stream.read(&mut part) {
                Ok(0) | Err(_) => return,
                Ok(count) => buffer.extend_from_slice(&part[..count]),
            }
        }
        // One request at a time comes down a connection.
        buffer.clear();
        number += 1;
        std::thread::sleep(Duration::from_millis(if number.is_multiple_of(50) { 30 } else { 10 }));
        if stream.write_all(answer).is_err() {
            return;
        }
    }
}

fn whole(buffer: &[u8]) -> bool {
    let Some(head) = buffer.windows(4).position(|end| end == b"\r\n\r\n") else { return false };
    let text = String::from_utf8_lossy(&buffer[..head]).to_ascii_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok()).unwrap_or(0);
    buffer.len() >= head + 4 + length
}
