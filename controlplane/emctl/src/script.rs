//! `emctl script`: the job script of an experiment that is posted, of one in a file, or a folder that runs without any server.

use std::path::PathBuf;

use clap::Args;
use em_api::client::Client;

use crate::failure::Failure;
use crate::output::{complain, print};
use crate::{standalone, submit};

const EXAMPLES: &str = "\
Examples:
  emctl script demo                                  the script of demo's newest (or first) job
  emctl script -f examples/demo.yaml                 the script that this experiment would have; nothing is stored
  emctl script --standalone run1 -f examples/demo.yaml
      writes run1/ with job.sh and plan.json: `sbatch run1/job.sh` or `bash run1/job.sh` then measures without any server. The
      folder, the store and em-agent must be where the compute nodes see them under the same paths.
  emctl import run1                                  hand the results of such a run to the control plane";

#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ScriptArgs {
    /// An experiment of the control plane
    #[arg(required_unless_present = "file", conflicts_with = "file")]
    name: Option<String>,
    /// Experiment in YAML or JSON; `-` reads standard input
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Write a folder that runs by plain `sbatch job.sh` or `bash job.sh`, without any server
    #[arg(long, value_name = "DIR", requires = "file")]
    standalone: Option<PathBuf>,
}

pub(crate) async fn run(client: &Client, args: ScriptArgs) -> Result<(), Failure> {
    let Some(file) = args.file else { return print(&client.script(&args.name.unwrap_or_default()).await?) };
    let body = submit::of_file(&file)?;
    if let Some(dir) = &args.standalone {
        return standalone::write(client, body, dir).await;
    }
    let answer = client.create_experiment(body, true).await?.answer;
    complain(&answer.warnings.iter().map(|warning| format!("warning: {warning}")).collect::<Vec<_>>());
    print(&answer.script.unwrap_or_default())
}
