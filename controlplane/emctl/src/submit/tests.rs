//! The command line as users type it → the body that is posted.

use clap::Parser;
use em_api::spec::LoadLevel;
use serde_json::{Value, json};

use super::*;
use crate::cli::{Cli, Command};

fn submit(line: &str) -> SubmitArgs {
    let words = line.split_whitespace();
    match Cli::try_parse_from(["emctl", "submit"].into_iter().chain(words)).unwrap_or_else(|error| panic!("{error}")).command {
        Command::Submit(submit) => *submit,
        _ => panic!("another command"),
    }
}

fn composed(file: Option<&str>, line: &str) -> (Value, Vec<String>) {
    let file = file.map(|text| parse(text.as_bytes()).expect("YAML"));
    compose::compose(file, &submit(line).flags).unwrap_or_else(|failure| panic!("{failure}"))
}

const OURS: &str = "--model answerdotai/ModernBERT-base --backends ort,huggingface,vllm --batch-sizes 16,32,64 --concurrency 10 \
    --duration 10m --num-sentences 100000 --partition gpu --gres gpu:l40s:1 --time 4h --cpus 8 --memory 32G";
const PROOF_OF_CONCEPT: &str = "--model answerdotai/ModernBERT-base --backends ort huggingface vllm --batch-sizes 16 32 64 \
    --max-concurrent-requests 10 --duration-minutes 10 --num-sentences 100000 --partition gpu --gres gpu:l40s:1 --time 4h --cpus 8 --mem 32G";

#[test]
fn both_spellings_give_the_same_body() {
    let (body, notes) = composed(None, OURS);
    assert_eq!(composed(None, PROOF_OF_CONCEPT), (body.clone(), notes.clone()));
    assert_eq!(
        body,
        json!({
            "apiVersion": "em/v1alpha1",
            "kind": "Experiment",
            "metadata": {"generateName": "modernbert-base-"},
            "spec": {
                "model": {"id": "answerdotai/ModernBERT-base"},
                "dataset": {"limit": 100_000},
                "backends": [{"name": "ort", "type": "ort"}, {"name": "huggingface", "type": "huggingface"}, {"name": "vllm", "type": "vllm"}],
                "matrix": {"batchSizes": [16, 32, 64], "concurrency": [10]},
                "load": {"repetitions": 5, "duration": "2m"},
                "slurm": {"partition": "gpu", "gres": "gpu:l40s:1", "time": "4h", "memory": "32G", "cpusPerTask": 8},
            },
        })
    );
    assert_eq!(notes, ["note: 10m a cell are 5 repetitions of 2m"]);
}

const FILE: &str = "
apiVersion: em/v1alpha1
kind: Experiment
metadata: {generateName: demo-, labels: {team: search}}
spec:
  model: {id: org/model, revision: abc, dtype: float16}
  backends:
    - {name: ort, type: ort, device: cpu, env: {A: b}}
    - {name: hf, type: huggingface, device: cpu}
    - {name: fast, type: vllm, args: [--x]}
    - {name: slow, type: vllm}
  matrix: {batchSizes: [16], concurrency: [2]}
  load: {duration: 10s, repetitions: 3}
  checks: {parity: {reference: hf}}
";

#[test]
fn flags_override_the_file_and_leave_the_rest() {
    let (body, notes) =
        composed(Some(FILE), "-f x --name mine --label stage=test --request-rate 5 --duration 1m --device cuda --seed 7");
    assert_eq!(body["metadata"], json!({"name": "mine", "labels": {"team": "search", "stage": "test"}}));
    assert_eq!(body["spec"]["matrix"], json!({"batchSizes": [16], "requestRate": [5.0]}), "one load axis in place of another");
    assert_eq!(body["spec"]["load"], json!({"duration": "20s", "repetitions": 3}), "split over the file's repetitions");
    assert_eq!(body["spec"]["model"]["revision"], "abc");
    assert_eq!(body["spec"]["dataset"], json!({"seed": 7}));
    assert!(body["spec"]["backends"].as_array().is_some_and(|backends| backends.iter().all(|backend| backend["device"] == "cuda")));
    assert_eq!(notes.len(), 1);
    let (body, _) = composed(Some(FILE), "-f x --duration 1m --repetitions 4");
    assert_eq!(body["spec"]["load"], json!({"duration": "15s", "repetitions": 4}));
}

