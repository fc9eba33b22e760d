//! What an embedding server must do to be measured beside others: one suite of checks over HTTP, the same for every kind. Where a
//! kind rightly differs, `profile` says so by name. `em-agent conformance URL --kind KIND` runs it against any server.

mod checks;
mod profile;
mod subject;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::time::Instant;

use em_api::spec::BackendKind;
use futures_util::future::BoxFuture;
use serde::Serialize;

use crate::launch::KeySource;
pub use profile::{Difference, known};
pub use subject::{Settings, Subject};

/// What a check saw; `Err`: what is wrong, in a sentence.
type Seen = Result<Finding, String>;

enum Finding {
    /// With what is worth telling; may be empty.
    Fine(String),
    Differs(Difference, String),
    /// Why it could not be looked at.
    Skipped(String),
}

fn fine(detail: impl Into<String>) -> Seen {
    Ok(Finding::Fine(detail.into()))
}

fn differs(difference: Difference, detail: impl Into<String>) -> Seen {
    Ok(Finding::Differs(difference, detail.into()))
}

/// One check: its name, and how it is done.
struct Check {
    name: &'static str,
    run: for<'a> fn(&'a Subject) -> BoxFuture<'a, Seen>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Ok,
    /// As this kind is known to.
    Differs,
    Skipped,
    Failed,
}

/// A line of the table.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    pub check: &'static str,
    pub verdict: Verdict,
    /// The name of the difference.
    pub difference: Option<&'static str>,
    pub detail: String,
    pub seconds: f64,
}

/// Runs all checks, one after the other. The last ones leave the server ended, where its process was named.
pub async fn examine(subject: &Subject) -> Vec<Line> {
    let mut lines = Vec::new();
    for check in checks::all() {
        let started = Instant::now();
        let seen = (check.run)(subject).await;
        lines.push(line(subject.kind, check.name, seen, started.elapsed().as_secs_f64()));
    }
    lines
}

fn line(kind: BackendKind, check: &'static str, seen: Seen, seconds: f64) -> Line {
    let (verdict, difference, detail) = match seen {
        Ok(Finding::Fine(detail)) => (Verdict::Ok, None, detail),
        Ok(Finding::Skipped(why)) => (Verdict::Skipped, None, why),
        Ok(Finding::Differs(difference, detail)) if known(kind).contains(&difference) => {
            (Verdict::Differs, Some(difference.name()), detail)
        }
        Ok(Finding::Differs(difference, detail)) => {
            (Verdict::Failed, Some(difference.name()), format!("{detail}; {kind} is not known for this"))
        }
        Err(problem) => (Verdict::Failed, None, problem),
    };
    Line { check, verdict, difference, detail, seconds }
}

pub fn table(lines: &[Line]) -> String {
    let width = lines.iter().map(|line| line.check.len()).max().unwrap_or(0);
    let mut text = String::new();
    for line in lines {
        let word = match line.verdict {
            Verdict::Ok => "ok",
            Verdict::Differs => "differs",
            Verdict::Skipped => "skipped",
            Verdict::Failed => "FAILED",
        };
        let difference = line.difference.map(|name| format!("[{name}] ")).unwrap_or_default();
        let slow = if line.seconds >= 5.0 { format!(" ({:.0} s)", line.seconds) } else { String::new() };
        let row = format!("{word:<8} {:<width$}  {difference}{}{slow}", line.check, line.detail);
        text.push_str(row.trim_end());
        text.push('\n');
    }
    let count = |verdict| lines.iter().filter(|line| line.verdict == verdict).count();
    let seconds: f64 = lines.iter().map(|line| line.seconds).sum();
    text.push_str(&format!(
        "\n{} checks in {seconds:.1} s: {} ok, {} differ as this kind is known to, {} skipped, {} failed\n",
        lines.len(),
        count(Verdict::Ok),
        count(Verdict::Differs),
        count(Verdict::Skipped),
        count(Verdict::Failed)
    ));
    text
}

#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Exit codes: 0 it conforms; 1 some check failed; 2 the server does not answer.

