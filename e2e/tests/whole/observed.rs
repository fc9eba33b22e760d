//! A running experiment as others see it: Debian's Prometheus, and a person with a browser.

use std::process::{Command, Stdio};
use std::time::Duration;

use em_api::status::Phase;
use em_e2e::{Cluster, ControlPlane, Guarded, root, wait_until};
use serde_json::Value;

const EXPERIMENT: &str = r#"
apiVersion: em/v1alpha1
kind: Experiment
metadata: {name: observed}
spec:
  model: {id: sentence-transformers/all-MiniLM-L6-v2, dtype: float32}
  dataset: {source: wordnet, limit: 5000}
  backends: [{name: ort, type: ort, device: cpu}]
  matrix: {batchSizes: [4], concurrency: [2]}
  load: {duration: 60s, warmup: 1s, repetitions: 1, minRequests: 3}
  slurm: {partition: main, cpusPerTask: 2, time: 10m}
"#;

#[test]
fn prometheus_and_a_browser_see_a_running_experiment() {
    let cluster = Cluster::up();
    let plane = ControlPlane::start(&cluster);
    let prometheus = Prometheus::start(&plane);
    let file = plane.file("experiment.yaml", EXPERIMENT);
    plane.emctl_ok(&["submit", "-f", file.to_str().unwrap()]);
    plane.wait_for("observed", "a trial is measured", Duration::from_secs(90), |experiment| {
        experiment.status.live.as_ref().is_some_and(|live| live.texts_per_second.is_some())
    });

    // The control plane's own series, and those of the agent through the relay.
    prometheus.eventually("sum(em_experiments{phase=\"Running\"})", |value| value == 1.0);
    prometheus.eventually("sum(em_load_texts_total{experiment=\"observed\"})", |value| value > 0.0);
    prometheus.eventually("max(em_process_cpu_cores{experiment=\"observed\"})", |value| value > 0.1);

    // The page shows the live trial.
    let shots = root().join("target").join("page");
    browser(&plane, "observed", "live", &shots);

    let experiment = plane.wait_for_end("observed", Duration::from_secs(120));
    assert_eq!(experiment.status.phase, Phase::Succeeded, "{}", plane.log());
    browser(&plane, "observed", "done", &shots);
    // The agent's target is gone with its job.
    let targets: Value = plane.get("/prometheus/targets");
    assert!(!targets.to_string().contains("observed"), "{targets}");
}

/// Opens the page in Debian's Chromium by the one-time link that `emctl dashboard` prints, and checks what it shows.
fn browser(plane: &ControlPlane, name: &str, moment: &str, shots: &std::path::Path) {
    let said = plane.emctl_ok(&["dashboard"]);
    let link = said.split_whitespace().find(|word| word.starts_with("http://")).unwrap_or_else(|| panic!("a link in: {said}"));
    let output = Command::new("node")
        .arg(root().join("web/e2e/page.mjs"))
        .args([link, name, moment])
        .arg(shots)
        .stdin(Stdio::null())
        .output()
        .expect("node");
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "the page ({moment}): {said}");
}

struct Prometheus {
    port: u16,
    _process: Guarded,
    _data: tempfile::TempDir,
}

impl Prometheus {
    /// Debian's Prometheus with the project's own configuration, on the test's addresses.
    fn start(plane: &ControlPlane) -> Self {
        let data = tempfile::tempdir().unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).unwrap().port();
        let token = plane.state_dir().join("scraper-token");
        let shipped = std::fs::read_to_string(root().join("deploy/prometheus/prometheus.yml")).unwrap();
        let address = plane.url().trim_start_matches("http://").to_owned();
        let config =
            shipped.replace("127.0.0.1:8080", &address).replace("/etc/prometheus/em-scraper-token", token.to_str().unwrap());
        let path = data.path().join("prometheus.yml");
        std::fs::write(&path, config).unwrap();
        let process = Guarded::spawn(
            Command::new("prometheus")
                .arg(format!("--config.file={}", path.display()))
                .arg(format!("--storage.tsdb.path={}", data.path().join("tsdb").display()))
                .arg(format!("--web.listen-address=127.0.0.1:{port}"))
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(std::fs::File::create(data.path().join("log")).unwrap()),
        );
        Self { port, _process: process, _data: data }
    }

    /// Asks by PromQL until the value fits.
    fn eventually(&self, query: &str, fits: impl Fn(f64) -> bool) {
        wait_until(&format!("Prometheus answers {query}"), Duration::from_secs(40), || {
            let output = Command::new("curl")
                .args([
                    "-s",
                    "-G",
                    &format!("http://127.0.0.1:{}/api/v1/query", self.port),
                    "--data-urlencode",
                    &format!("query={query}"),
                ])
                .output()
                .unwrap();
            let answer: Value = serde_json::from_slice(&output.stdout).ok()?;
            let value: f64 = answer["data"]["result"][0]["value"][1].as_str()?.parse().ok()?;
            fits(value).then_some(())
        });
    }
}
