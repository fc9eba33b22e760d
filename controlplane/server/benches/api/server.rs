//! The real program, in a folder of its own on the disk that builds go to.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::client::Client;

pub(crate) struct Server {
    process: Child,
    pub(crate) address: SocketAddr,
    pub(crate) token: String,
    /// From its start to its first answer.
    pub(crate) started_in: Duration,
}

/// A folder that goes with the bench.
pub(crate) fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the build directory is writable")
}

pub(crate) fn state_dir(folder: &Path) -> PathBuf {
    folder.join("state")
}

impl Server {
    /// On the state in the folder, made where there is none. The queue of this machine runs nothing: inputs are missing.
    pub(crate) async fn start(folder: &Path) -> Self {
        let state = state_dir(folder);
        // Of an earlier server; written when the server answers.
        let announced = state.join("server.json");
        let _ = std::fs::remove_file(&announced);
        let begin = Instant::now();
        let process = Command::new(env!("CARGO_BIN_EXE_em-controlplane"))
            .args(["serve", "--listen", "127.0.0.1:0", "--scheduler", "local", "--missing-grace", "1h", "--agent", "/bin/true"])
            .arg("--state-dir")
            .arg(&state)
            .arg("--job-dir")
            .arg(folder.join("jobs"))
            .env("RUST_LOG", "error")
            .stdin(Stdio::null())
            .spawn()
            .expect("the server's program");
        let mut server = Self { process, address: ([127, 0, 0, 1], 0).into(), token: String::new(), started_in: Duration::ZERO };
        while !announced.exists() {
            assert!(begin.elapsed() < Duration::from_secs(60), "the server does not start");
            assert!(server.process.try_wait().expect("a child").is_none(), "the server has ended");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let text = std::fs::read_to_string(&announced).expect("just written");
        let file: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let url = file["url"].as_str().expect("its address");
        server.address = url.trim_start_matches("http://").parse().expect("an address of ours");
        server.token = std::fs::read_to_string(state.join("admin-token")).expect("written before").trim().to_owned();
        let (status, _) = server.client().await.get("/readyz").await;
        assert_eq!(status, 200);
        server.started_in = begin.elapsed();
        server
    }

    pub(crate) async fn client(&self) -> Client {
        Client::connect(self.address, &self.token).await
    }

    /// Resident memory now, in MiB.
    pub(crate) fn resident_mib(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux tells");
        line.trim().trim_end_matches(" kB").trim().parse::<f64>().expect("a number") / 1024.0
    }

    /// A number of `/metrics`.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        let (_, text) = self.client().await.get("/metrics").await;
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        value.unwrap_or_else(|| panic!("{name} is no metric"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
