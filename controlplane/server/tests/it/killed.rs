//! `kill -9` of the real program while 32 clients create: whatever was acknowledged is there after the next start, once and whole.

use std::collections::HashMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use em_api::client::Client;
use em_api::client::experiments::Body;
use em_api::experiment::Experiment;

use crate::server::{body, client};

const KILLS: u32 = 3;
const CLIENTS: u32 = 32;
/// Acknowledged between two kills.
const CREATES: u32 = 150;

/// Killed when dropped.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn start(folder: &Path) -> (Process, Client) {
    let announced = folder.join("state/server.json");
    let _ = std::fs::remove_file(&announced);
    let child = Command::new(env!("CARGO_BIN_EXE_em-controlplane"))
        .args(["serve", "--listen", "127.0.0.1:0", "--scheduler", "local", "--agent", "/bin/true", "--state-dir"])
        .arg(folder.join("state"))
        .env("RUST_LOG", "error")
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let process = Process(child);
    let begin = Instant::now();
    while !announced.exists() {
        assert!(begin.elapsed() < Duration::from_secs(60), "the server starts");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let file: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&announced).unwrap()).unwrap();
    let client = client(&folder.join("state"), file["url"].as_str().unwrap());
    (process, client)
}

/// Creates until the server is gone; what it acknowledged.
async fn create_until_killed(client: Client, number: Arc<AtomicU32>, acknowledged: Arc<AtomicU32>) -> Vec<Experiment> {
    let mut mine = Vec::new();
    loop {
        let name = format!("create-{}", number.fetch_add(1, Ordering::Relaxed));
        match client.create_experiment(Body::Json(body(&name)), false).await {
            Ok(created) => {
                mine.push(created.answer.experiment);
                acknowledged.fetch_add(1, Ordering::Relaxed);
            }
            Err(_) => return mine,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_acknowledged_create_is_lost_when_the_server_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let number = Arc::new(AtomicU32::new(0));
    let mut kept = Vec::new();
    for _ in 0..KILLS {
        let (process, client) = start(folder.path()).await;
        let acknowledged = Arc::new(AtomicU32::new(0));
        let clients: Vec<_> =
            (0..CLIENTS).map(|_| tokio::spawn(create_until_killed(client.clone(), number.clone(), acknowledged.clone()))).collect();
        let begin = Instant::now();
        while acknowledged.load(Ordering::Relaxed) < CREATES {
            assert!(begin.elapsed() < Duration::from_secs(60), "creates are acknowledged");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        drop(process);
        for client in clients {
            kept.extend(client.await.unwrap());
        }
    }
    let (_process, client) = start(folder.path()).await;
    let mut stored: HashMap<String, Experiment> = HashMap::new();
    for experiment in client.all_experiments(em_api::client::experiments::ListOptions::default()).await.unwrap() {
        assert_eq!(experiment.status.trials.total, 4, "{} is whole", experiment.metadata.name);
        let twin = stored.insert(experiment.metadata.name.clone(), experiment);
        assert!(twin.is_none(), "once: {twin:?}");
    }
    assert!(kept.len() >= (KILLS * CREATES) as usize);
    for experiment in kept {
        let name = &experiment.metadata.name;
        let found = stored.get(name).unwrap_or_else(|| panic!("{name} was acknowledged and is lost"));
        assert_eq!((found.metadata.uid, &found.spec), (experiment.metadata.uid, &experiment.spec), "{name}");
    }
}
