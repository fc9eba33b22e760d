//! `emctl submit`: posts an experiment from a file, from flags, or from a file that flags change. What is not said is left to
//! the server's defaults; what is wrong is told by the server, which knows the rules.

mod compose;
mod flags;
mod post;

use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args;
use em_api::client::Client;
use em_api::client::experiments::{Body, Creation};
use em_api::experiment::{Created, TrialToCome};
use serde_json::Value;

use crate::cli::Format;
use crate::failure::Failure;
use crate::output::{complain, json, note, print, yaml};
use crate::table::{Align, render};
use crate::{human, report, wait};
use flags::SpecFlags;

const EXAMPLES: &str = "\
Examples:
  emctl submit -f examples/demo.yaml --wait --out results
  emctl submit -f demo.yaml --backends ort --name quick          the file's entry for ort, under another name
  emctl submit --model answerdotai/ModernBERT-base --backends huggingface,vllm --dataset msmarco --num-sentences 100000 \\
      --batch-sizes 16,32,64 --concurrency 10 --duration 10m --partition gpu --gres gpu:l40s:1 --time 4h --wait
  emctl submit --model ./my-model --backends ort --batch-sizes 16 32 64 --duration-minutes 10 --max-concurrent-requests 10
  emctl submit -f demo.yaml --dry-run > complete.yaml            with every default filled in; can be submitted again

Flags override the fields of the file. --duration is the measured time of one cell (backend × batch size × load), split over
the repetitions: 10m with 5 repetitions are 5 windows of 2m.";

#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct SubmitArgs {
    /// Experiment in YAML or JSON; `-` reads standard input
    #[arg(short, long, value_name = "FILE", required_unless_present = "model")]
    pub(crate) file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) follow: Follow,
    #[command(flatten)]
    pub(crate) flags: SpecFlags,
}

/// How far to go with what is posted.
#[derive(Args, Debug)]
pub(crate) struct Follow {
    /// Stay until the experiment has ended, show progress, then its results
    #[arg(long, conflicts_with = "dry_run")]
    wait: bool,
    /// Store nothing; print the complete experiment and its job script
    #[arg(long)]
    dry_run: bool,
    /// With --wait: download the report into this folder at the end
    #[arg(long, value_name = "DIR", requires = "wait")]
    out: Option<PathBuf>,
}

pub(crate) async fn run(client: &Client, submit: SubmitArgs, format: Format) -> Result<(), Failure> {
    let (body, notes) = body(&submit)?;
    complain(&notes);
    carry_out(client, body, &submit.follow, format).await
}

/// Posts the body, and stays with the experiment as long as is wished.
pub(crate) async fn carry_out(client: &Client, body: Body, follow: &Follow, format: Format) -> Result<(), Failure> {
    let Creation { new, answer } =
        if follow.dry_run { client.create_experiment(body, true).await? } else { post::post(client, &body).await? };
    complain(&answer.warnings.iter().map(|warning| format!("warning: {warning}")).collect::<Vec<_>>());
    if follow.dry_run {
        return print(&preview(&answer, format));
    }
    let name = answer.experiment.metadata.name.clone();
    if !follow.wait {
        return print(&posted(&answer, new, format));
    }
    note(&posted(&answer, new, Format::Table));
    let ended = wait::with_results(client, &name, format).await?;
    if let Some(out) = &follow.out {
        match report::fetch(client, &name, out).await {
            Ok(files) => note(&report::told(out, files)),
            // Nothing was measured: the phase tells more than a missing report.
            Err(failure) if wait::verdict(&ended).is_err() => complain(&failure.lines()),
            Err(failure) => return Err(failure),
        }
    }
    wait::verdict(&ended)
}

/// What to post, and what to tell the user about it.
fn body(submit: &SubmitArgs) -> Result<(Body, Vec<String>), Failure> {
    let file = submit.file.as_deref().map(read).transpose()?;
    match file {
        Some(bytes) if submit.flags.is_empty() => Ok((as_written(submit.file.as_deref(), bytes), Vec::new())),
        Some(bytes) => {
            let (value, notes) = compose::compose(Some(parse(&bytes)?), &submit.flags)?;
            Ok((Body::Json(value), notes))
        }
        None => {
            let (value, notes) = compose::compose(None, &submit.flags)?;
            Ok((Body::Json(value), notes))
        }
    }
}

