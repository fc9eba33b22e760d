//! `doctor` and `gpu`: what a person runs on a node first.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output};

use crate::job::{AGENT, Job, store};

fn doctor(arguments: &[&str]) -> Output {
    Command::new(AGENT).arg("doctor").args(arguments).env_remove("EM_STORE").output().unwrap()
}

fn lines(output: &Output) -> Vec<String> {
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

/// The light parts of the real store (importing vLLM takes a minute).
fn light_store(at: &Path) {
    let whole = store();
    for folder in ["models", "lib", "datasets"] {
        symlink(whole.join(folder), at.join(folder)).unwrap();
    }
    fs::create_dir(at.join("manifests")).unwrap();
    for manifest in fs::read_dir(whole.join("manifests")).unwrap().map(|entry| entry.unwrap()) {
        let name = manifest.file_name().into_string().unwrap();
        if !name.contains("vllm") && !name.contains("huggingface") {
            fs::copy(manifest.path(), at.join("manifests").join(name)).unwrap();
        }
    }
}

#[test]
fn a_node_that_is_ready_is_told_so_and_each_missing_part_is_named() {
    let folder = tempfile::tempdir().unwrap();
    light_store(folder.path());
    let job_dir = folder.path().to_str().unwrap();
    let ready = doctor(&["--store", job_dir, "--job-dir", job_dir]);
    let text = lines(&ready);
    assert!(ready.status.success() && text.iter().all(|line| line.starts_with("ok ")), "{text:#?}");
    assert!(text.iter().any(|line| line.contains("backend ort") && line.contains("loads and embeds")), "{text:#?}");

    fs::write(folder.path().join("manifests/model-broken.json"), "{").unwrap();
    let broken = doctor(&["--store", job_dir, "--job-dir", "/nonexistent", "--backends", "vllm", "--gpus", "64"]);
    assert_eq!(broken.status.code(), Some(1));
    let failed: Vec<String> = lines(&broken).into_iter().filter(|line| line.starts_with("fail")).collect();
    for part in ["manifest", "backend vllm", "job directory", "gpus"] {
        assert!(failed.iter().any(|line| line.contains(part)), "{part}: {failed:#?}");
    }
    assert_eq!(failed.len(), 4, "{failed:#?}");
}

#[test]
fn a_plan_whose_server_is_away_is_a_failure_with_its_address() {
    let job = Job::new(crate::control_plane::free_port()).backend(crate::job::shell("own", "true")).service("own", &[1]);
    let path = job.path().join("plan.json");
    fs::write(&path, serde_json::to_vec(&job.plan).unwrap()).unwrap();
    let output = doctor(&["--plan", path.to_str().unwrap(), "--store", "/nonexistent", "-o", "json"]);
    assert_eq!(output.status.code(), Some(1));
    let checks: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let of = |name: &str| checks.as_array().unwrap().iter().find(|check| check["name"] == name).unwrap().clone();
    assert_eq!((&of("server")["ok"], &of("store")["ok"], &of("job directory")["ok"]), (&false.into(), &false.into(), &true.into()));
    assert!(of("server")["detail"].as_str().unwrap().contains(&job.plan.server.as_ref().unwrap().url), "{checks}");
}

#[test]
fn an_interpreter_of_the_users_own_is_tried_and_its_cure_named() {
    let output = doctor(&["--store", "/nonexistent", "--python", "/usr/bin/env", "--backends", "huggingface"]);
    assert_eq!(output.status.code(), Some(1));
    let text = lines(&output);
    let line = text.iter().find(|line| line.contains("/usr/bin/env for huggingface")).expect("a line");
    assert!(line.starts_with("fail") && line.contains("environment.yml"), "{line}");
}

#[test]
fn gpu_prints_what_the_node_is() {
    let output = Command::new(AGENT).args(["gpu", "-o", "json"]).output().unwrap();
    assert!(output.status.success());
    let facts: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(facts["node"]["cores_allowed"].as_u64().unwrap() > 0, "{facts}");
    assert!(facts.as_object().unwrap().contains_key("gpus"), "{facts}");
}
