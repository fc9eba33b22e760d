//! Commands and options, with the help that teaches them.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::prepare::PrepareArgs;
use crate::rerun::RerunArgs;
use crate::script::ScriptArgs;
use crate::submit::SubmitArgs;

const EXAMPLES: &str = "\
Examples:
  emctl submit -f examples/demo.yaml --wait --out results   run an experiment, watch it, keep the report
  emctl submit -f demo.yaml --backends ort --dry-run        what would run, with all defaults and the job script
  emctl submit --model sentence-transformers/all-MiniLM-L6-v2 --backends ort,huggingface,vllm \\
      --batch-sizes 16,32,64 --concurrency 10 --duration 10m --num-sentences 100000 --partition gpu --gres gpu:1 --wait
  emctl get                                                 all experiments
  emctl get -l team=search --field-selector status.phase=Running
  emctl results demo                                        the table of an experiment, finished or not
  emctl logs demo -f                                        what its services and load generator say

Exit codes: 0 done (for --wait and wait: Succeeded) · 1 Failed, Cancelled or another error · 2 wrong usage or refused
            3 the control plane does not answer · 4 not found, or the name is taken";

/// Runs experiments that compare embedding servers on a Slurm cluster.
#[derive(Parser)]
#[command(name = "emctl", version, after_help = EXAMPLES, propagate_version = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) connection: Connection,
    /// How to print: `table` is for people, `name` prints names only
    #[arg(short, long, value_enum, default_value = "table", global = true)]
    pub(crate) output: Format,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Args)]
#[command(next_help_heading = "Where the control plane is")]
pub(crate) struct Connection {
    /// Address of the control plane [default: the one that runs with the state directory]
    #[arg(long, env = "EM_SERVER", value_name = "URL", global = true)]
    pub(crate) server: Option<String>,
    /// Bearer token [default: the admin token in the state directory]
    #[arg(long, env = "EM_TOKEN", value_name = "TOKEN", hide_env_values = true, global = true)]
    pub(crate) token: Option<String>,
    /// File that holds the token; keeps it out of the list of processes
    #[arg(long, env = "EM_TOKEN_FILE", value_name = "FILE", global = true, conflicts_with = "token")]
    pub(crate) token_file: Option<PathBuf>,
    /// State directory of a server on this machine [default: $XDG_STATE_HOME/em or ~/.local/state/em]
    #[arg(long, env = "EM_STATE_DIR", value_name = "DIR", global = true)]
    pub(crate) state_dir: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Table,
    Json,
    Yaml,
    Name,
}

const PATCH_EXAMPLES: &str = "\
Examples:
  emctl patch demo -p '{\"spec\": {\"priority\": 10}}'
  emctl patch demo -p '{\"metadata\": {\"labels\": {\"team\": \"search\", \"draft\": null}}}'
  emctl patch demo -p 'spec: {ttl: 30d, logsTtl: 7d}'";

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Post an experiment, from a file or from flags
    Submit(Box<SubmitArgs>),
    /// Post the same experiment once more
    Rerun(RerunArgs),
    /// List experiments, or show one
    Get {
        name: Option<String>,
        /// Show again at each change
        #[arg(short, long)]
        watch: bool,
        /// Labels as in Kubernetes, for example team=search,stage!=test,tier in (a,b),!draft
        #[arg(short = 'l', long, value_name = "LABELS", conflicts_with = "name")]
        selector: Option<String>,
        /// Fields by = and !=: metadata.name, metadata.owner, spec.model.id, status.phase; for example status.phase=Running
        #[arg(long, value_name = "FIELDS", conflicts_with = "name")]
        field_selector: Option<String>,
    },
    /// All about one experiment: conditions, trials, jobs, the last events
    Describe { name: String },
    /// What the agent, the services and the load generator said
    Logs {
        name: String,
        /// Stay, and print lines as they come
        #[arg(short, long)]
        follow: bool,
    },
    /// What happened to an experiment, and why
    Events {
        name: String,
        /// Stay, and print events as they happen
        #[arg(short, long)]
        watch: bool,
    },
    /// Watch an experiment until it ends; the exit code tells how
    Wait { name: String },
    /// Throughput, latency, resources, comparisons and agreement of vectors
    Results { name: String },
    /// What it takes to run the same again: nodes, services, versions, hashes, seeds, jobs with their wait
    Capsule { name: String },
    /// Download the report: HTML, Markdown, text, CSV, JSON, plots
    Report {
        name: String,
        /// Folder to write to; made where it is missing
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
    /// The job script, as sbatch gets it; or a folder that runs without any server
    Script(ScriptArgs),
    /// Fill the input store with what an experiment needs: model, texts, environments
    Prepare(PrepareArgs),
    /// Hand what a run without a server measured to the control plane
    Import {
        /// The folder that `emctl script --standalone` wrote, after its run
        dir: PathBuf,
        /// Name for the experiment, where its own is taken
        #[arg(long)]
        name: Option<String>,
    },
    /// Stop an experiment; what was measured stays
    Cancel { name: String },
    /// Take an experiment off the cluster for now; finished trials are kept
    Suspend { name: String },
    /// Go on with a suspended experiment
    Resume { name: String },
    /// Change labels, annotations, priority, retries, ttl or logsTtl of an experiment
    #[command(after_help = PATCH_EXAMPLES)]
    Patch {
        name: String,
        /// JSON merge patch (RFC 7396), in JSON or YAML; null removes a label or a ttl
        #[arg(short, long, value_name = "PATCH")]
        patch: String,
    },
    /// Cancel an experiment and remove it with all it measured
    Delete { name: String },
    /// What the cluster has and what is free: partitions with their limits, nodes, GPUs by type
    Cluster,
    /// Print a link that opens the dashboard in a browser, once
    Dashboard,
    /// Print a completion script for a shell
    Completion { shell: Shell },
}
