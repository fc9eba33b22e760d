//! `em-agent doctor`: looks whether this node can run an experiment. One line a check, `ok` or `fail` with the cure; the exit
//! code is 1 when anything failed.

mod backends;
mod checks;

use std::path::PathBuf;
use std::process::ExitCode;

use em_api::spec::BackendKind;
use serde::Serialize;

use crate::OutputFormat;

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct DoctorArgs {
    /// The input store; its parts and environments are checked.
    #[arg(long, env = "EM_STORE", value_name = "DIR")]
    store: Option<PathBuf>,
    /// A folder in which jobs run; checked for being writable.
    #[arg(long, value_name = "DIR")]
    job_dir: Option<PathBuf>,
    /// A job's plan.json: its store, its job directory, its backends, its GPUs and its server are checked.
    #[arg(long, value_name = "FILE")]
    plan: Option<PathBuf>,
    /// Backends that must be ready (ort, huggingface, vllm); default: those of the plan, else those in the store.
    #[arg(long, value_delimiter = ',', value_name = "NAMES", value_parser = parse_backend)]
    backends: Vec<BackendKind>,
    /// An interpreter of your own (conda, venv), as `python` in an experiment names it: must have what --backends need
    /// [default: huggingface].
    #[arg(long, value_name = "FILE")]
    python: Option<PathBuf>,
    /// So many GPUs must be visible.
    #[arg(long, value_name = "COUNT")]
    gpus: Option<usize>,
    /// text or json.
    #[arg(short, long, value_enum, default_value_t)]
    output: OutputFormat,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Check {
    name: String,
    ok: bool,
    /// What was found, or what is wrong and how to cure it.
    detail: String,
}

impl Check {
    fn of(name: impl Into<String>, found: Result<String, String>) -> Self {
        let (ok, detail) = match found {
            Ok(detail) => (true, detail),
            Err(detail) => (false, detail),
        };
        Self { name: name.into(), ok, detail }
    }
}

pub(crate) async fn run(args: &DoctorArgs) -> ExitCode {
    let checks = checks::all(args).await;
    match args.output {
        OutputFormat::Json => println!("{}", serde_json::to_string_pretty(&checks).expect("checks are plain data")),
        OutputFormat::Text => print!("{}", table(&checks)),
    }
    if checks.iter().all(|check| check.ok) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn table(checks: &[Check]) -> String {
    let width = checks.iter().map(|check| check.name.chars().count()).max().unwrap_or(0);
    checks
        .iter()
        .map(|check| format!("{:<4} {:<width$}  {}\n", if check.ok { "ok" } else { "fail" }, check.name, check.detail))
        .collect()
}

fn parse_backend(text: &str) -> Result<BackendKind, String> {
    serde_json::from_value(serde_json::Value::String(text.to_owned()))
        .map_err(|_| format!("`{text}` is no backend; write ort, huggingface, vllm, tei or openai"))
}
