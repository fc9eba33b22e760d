//! What the API costs: creates a second, their latency at half that rate, lists and memory with 100,000 experiments. The real program
//! as a process of its own, on the disk that builds go to; clients on the same cores. `make bench-api`, about two minutes.

#![expect(clippy::unwrap_used, reason = "a bench ends where something is missing")]

mod client;
mod fill;
mod server;

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use em_api::experiment::ExperimentList;
use server::Server;

const ROUNDS: u32 = 5;
const CLIENTS: usize = 64;
const CREATING: Duration = Duration::from_secs(4);
/// More requests under way than this, and the planned rate is beyond what the server can do.
const OPEN_LOOP_CLIENTS: usize = 256;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    println!("{cores} cores for server and clients; {ROUNDS} rounds; load before: {}", load());
    let (mut disk, mut rates) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let folder = server::folder();
        disk.push(fsyncs(folder.path()));
        let server = Server::start(folder.path()).await;
        rates.push(creates(&server).await);
    }
    table("fsync of 4 KiB appended", "a second", &disk);
    table("creates, 27 trials, 64 clients", "a second", &rates);
    // Half of what is promised, and half of what was seen.
    for rate in [250.0, median(&rates) / 2.0] {
        let mut half = Vec::new();
        for _ in 0..ROUNDS {
            let folder = server::folder();
            let server = Server::start(folder.path()).await;
            half.push(open_loop(&server, rate).await);
        }
        let of = |which: fn(&(f64, f64)) -> f64| half.iter().map(which).collect::<Vec<_>>();
        table(&format!("create at {rate:.0} a second, p50"), "ms", &of(|(p50, _)| *p50));
        table(&format!("create at {rate:.0} a second, p99"), "ms", &of(|(_, p99)| *p99));
    }

    let (mut acknowledged, mut lost) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (told, missing) = killed().await;
        acknowledged.push(told);
        lost.push(missing);
    }
    table("creates acknowledged before kill -9", "of 64 clients", &acknowledged);
    table("of them lost", "after the next start", &lost);

    let folder = server::folder();
    let server = Server::start(folder.path()).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    table("memory, idle, no experiment", "MiB", &[server.resident_mib()]);
    let (status, _) = server.client().await.ask("POST", "/experiments", &body("template")).await;
    assert_eq!(status, 201);
    drop(server);
    let begin = Instant::now();
    fill::fill(&server::state_dir(folder.path()), "template").await;
    println!("filled with {} experiments in {:.1} s", fill::EXPERIMENTS, begin.elapsed().as_secs_f64());
    full(folder.path()).await;
    println!("load after: {}", load());
}

/// 100,000 experiments, 1,000 of them active.
async fn full(folder: &Path) {
    let (mut starts, mut lists, mut memory, mut looks) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let server = Server::start(folder).await;
        starts.push(server.started_in.as_secs_f64() * 1_000.0);
        let mut client = server.client().await;
        let (mut times, mut path) = (Vec::new(), "/experiments?limit=100".to_owned());
        // The first pages hold the experiments whose trials are measured.
        for _ in 0..fill::MEASURED / 100 {
            let begin = Instant::now();
            let (status, text) = client.get(&path).await;
            times.push(begin.elapsed().as_secs_f64() * 1_000.0);
            let page: ExperimentList = serde_json::from_str(&text).unwrap();
            assert_eq!((status, page.items.len()), (200, 100));
            path = format!("/experiments?limit=100&continue={}", page.next.unwrap());
        }
        lists.push(percentile(&mut times, 0.99));
        // A few looks of the reconciler.
        tokio::time::sleep(Duration::from_secs(4)).await;
        memory.push(server.resident_mib());
        let seconds = server.metric("em_reconcile_duration_seconds_sum").await;
        looks.push(seconds / server.metric("em_reconcile_duration_seconds_count").await * 1_000.0);
    }
    table("start with 100,000 experiments", "ms", &starts);
    table("list page of 100, p99 of 100", "ms", &lists);
    table("memory, 100,000 and 1,000 active", "MiB", &memory);
    table("look of the reconciler, mean", "ms", &looks);
}

/// As many clients as are open all the time; creates a second.
async fn creates(server: &Server) -> f64 {
    let number = Arc::new(AtomicU64::new(0));
    let begin = Instant::now();
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let (mut client, number) = (server.client().await, number.clone());
        clients.push(tokio::spawn(async move {
            let mut done = 0_u32;
            while begin.elapsed() < CREATING {
                let name = format!("e-{}", number.fetch_add(1, Ordering::Relaxed));
                let (status, text) = client.ask("POST", "/experiments", &body(&name)).await;
                assert_eq!(status, 201, "{text}");
                done += 1;
            }
            done
        }));
    }
    let mut done = 0;
    for client in clients {
        done += client.await.unwrap();
    }
    f64::from(done) / begin.elapsed().as_secs_f64()
}