Examples:
  em-agent conformance http://127.0.0.1:8002 --kind ort
  em-agent conformance http://127.0.0.1:8000 --kind huggingface --reference http://127.0.0.1:8002
  em-agent conformance https://api.example.org/v1 --kind openai --model text-embedding-3-small --api-key-env OPENAI_API_KEY")]
pub struct ConformanceArgs {
    /// Address of a running server, with or without /v1.
    pub url: String,
    /// What it is: ort, huggingface, vllm, tei, or openai for any other.
    #[arg(long, default_value = "openai", value_parser = parse_kind)]
    pub kind: BackendKind,
    /// The model's name in requests [default: the first that the server names].
    #[arg(long)]
    pub model: Option<String>,
    /// Another running server of the same model: the vectors of 200 texts must agree.
    #[arg(long, value_name = "URL")]
    pub reference: Option<String>,
    /// Kind of the reference.
    #[arg(long, default_value = "openai", value_parser = parse_kind, requires = "reference")]
    pub reference_kind: BackendKind,
    /// Least cosine between vectors that must be the same: 0.9999 for float32, 0.999 for half precision.
    #[arg(long, default_value_t = 0.9999)]
    pub min_cosine: f64,
    /// Vectors are not of unit length.
    #[arg(long)]
    pub no_normalize: bool,
    /// Words of a text that is too long for the model.
    #[arg(long, default_value_t = 2_000)]
    pub long_words: usize,
    /// Texts of the largest request, where the server states no limit of its own.
    #[arg(long, default_value_t = 128)]
    pub max_texts: usize,
    /// The model's tokenizer.json, for token ids where the server has no /tokenize.
    #[arg(long, value_name = "FILE")]
    pub tokenizer: Option<PathBuf>,
    /// The server's process: it is sent SIGTERM at the end, to see how it drains.
    #[arg(long, value_name = "PID")]
    pub pid: Option<u32>,
    /// A file that holds the bearer token of a protected server.
    #[arg(long, value_name = "FILE", conflicts_with = "api_key_env")]
    pub api_key_file: Option<String>,
    /// The environment variable that holds it instead.
    #[arg(long, value_name = "NAME")]
    pub api_key_env: Option<String>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// Exit code: see the help.
pub async fn run(args: ConformanceArgs) -> u8 {
    match lines(&args).await {
        Ok(lines) => {
            let shown = if args.json { serde_json::to_string_pretty(&lines).expect("lines are plain data") } else { table(&lines) };
            println!("{}", shown.trim_end());
            u8::from(lines.iter().any(|line| line.verdict == Verdict::Failed))
        }
        Err(problem) => {
            eprintln!("error: {problem}");
            2
        }
    }
}

async fn lines(args: &ConformanceArgs) -> Result<Vec<Line>, String> {
    let key = KeySource { file: args.api_key_file.clone(), variable: args.api_key_env.clone() }.read()?;
    let settings = Settings {
        min_cosine: args.min_cosine,
        long_words: args.long_words,
        max_texts: args.max_texts,
        normalized: !args.no_normalize,
        tokenizer: args.tokenizer.clone(),
        pid: args.pid,
    };
    let base = |url: &str| crate::launch::base_of(url);
    let subject = Subject::new(base(&args.url), args.kind, args.model.clone(), key, settings.clone()).await?;
    let mut lines = Vec::new();
    if let Some(url) = &args.reference {
        let reference = Subject::new(base(url), args.reference_kind, args.model.clone(), None, settings).await?;
        let started = Instant::now();
        let seen = checks::agree(&subject, &reference).await;
        lines.push(line(args.kind, "agrees-with-reference", seen, started.elapsed().as_secs_f64()));
    }
    lines.extend(examine(&subject).await);
    Ok(lines)
}

fn parse_kind(text: &str) -> Result<BackendKind, String> {
    serde_json::from_value(serde_json::Value::String(text.to_owned()))
        .map_err(|_| format!("`{text}` is no kind of server; write ort, huggingface, vllm, tei or openai"))
}