#[test]
fn backends_are_chosen_from_the_file_by_name_or_type() {
    let names = |line: &str| {
        let (body, notes) = composed(Some(FILE), line);
        let of = |entry: &Value| entry["name"].as_str().expect("a name").to_owned();
        (
            body["spec"]["backends"].as_array().expect("a list").iter().map(of).collect::<Vec<_>>(),
            body["spec"]["checks"].clone(),
            notes.len(),
        )
    };
    let kept = json!({"parity": {"reference": "hf"}});
    assert_eq!(names("-f x --backends vllm,hf"), (vec!["fast".into(), "slow".into(), "hf".into()], kept.clone(), 0));
    assert_eq!(names("-f x --backends huggingface,slow,slow"), (vec!["hf".into(), "slow".into()], kept, 0));
    assert_eq!(
        names("-f x --backends ort"),
        (vec!["ort".into()], json!({"parity": {}}), 1),
        "the reference is gone, and it is told"
    );
    let (body, _) = composed(Some(FILE), "-f x --backends ort,tei");
    assert_eq!(
        body["spec"]["backends"],
        json!([{"name": "ort", "type": "ort", "device": "cpu", "env": {"A": "b"}}, {"name": "tei", "type": "tei"}])
    );
    let (body, _) = composed(None, "--model a/b --backends hf,ort --reference hf");
    assert_eq!(body["spec"]["backends"][0], json!({"name": "hf", "type": "huggingface"}));
    assert_eq!(body["spec"]["checks"], json!({"parity": {"reference": "hf"}}));
}

#[test]
fn another_model_does_not_inherit_the_old_ones_revision() {
    let (body, _) = composed(Some(FILE), "-f x --model other/model");
    assert_eq!(body["spec"]["model"], json!({"id": "other/model", "dtype": "float16"}));
    let (body, _) = composed(Some(FILE), "-f x --model /models/mine --dtype float32");
    assert_eq!(body["spec"]["model"], json!({"id": "mine", "path": "/models/mine", "dtype": "float32"}));
}

#[test]
fn what_is_not_said_is_left_to_the_server() {
    let (body, notes) = composed(None, "--model ./Some_Model/");
    assert_eq!(body["spec"].as_object().expect("a spec").keys().collect::<Vec<_>>(), ["model"]);
    assert_eq!((&body["spec"]["model"]["id"], &body["metadata"]["generateName"]), (&json!("Some_Model"), &json!("some-model-")));
    assert!(notes.is_empty());
}

#[test]
fn a_file_without_flags_goes_out_as_it_was_written() {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in [("a.yaml", "spec: {durration: 1}\n# kept"), ("a.json", "{\"a\":1,\"a\":2}")] {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("a file");
        let (body, notes) = body(&submit(&format!("-f {}", path.display()))).expect("read");
        let (Body::Yaml(bytes) | Body::JsonText(bytes)) = body else { panic!("rewritten") };
        assert_eq!((String::from_utf8(bytes).expect("text"), notes.len()), (text.to_owned(), 0));
    }
}

#[test]
fn wrong_usage_is_told_before_anything_is_posted() {
    for line in [
        "",
        "--batch-sizes 16",
        "-f x --wait --dry-run",
        "-f x --out dir",
        "-f x --duration 10",
        "-f x --duration 1m --duration-minutes 1",
        "-f x --duration-minutes 0",
        "-f x --concurrency 1 --request-rate 5",
        "-f x --repetitions 0",
        "-f x --colour red",
    ] {
        let words = line.split_whitespace();
        let error =
            Cli::try_parse_from(["emctl", "submit"].into_iter().chain(words)).err().unwrap_or_else(|| panic!("{line} was taken"));
        assert_eq!(error.exit_code(), 2, "{line}");
    }
    let missing = body(&submit("-f no-such-file.yaml")).expect_err("missing");
    assert_eq!(missing.exit_code(), 2);
    let wrong = compose::compose(Some(json!({"spec": "text"})), &submit("-f x --seed 1").flags).expect_err("no object");
    assert!(wrong.to_string().contains("spec"), "{wrong}");
    let label = compose::compose(None, &submit("--model a --label team").flags).expect_err("no value");
    assert!(label.to_string().contains("KEY=VALUE"));
}

#[test]
fn a_dry_run_prints_an_experiment_that_can_be_posted_again_with_its_trials_as_comments() {
    let trial = |job| TrialToCome { job, repetition: 1, backend: "ort".into(), batch_size: 16, load: LoadLevel::Concurrency(8) };
    let answer = Created {
        experiment: crate::progress::tests::experiment("Pending"),
        warnings: Vec::new(),
        script: Some("#!/bin/bash -l\nsrun em-agent run\n".into()),
        trials: (1..=61).map(trial).collect(),
        plan: None,
    };
    let text = preview(&answer, Format::Table);
    assert!(text.contains("#     1           1  ort         16  concurrency 8\n"), "{text}");
    assert!(text.contains("... and 1 more") && text.contains("#   srun em-agent run\n"), "{text}");
    assert_eq!(parse(text.as_bytes()).expect("YAML"), serde_json::to_value(&answer.experiment).expect("serialises"));
}