/// The server is killed while as many clients as are open create; (acknowledged, of them not there after the next start).
async fn killed() -> (f64, f64) {
    let folder = server::folder();
    let server = Server::start(folder.path()).await;
    let number = Arc::new(AtomicU64::new(0));
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let (mut client, number) = (server.client().await, number.clone());
        clients.push(tokio::spawn(async move {
            let mut acknowledged = Vec::new();
            loop {
                let name = format!("e-{}", number.fetch_add(1, Ordering::Relaxed));
                match client.try_to_ask("POST", "/experiments", &body(&name)).await {
                    Some((201, _)) => acknowledged.push(name),
                    Some((status, text)) => panic!("{status} {text}"),
                    None => return acknowledged,
                }
            }
        }));
    }
    tokio::time::sleep(CREATING / 4).await;
    // By SIGKILL.
    drop(server);
    let mut acknowledged = Vec::new();
    for client in clients {
        acknowledged.extend(client.await.unwrap());
    }
    let server = Server::start(folder.path()).await;
    let (mut client, mut lost) = (server.client().await, 0_u32);
    for name in &acknowledged {
        let (status, _) = client.get(&format!("/experiments/{name}")).await;
        lost += u32::from(status != 200);
    }
    (acknowledged.len() as f64, f64::from(lost))
}

/// Requests at planned times, whatever the answers do; latency from the planned time. (p50, p99) in ms.
async fn open_loop(server: &Server, rate: f64) -> (f64, f64) {
    let (free, mut waiting) = tokio::sync::mpsc::channel(OPEN_LOOP_CLIENTS);
    for _ in 0..OPEN_LOOP_CLIENTS {
        free.send(server.client().await).await.unwrap();
    }
    let begin = Instant::now();
    let mut requests = Vec::new();
    for number in 0..(rate * CREATING.as_secs_f64()) as u32 {
        let planned = begin + Duration::from_secs_f64(f64::from(number) / rate);
        tokio::time::sleep_until(planned.into()).await;
        let mut client = waiting.recv().await.unwrap();
        let free = free.clone();
        requests.push(tokio::spawn(async move {
            let (status, _) = client.ask("POST", "/experiments", &body(&format!("e-{number}"))).await;
            let latency = planned.elapsed().as_secs_f64() * 1_000.0;
            assert_eq!(status, 201);
            free.send(client).await.unwrap();
            latency
        }));
    }
    let mut latencies = Vec::new();
    for request in requests {
        latencies.push(request.await.unwrap());
    }
    (percentile(&mut latencies, 0.5), percentile(&mut latencies, 0.99))
}

/// Three backends × three batch sizes × three repetitions.
fn body(name: &str) -> String {
    format!(
        r#"{{"apiVersion":"em/v1alpha1","kind":"Experiment","metadata":{{"name":"{name}","labels":{{"team":"search"}}}},"spec":{{
        "model":{{"id":"sentence-transformers/all-MiniLM-L6-v2"}},"dataset":{{"source":"wordnet","limit":1000}},
        "backends":[{{"name":"hf","type":"huggingface","device":"cpu"}},{{"name":"vllm","type":"vllm","device":"cpu"}},
        {{"name":"ort","type":"ort","device":"cpu"}}],
        "matrix":{{"batchSizes":[16,32,64],"concurrency":[10]}},
        "load":{{"duration":"10s","warmup":"1s","repetitions":3,"minRequests":10}},"slurm":{{"time":"1h"}}}}}}"#
    )
}

/// What the disk can do, for the scale of the other numbers.
fn fsyncs(folder: &Path) -> f64 {
    let mut file = std::fs::File::create(folder.join("fsync")).unwrap();
    let begin = Instant::now();
    let mut count = 0;
    while begin.elapsed() < Duration::from_secs(1) {
        file.write_all(&[0x55; 4096]).unwrap();
        file.sync_data().unwrap();
        count += 1;
    }
    f64::from(count) / begin.elapsed().as_secs_f64()
}

fn percentile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values[((values.len() as f64 * share).ceil() as usize).clamp(1, values.len()) - 1]
}

fn median(values: &[f64]) -> f64 {
    percentile(&mut values.to_vec(), 0.5)
}

fn table(name: &str, unit: &str, values: &[f64]) {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    println!("{name:36} {:9.1} {unit}  [{:.1}, {:.1}]", median(values), sorted[0], sorted[sorted.len() - 1]);
}

fn load() -> String {
    std::fs::read_to_string("/proc/loadavg").unwrap_or_default().trim().to_owned()
}