/// The experiment in a file, and nothing else.
pub(crate) fn of_file(file: &Path) -> Result<Body, Failure> {
    Ok(as_written(Some(file), read(file)?))
}

/// The server sees (and complains about) exactly what was written.
fn as_written(file: Option<&Path>, bytes: Vec<u8>) -> Body {
    let is_json = file.and_then(Path::extension).is_some_and(|ending| ending == "json");
    if is_json { Body::JsonText(bytes) } else { Body::Yaml(bytes) }
}

fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    let fail = |source| Failure::Usage(format!("cannot read {}: {source}", file.display()));
    if file == Path::new("-") {
        let mut bytes = Vec::new();
        std::io::stdin().read_to_end(&mut bytes).map_err(fail)?;
        return Ok(bytes);
    }
    std::fs::read(file).map_err(fail)
}

/// JSON is YAML too; duplicate keys are refused by the parser.
pub(crate) fn parse(bytes: &[u8]) -> Result<Value, Failure> {
    let options = serde_saphyr::options! { strict_booleans: true, with_snippet: false };
    serde_saphyr::from_slice_with_options(bytes, options)
        .map_err(|error| Failure::Usage(format!("this is not well-formed YAML: {error}")))
}

fn posted(answer: &Created, new: bool, format: Format) -> String {
    let experiment = &answer.experiment;
    let name = &experiment.metadata.name;
    match format {
        Format::Json => json(experiment),
        Format::Yaml => yaml(experiment),
        Format::Name => name.clone(),
        Format::Table if !new => format!("{name} exists already with the same spec: {}", experiment.status.phase.as_str()),
        Format::Table => {
            let work = experiment
                .status
                .estimated_seconds
                .map(|work| format!(", about {} of work", human::seconds(work)))
                .unwrap_or_default();
            format!("{name} is posted: {} trials{work}. Watch it with `emctl wait {name}`", experiment.status.trials.total)
        }
    }
}

/// The experiment as YAML that can be submitted again, the job script behind it as comments.
fn preview(answer: &Created, format: Format) -> String {
    match format {
        Format::Json => json(answer),
        Format::Name => answer.experiment.metadata.name.clone(),
        Format::Yaml | Format::Table => {
            let mut text = yaml(&answer.experiment);
            text.push_str(&commented("The trials, in the order in which they would be measured", &to_come(&answer.trials)));
            if let Some(script) = &answer.script {
                text.push_str(&commented("The job script", script));
            }
            text
        }
    }
}

/// As YAML comments.
fn commented(title: &str, text: &str) -> String {
    let lines: String = text.lines().map(|line| format!("{}\n", format!("#   {line}").trim_end())).collect();
    format!("\n# {title}:\n{lines}")
}

/// Trials of a dry run that are printed; JSON has all.
const TRIALS_PRINTED: usize = 60;

fn to_come(trials: &[TrialToCome]) -> String {
    let columns = [
        ("JOB", Align::Right),
        ("REPETITION", Align::Right),
        ("BACKEND", Align::Left),
        ("BATCH", Align::Right),
        ("LOAD", Align::Left),
    ];
    let row = |trial: &TrialToCome| {
        let number = |number: u32| number.to_string();
        let (job, repetition, batch) = (number(trial.job), number(trial.repetition), number(trial.batch_size));
        vec![job, repetition, trial.backend.clone(), batch, trial.load.to_string()]
    };
    let rows: Vec<Vec<String>> = trials.iter().take(TRIALS_PRINTED).map(row).collect();
    let more = trials.len().saturating_sub(TRIALS_PRINTED);
    let rest = if more > 0 { format!("... and {more} more: --output json has all\n") } else { String::new() };
    render(&columns, &rows) + &rest
}

#[cfg(test)]
mod tests;
