//! Two real generators at the same time, and their reports merged.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use em_api::measurement::{Histogram, LoadReport};
use em_api::spec::Wire;
use em_load::null_server::{self, NullServer};

use crate::job::AGENT;

fn generator(folder: &Path, url: &str, name: &str, offset: &str, more: &[&str]) -> (Child, PathBuf) {
    let out = folder.join(name);
    let mut command = Command::new(AGENT);
    command.args(["load", "--url", url, "--model", "m", "--batch-size", "2", "--warmup", "500ms", "--duration", "2s"]);
    command.arg("--path").arg(folder.join("texts.txt")).args(["--text-offset", offset, "--out"]).arg(&out).args(more);
    (command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap(), out)
}

fn read(path: &Path) -> LoadReport {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn decoded(histogram: &Histogram) -> hdrhistogram::Histogram<u64> {
    em_stats::histogram::decode(&histogram.0).unwrap()
}

#[test]
fn two_generators_that_ran_together_give_one_report() {
    let folder = tempfile::tempdir().unwrap();
    let lines: Vec<String> = (0..1_000).map(|n| format!("text {n} of a few words")).collect();
    fs::write(folder.path().join("texts.txt"), lines.join("\n")).unwrap();
    let server = NullServer::start(null_server::body(Wire::OpenaiFloat, 2, 8, 0)).unwrap();
    let at = |name, offset, rate| generator(folder.path(), &server.url, name, offset, &["--request-rate", rate]);
    let started = [at("a.json", "0", "100"), at("b.json", "500", "50")];
    let mut reports = Vec::new();
    for (mut child, out) in started {
        assert!(child.wait().unwrap().success());
        reports.push(out);
    }
    let merge = |files: &[&Path], more: &[&str]| {
        Command::new(AGENT).args(["load", "merge"]).args(files).args(more).current_dir(folder.path()).output().unwrap()
    };
    let files: Vec<&Path> = reports.iter().map(PathBuf::as_path).collect();
    let output = merge(&files, &["-o", "all.json", "--slo", "errors<1%", "--slo", "requests>100"]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    for part in
        ["150 requests/s, 2 texts a request", "merged..........: 2 generators; their windows overlap by ", "p(99)=", "✓ slo"]
    {
        assert!(said.contains(part), "{part} in\n{said}");
    }

    let (a, b, all) = (read(files[0]), read(files[1]), read(&folder.path().join("all.json")));
    assert!(a.requests_ok > 150 && b.requests_ok > 75, "{} {}", a.requests_ok, b.requests_ok);
    assert_eq!(all.requests_ok, a.requests_ok + b.requests_ok);
    assert_eq!(all.texts_ok, a.texts_ok + b.texts_ok);
    let fields: [fn(&LoadReport) -> &Histogram; 3] = [|it| &it.latency_us, |it| &it.service_time_us, |it| &it.slip_us];
    for of in fields {
        let (mut sum, merged) = (decoded(of(&a)), decoded(of(&all)));
        sum.add(decoded(of(&b))).unwrap();
        assert_eq!(sum, merged);
    }
    let merged = all.merged.expect("it says so");
    let apart = a.window_started_at.duration_since(b.window_started_at).as_secs_f64().abs();
    assert!((merged.spread_s - apart).abs() < 1e-6 && (merged.overlap_s - (2.0 - apart)).abs() < 1e-6, "{merged:?}");

    let (mut other, out) = generator(folder.path(), &server.url, "c.json", "0", &["--request-rate", "100", "--timeout", "5s"]);
    assert!(other.wait().unwrap().success());
    let refused = merge(&[files[0], &out], &[]);
    assert_eq!(refused.status.code(), Some(2));
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("plan.timeout: \"30s\" in ") && said.contains("\"5s\" in "), "{said}");
    let missed = merge(&files, &["--slo", "requests>100000"]);
    assert_eq!(missed.status.code(), Some(1));
}
