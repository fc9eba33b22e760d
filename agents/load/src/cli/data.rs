//! `em-agent data prepare`: a user's data set into the input store, with progress and an account of every line.

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::ensure;
use em_api::spec::DatasetSource;

use super::summary::Lines;
use crate::dataset::prepare::{Preparation, Prepared, Step, prepare};

#[derive(Clone, Debug, clap::Subcommand)]
pub enum DataCommand {
    /// Put a data set of yours into the input store, where experiments find it by its source
    Prepare(PrepareArgs),
}

const EXAMPLES: &str = "\
Examples:
  em-agent data prepare --store /srv/store --source msmarco --from collection.tsv
  em-agent data prepare --store /srv/store --source msmarco --from msmarco_v2_passage/ --limit 500000
  em-agent data prepare --store /srv/store --source parquet --from 'v2.1/train-*.parquet'
  em-agent data prepare --store /srv/store --source parquet --from notes.parquet --column body
  em-agent data prepare --store /srv/store --source jsonl --from beir/nfcorpus/

An experiment then says `dataset: {source: msmarco}`, without a path.";

#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct PrepareArgs {
    /// What it is, and what experiments name it by: msmarco (collection.tsv, passage v2 JSON lines, parquet of the hub), tsv, jsonl
    /// (BEIR too), parquet or text.
    #[arg(long, value_name = "SOURCE", value_parser = super::flags::word::<DatasetSource>)]
    source: DatasetSource,
    /// A file, a folder, or a pattern with `*` in its last part; .gz and .zst are unpacked on the way.
    #[arg(long, value_name = "PATH")]
    from: PathBuf,
    /// Only the first so many texts.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Parquet: the column with the texts, in place of passages.passage_text, text, passage, content or contents.
    #[arg(long, value_name = "NAME")]
    column: Option<String>,
    /// Folder of the store; made when missing.
    #[arg(long, value_name = "DIR", env = "EM_STORE")]
    store: PathBuf,
}

/// Progress goes to stderr, the account to stdout.
pub fn data(command: &DataCommand) -> anyhow::Result<()> {
    let DataCommand::Prepare(args) = command;
    ensure!(args.source != DatasetSource::Wordnet, "--source: wordnet is built in; `em-agent setup --dataset wordnet` brings it");
    let asked = Preparation {
        source: args.source,
        from: &args.from,
        column: args.column.as_deref(),
        limit: args.limit,
        store: &args.store,
    };
    let mut shown = Duration::ZERO;
    let terminal = io::stderr().is_terminal();
    let mut show = |step: Step<'_>| {
        // What cannot be shown is no reason to stop.
        if terminal {
            let _ = write!(io::stderr(), "\r\x1b[K{}", line(step));
        } else if step.passed >= shown + Duration::from_secs(5) {
            shown = step.passed;
            let _ = writeln!(io::stderr(), "{}", line(step));
        }
    };
    let prepared = prepare(&asked, &|waiting| eprintln!("{waiting} …"), &mut show);
    if terminal {
        let _ = write!(io::stderr(), "\r\x1b[K");
    }
    print!("{}", account(&prepared?, args));
    Ok(())
}

fn line(step: Step<'_>) -> String {
    let (read, passed) = (step.tally.read, step.passed.as_secs_f64());
    let (megabytes, malformed) = (step.bytes as f64 / 1e6, step.tally.malformed);
    format!(
        "{read} read, {megabytes:.0} MB of texts, {:.0}/s, {:.1} MB/s, {malformed} malformed",
        read as f64 / passed,
        megabytes / passed
    )
}

fn account(prepared: &Prepared, args: &PrepareArgs) -> String {
    let Prepared { entry, tally, bytes, passed, .. } = prepared;
    let (seconds, megabytes) = (passed.as_secs_f64().max(1e-3), *bytes as f64 / 1e6);
    let mut lines = Lines::default();
    lines.add("read", &format!("{} of {}", tally.read, prepared.files));
    let limited = if args.limit.is_some_and(|limit| tally.kept >= limit) { ", as many as --limit asks for" } else { "" };
    lines.add("kept", &format!("{} texts, {megabytes:.1} MB{limited}", tally.kept));
    lines.add("empty", &tally.empty.to_string());
    lines.add("malformed", &tally.malformed.to_string());
    for malformed in &tally.first_malformed {
        lines.add("  left out", &malformed.to_string());
    }
    let rate = tally.read as f64 / seconds;
    lines.add("time", &format!("{seconds:.1} s, {rate:.0}/s, {:.1} MB/s", megabytes / seconds));
    lines.add("store", &prepared.folder.display().to_string());
    lines.add("sha256", &entry.sha256);
    if let Some(replaced) = &prepared.replaced {
        let replaced = args.store.join(replaced);
        lines.add("replaced", &format!("{}; remove it when no job reads it", replaced.display()));
    }
    lines.add("experiment", &format!("dataset: {{source: {}}}", entry.key));
    lines.0
}
