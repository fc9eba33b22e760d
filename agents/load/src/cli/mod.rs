//! `em-agent load`: a trial of a plan, as the agent starts it, or of flags, for a person with any endpoint.
//!
//! Exit codes: 0 the trial was measured; 1 it was, but a `--slo` was missed, or without any `--slo` some answers were wrong or missing
//! (only without `--plan`: an agent reads the report); 2 it could not be measured, and the reason is on stderr.

mod data;
mod flags;
mod merge;
mod output;
mod slo;
mod summary;
mod values;

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::Context;
use em_api::measurement::LoadReport;
use tokio_util::sync::CancellationToken;

use crate::{LoadError, LoadPlan};

pub use data::{DataCommand, data};
pub use flags::Flags;
pub use merge::{LoadCommand, MergeArgs};
pub use slo::Slo;

const MEASURED: i32 = 0;
const MISSED: i32 = 1;
const NOT_MEASURED: i32 = 2;

/// Drive load against an embedding endpoint and report what came back.
///
/// Exit codes: 0 measured; 1 measured, but a --slo was missed or, without any, some answers were wrong or missing; 2 not measured.
#[derive(Clone, Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct LoadArgs {
    #[command(subcommand)]
    pub command: Option<LoadCommand>,
    /// A load plan (JSON), instead of the flags below.
    #[arg(long, value_name = "FILE")]
    pub plan: Option<PathBuf>,
    /// Where the report (JSON) goes.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// One JSON object a second on stdout.
    #[arg(long)]
    pub progress_json: bool,
    /// What must hold, or the exit code is 1; may be given several times. Latencies: p50, p90, p95, p99, p99.9, avg, max, as in
    /// 'p99<50ms' (from the planned send time); 'errors<0.1%' of requests; 'texts>500' and 'requests>20' per second.
    #[arg(long, value_name = "RULE", conflicts_with = "plan")]
    pub slo: Vec<Slo>,
    #[command(flatten)]
    pub flags: Flags,
}

/// Runs `em-agent load`. Returns the exit code; errors have been told to nobody yet and mean exit code 2.
pub async fn run(args: LoadArgs) -> anyhow::Result<i32> {
    let stdout = output::take_stdout().context("keeping stdout for ourselves")?;
    run_on(args, stdout).await
}

/// The same, with what would go to stdout written to `stdout`.
pub async fn run_on(args: LoadArgs, stdout: File) -> anyhow::Result<i32> {
    if let Some(LoadCommand::Merge(args)) = &args.command {
        let report = args.merged()?;
        if let Some(path) = &args.out {
            write_report(path, &report)?;
        }
        return judged(&report, &args.slo, stdout, false);
    }
    let by_plan = args.plan.is_some();
    let plan = match &args.plan {
        Some(path) => read_plan(path)?,
        None => args.flags.plan()?,
    };
    let cancel = CancellationToken::new();
    let _watch = by_plan.then(|| cancel_when_orphaned(cancel.clone()));
    let show = output::progress(args.progress_json, stdout.try_clone().context("opening stdout again")?);
    let report = match crate::run(plan, cancel, show).await {
        Ok(report) => report,
        Err(LoadError::Cancelled) => {
            eprintln!("cancelled: nothing was measured");
            return Ok(NOT_MEASURED);
        }
        Err(error) => return Err(error.into()),
    };
    if let Some(path) = &args.out {
        write_report(path, &report)?;
    }
    if by_plan { Ok(MEASURED) } else { judged(&report, &args.slo, stdout, args.progress_json) }
}

/// The summary, and the exit code that follows from it.
fn judged(report: &LoadReport, slo: &[Slo], stdout: File, progress_json: bool) -> anyhow::Result<i32> {
    let checks: Vec<slo::Check> = slo.iter().map(|slo| slo.check(report)).collect::<anyhow::Result<_>>()?;
    output::say(stdout, &summary::render(report, &checks)?, progress_json)?;
    let missed = if checks.is_empty() { report.counts.errors() > 0 } else { checks.iter().any(|check| !check.met) };
    Ok(if missed { MISSED } else { MEASURED })
}

fn read_plan(path: &Path) -> anyhow::Result<LoadPlan> {
    let text = std::fs::read_to_string(path).map_err(|source| LoadError::ReadPlan { path: path.to_owned(), source })?;
    serde_json::from_str(&text).with_context(|| format!("{} is no load plan", path.display()))
}

/// Whole or not at all: a reader must never see half a report.
fn write_report(path: &Path, report: &LoadReport) -> anyhow::Result<()> {
    let mut name = path.file_name().context("--out must name a file")?.to_owned();
    name.push(".part");
    let part = path.with_file_name(name);
    let text = serde_json::to_vec(report).context("encoding the report")?;
    std::fs::write(&part, text).with_context(|| format!("writing {}", part.display()))?;
    std::fs::rename(&part, path).with_context(|| format!("writing {}", path.display()))
}

/// An agent that was killed cannot stop its generator: without its parent a planned trial cancels itself.
fn cancel_when_orphaned(cancel: CancellationToken) -> tokio_util::task::AbortOnDropHandle<()> {
    let parent = rustix::process::getppid();
    tokio_util::task::AbortOnDropHandle::new(tokio::spawn(async move {
        while rustix::process::getppid() == parent {
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        }
        cancel.cancel();
    }))
}
