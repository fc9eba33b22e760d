//! `em-agent serve` as a process: started, asked, stopped by signals.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::tiny::Model;
use super::{library, minilm, required};

pub(super) struct Server {
    child: Child,
    pub(super) url: String,
}

impl Server {
    pub(super) fn start(model: &Path, extra: &[&str]) -> Self {
        let mut child = command(model, "0", extra).stderr(Stdio::piped()).spawn().expect("EM_TEST_AGENT starts");
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let url = lines.by_ref().map(|line| line.expect("text")).find_map(|line| {
            let place = line.find("http://").filter(|_| line.starts_with("serving "))?;
            Some(line[place..].to_owned())
        });
        let url = url.expect("the server says where it is");
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, url }
    }

    pub(super) async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        self.post_raw(path, body.to_string()).await
    }

    pub(super) async fn post_raw(&self, path: &str, body: String) -> (u16, Value) {
        let request = reqwest::Client::new().post(format!("{}{path}", self.url)).header("content-type", "application/json");
        let response = request.body(body).send().await.expect("an answer");
        (response.status().as_u16(), response.json().await.expect("JSON"))
    }

    pub(super) async fn get(&self, path: &str) -> (u16, String) {
        let response = reqwest::get(format!("{}{path}", self.url)).await.expect("an answer");
        (response.status().as_u16(), response.text().await.expect("text"))
    }

    /// Resident, of the server.
    pub(super) fn memory_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("the server lives");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line VmRSS");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("the process is there");
    }

    fn ended(&mut self, within: Duration) -> ExitStatus {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("our own child") {
                return status;
            }
            assert!(started.elapsed() < within, "the server does not stop");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Ended already in tests of its end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(model: &Path, port: &str, extra: &[&str]) -> Command {
    let mut command = Command::new(required("EM_TEST_AGENT", "the path of the em-agent binary; `make test` sets it"));
    command.args(["serve", "--backend", "ort", "--model-name", "tiny", "--port", port, "--threads", "1"]);
    command.arg("--model").arg(model).arg("--library").arg(library()).args(extra);
    command
}

#[tokio::test]
async fn a_signal_lets_open_requests_end() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut server = Server::start(&minilm(), &[]);
        let body = json!({"texts": vec!["embedding ".repeat(100); 32]});
        let (answer, ()) = tokio::join!(server.post("/embed", &body), async {
            // The request is at work: its texts wait or run.
            while !server.get("/metrics").await.1.contains("em_embed_phase_seconds_count{phase=\"tokenise\"} 1") {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            server.signal(signal);
        });
        assert_eq!((answer.0, answer.1["num_embeddings"].as_u64()), (200, Some(32)), "{signal:?}");
        let stopped = server.ended(Duration::from_secs(10));
        assert_eq!(stopped.code(), Some(0), "{signal:?}");
    }
}

#[tokio::test]
async fn idle_connections_do_not_delay_the_end() {
    let model = Model::new(1);
    let mut server = Server::start(model.dir(), &[]);
    let client = reqwest::Client::new();
    let answer = client.get(format!("{}/health", server.url)).send().await.expect("an answer");
    assert_eq!(answer.bytes().await.map(|bytes| bytes.is_empty()).ok(), Some(false));
    server.signal(Signal::TERM);
    assert_eq!(server.ended(Duration::from_secs(4)).code(), Some(0));
    drop(client);
}

#[tokio::test]
async fn a_taken_port_has_an_exit_code_of_its_own() {
    let model = Model::new(1);
    let holder = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = holder.local_addr().expect("bound").port().to_string();
    let output = command(model.dir(), &port, &[]).output().expect("EM_TEST_AGENT starts");
    assert_eq!(output.status.code(), Some(i32::from(em_embed::serve::EXIT_ADDRESS_IN_USE)));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains(&port) && said.contains("in use"), "{said}");
}

#[tokio::test]
async fn a_model_that_cannot_be_served_ends_the_process_with_the_reason() {
    let model = Model::new(1).with_config("model_type", json!("t5"));
    let output = command(model.dir(), "0", &[]).output().expect("EM_TEST_AGENT starts");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("t5"));
}
