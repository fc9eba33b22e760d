//! `em-agent load merge`: the reports of several generators as one.

use std::path::{Path, PathBuf};

use anyhow::Context;
use em_api::measurement::LoadReport;

use super::Slo;
use crate::merge;

/// Overlap of the windows, as a share, below which a reader should hesitate.
const GOOD_OVERLAP: f64 = 0.95;

#[derive(Clone, Debug, clap::Subcommand)]
pub enum LoadCommand {
    /// Merge the reports of generators that ran at the same time against one service: exact, histograms bucket for bucket
    ///
    /// Give the generators the same flags but for --text-offset, so that each sends texts of its own, and parts of the load:
    /// concurrencies and rates are added. Exit codes as of `load`.
    Merge(MergeArgs),
}

#[derive(Clone, Debug, clap::Args)]
pub struct MergeArgs {
    /// Reports that `em-agent load --out` wrote.
    #[arg(required = true, num_args = 2.., value_name = "REPORT")]
    reports: Vec<PathBuf>,
    /// Where the merged report (JSON) goes.
    #[arg(short, long, value_name = "FILE")]
    pub(super) out: Option<PathBuf>,
    /// What must hold, or the exit code is 1; as for `load`.
    #[arg(long, value_name = "RULE")]
    pub(super) slo: Vec<Slo>,
}

impl MergeArgs {
    /// Says on stderr what a reader should know of how the generators ran.
    pub(super) fn merged(&self) -> anyhow::Result<LoadReport> {
        let reports: Vec<(String, LoadReport)> = self.reports.iter().map(|path| read(path)).collect::<anyhow::Result<_>>()?;
        let report = merge::merge(&reports)?;
        for name in merge::same_texts(&reports) {
            eprintln!(
                "warning: {name} holds the same texts in the same order as another report: give each generator its own --text-offset"
            );
        }
        if let Some(merged) = report.merged
            && merged.overlap_s < GOOD_OVERLAP * report.window_s
        {
            eprintln!(
                "warning: the windows overlap by {:.1} of {:.1} s only; outside of it a part of the load was missing",
                merged.overlap_s, report.window_s
            );
        }
        Ok(report)
    }
}

fn read(path: &Path) -> anyhow::Result<(String, LoadReport)> {
    let text = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    let report = serde_json::from_slice(&text).with_context(|| format!("{} is no report of `em-agent load`", path.display()))?;
    Ok((path.display().to_string(), report))
}
