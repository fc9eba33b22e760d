//! `em-agent load`, up to the process: flags, plan file, what is written where, exit codes.

use std::path::Path;

use clap::Parser;
use em_api::measurement::LoadReport;
use em_api::spec::LoadLevel;
use em_load::Progress;
use em_load::cli::{LoadArgs, run_on};

use crate::server::{Reply, Server};
use crate::{data_set, plan};

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    load: LoadArgs,
}

/// Exit code, and what went to stdout.
async fn load(arguments: &[&str], folder: &Path) -> (anyhow::Result<i32>, String) {
    let path = folder.join("stdout");
    let stdout = std::fs::File::create(&path).expect("a file");
    let command = Command::try_parse_from(std::iter::once(&"load").chain(arguments)).expect("arguments");
    let code = run_on(command.load, stdout).await;
    (code, std::fs::read_to_string(path).expect("stdout"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_gives_json_lines_and_a_report_and_no_other_word_on_stdout() {
    let (server, data) = (Server::start(|_| Reply::Raw(500, "no".to_owned())), data_set());
    let (plan_file, report_file) = (data.path().join("plan.json"), data.path().join("report.json"));
    let plan = plan(&server.url, &data, LoadLevel::RequestRate(20.0));
    std::fs::write(&plan_file, serde_json::to_vec(&plan).expect("plan")).expect("writing");
    let arguments = ["--plan", plan_file.to_str().expect("path"), "--out", report_file.to_str().expect("path"), "--progress-json"];
    let (code, stdout) = load(&arguments, data.path()).await;
    assert_eq!(code.expect("measured"), 0, "an agent reads the report, not the code");
    let lines: Vec<Progress> = stdout.lines().map(|line| serde_json::from_str(line).expect("a line of progress")).collect();
    assert!(lines.len() >= 4, "{stdout}");
    let report: LoadReport = serde_json::from_slice(&std::fs::read(&report_file).expect("a report")).expect("a report");
    assert_eq!(report.counts.http_status[&500], 20);
    assert!(!data.path().join("report.json.part").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flags_alone_give_a_summary_and_an_exit_code() {
    let (server, data) =
        (Server::start(|number| if number == 3 { Reply::Raw(429, "slow down".to_owned()) } else { Reply::Vectors(8) }), data_set());
    let path = data.path().to_str().expect("path");
    let flags = ["--url", &server.url, "--model", "m", "--path", path, "--batch-size", "2", "--duration", "1s", "--warmup", "0"];
    let (code, stdout) = load(&[&flags[..], &["--request-rate", "10"]].concat(), data.path()).await;
    assert_eq!(code.expect("measured"), 1, "an answer was wrong");
    for part in ["10 requests/s, 2 texts a request", "HTTP 429", "slow down", "p(99)=", "1000 texts of text, seed 42"] {
        assert!(stdout.contains(part), "{part} in\n{stdout}");
    }
    let (code, _) = load(&[&flags[..], &["--concurrency", "1"]].concat(), data.path()).await;
    assert_eq!(code.expect("measured"), 0);
    let (code, _) = load(&flags, data.path()).await;
    assert!(code.expect_err("no load").to_string().contains("--text-rate"));
    let (code, _) = load(&[&flags[..], &["--steps", "10:1s", "--concurrency", "1"]].concat(), data.path()).await;
    assert!(code.expect_err("two loads").to_string().contains("leave the other level out"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rules_decide_the_exit_code() {
    let (server, data) =
        (Server::start(|number| if number == 3 { Reply::Raw(429, "slow down".to_owned()) } else { Reply::Vectors(8) }), data_set());
    let path = data.path().to_str().expect("path");
    let flags = ["--url", &server.url, "--model", "m", "--path", path, "--batch-size", "2", "--duration", "2s", "--warmup", "0"];
    let kept = ["--steps", "20:1s,50:1s", "--slo", "p50<20s", "--slo", "errors<10%", "--slo", "texts>10"];
    let (code, stdout) = load(&[&flags[..], &kept].concat(), data.path()).await;
    assert_eq!(code.expect("measured"), 0, "an error in seventy is allowed here\n{stdout}");
    assert!(stdout.contains("✓ slo") && !stdout.contains("✗ slo") && stdout.contains("null server"), "{stdout}");
    let missed = ["--request-rate", "30", "--slo", "p50<1us", "--slo", "p99.9<20s"];
    let (code, stdout) = load(&[&flags[..], &missed].concat(), data.path()).await;
    assert_eq!(code.expect("measured"), 1);
    assert!(stdout.contains("p99.9 is not known: 60 requests cannot carry this percentile"), "{stdout}");
}

#[test]
fn flags_that_do_not_fit_are_refused() {
    let refused = |arguments: &[&str]| match Command::try_parse_from(std::iter::once(&"load").chain(arguments)) {
        Ok(_) => panic!("{arguments:?} was accepted"),
        Err(error) => error.to_string(),
    };
    let flags = ["--url", "http://127.0.0.1:1/", "--model", "m", "--path", "x"];
    assert!(refused(&flags[..4]).contains("--path <PATH>"), "{}", refused(&flags[..4]));
    assert!(refused(&[&flags[..], &["--concurrency", "1", "--text-rate", "5"]].concat()).contains("cannot be used with"));
    assert!(refused(&[&flags[..], &["--concurrency", "1", "--wire", "grpc"]].concat()).contains("openai-base64"));
    assert!(refused(&[&flags[..], &["--concurrency", "1", "--duration", "10"]].concat()).contains("write for example 90s"));
    assert!(refused(&["--plan", "p.json", "--url", "http://x/"]).contains("cannot be used with"));
}
