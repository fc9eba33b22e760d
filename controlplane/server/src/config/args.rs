//! The command line. Each setting is also an `EM_…` variable and a key of the TOML file (the flag's name without dashes in front).

use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use em_api::HumanDuration;
use serde::Deserialize;

use super::limits::LabelLimit;

/// Embedding Meter's control plane: turns experiments into Slurm jobs and their measurements into results.
#[derive(Debug, Parser)]
#[command(name = "em-controlplane", version)]
pub struct Args {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the server.
    ///
    /// The first start makes a database and an admin token in the state directory; `emctl` finds both by itself. Stop it with SIGTERM
    /// or Ctrl-C at any time: jobs go on, and the next start finds them.
    #[command(after_help = "Example:\n  em-controlplane serve --job-dir /shared/$USER/em-jobs\n  emctl dashboard\n\n\
                            Every option can stand in a TOML file given by --config:\n  listen = \"127.0.0.1:8080\"\n  \
                            job-dir = \"/shared/me/em-jobs\"\n  poll-interval = \"15s\"")]
    Serve(Box<ServeArgs>),

    /// Look whether `serve` would work here, with the same settings.
    ///
    /// Looks at the directories, the agent and Slurm, and submits one small held job to see that names come back as they were sent; the job is
    /// cancelled at once. Can run beside a server. One line a check: ✓ fine, ! works with a limit, ✗ to repair first. Exit status 1 when
    /// anything is ✗.
    #[command(after_help = "Example:\n  em-controlplane doctor --job-dir /shared/$USER/em-jobs --partition gpu --account research")]
    Doctor(Box<DoctorArgs>),
}

#[derive(Clone, Debug, ClapArgs)]
pub struct DoctorArgs {
    /// Partition of the job that is tried
    #[arg(long, value_name = "NAME")]
    pub partition: Option<String>,

    /// Account of the job that is tried
    #[arg(long, value_name = "NAME")]
    pub account: Option<String>,

    /// QOS of the job that is tried
    #[arg(long, value_name = "NAME")]
    pub qos: Option<String>,

    /// How to print
    #[arg(short, long, value_enum, default_value = "text")]
    pub output: DoctorFormat,

    #[command(flatten)]
    pub serve: ServeArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DoctorFormat {
    Text,
    Json,
}

/// Absent: not given here, so the next weaker source decides.
#[derive(Clone, Debug, Default, ClapArgs, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct ServeArgs {
    /// Address of API and dashboard. Loopback only; port 0 takes the last start's port or any free one [default: 127.0.0.1:8080]
    #[arg(long, env = "EM_LISTEN", value_name = "ADDR")]
    pub listen: Option<SocketAddr>,

    /// A second address that serves agents only (/agent/*). Loopback only, until TLS is built in
    #[arg(long, env = "EM_AGENT_LISTEN", value_name = "ADDR")]
    pub agent_listen: Option<SocketAddr>,

    /// What agents dial, when it differs from the listening address (a tunnel, a host name)
    #[arg(long, env = "EM_ADVERTISE", value_name = "URL")]
    pub advertise: Option<String>,

    /// Database, tokens, lock; on a local disk [default: $XDG_STATE_HOME/em or ~/.local/state/em]
    #[arg(long, env = "EM_STATE_DIR", value_name = "DIR")]
    pub state_dir: Option<PathBuf>,

    /// Job directories; shared with the compute nodes [default: STATE_DIR/jobs]
    #[arg(long, env = "EM_JOB_DIR", value_name = "DIR")]
    pub job_dir: Option<PathBuf>,

    /// Models, data sets and environments; shared with the compute nodes [default: JOB_DIR/store]
    #[arg(long, env = "EM_STORE_DIR", value_name = "DIR")]
    pub store_dir: Option<PathBuf>,

    /// The em-agent binary, as compute nodes see it [default: beside this program]
    #[arg(long, env = "EM_AGENT", value_name = "FILE")]
    pub agent: Option<PathBuf>,

    /// How jobs are run: through Slurm's commands, through slurmrestd, or without Slurm [default: cli]
    #[arg(long, env = "EM_SCHEDULER", value_enum)]
    pub scheduler: Option<SchedulerKind>,

    /// Folder of sbatch, squeue, sacct and scancel, when they are not on PATH
    #[arg(long, env = "EM_SLURM_BIN_DIR", value_name = "DIR")]
    pub slurm_bin_dir: Option<PathBuf>,

    /// A Slurm command that has not ended after this long is given up [default: 30s]
    #[arg(long, env = "EM_SLURM_TIMEOUT", value_name = "DURATION")]
    pub slurm_timeout: Option<HumanDuration>,

    /// With --scheduler rest: the path of slurmrestd's Unix socket, or http://host:port
    #[arg(long, env = "EM_SLURMRESTD", value_name = "ADDRESS")]
    pub slurmrestd: Option<String>,

    /// With --scheduler rest: the account that the jobs belong to: the token's, or over a socket the one that slurmrestd runs as
    /// [default: yours]
    #[arg(long, env = "EM_SLURMRESTD_USER", value_name = "NAME")]
    pub slurmrestd_user: Option<String>,

    /// With --scheduler rest: a file (0600) with the JSON web token; read anew when it changes
    #[arg(long, env = "EM_SLURMRESTD_TOKEN_FILE", value_name = "FILE")]
    pub slurmrestd_token_file: Option<PathBuf>,

    /// With --scheduler rest: a command that prints a token, run again before it expires, such as "scontrol token lifespan=3600"
    #[arg(long, env = "EM_SLURMRESTD_TOKEN_COMMAND", value_name = "COMMAND", conflicts_with = "slurmrestd_token_file")]
    pub slurmrestd_token_command: Option<String>,

    /// With --scheduler rest: the version to speak, v0.0.36 to v0.0.45 [default: the newest that the server has]
    #[arg(long, env = "EM_SLURMRESTD_VERSION", value_name = "VERSION")]
    pub slurmrestd_version: Option<String>,

    /// With --scheduler local: GPUs of this machine that jobs may have; a count, indices or UUIDs, a type before `:` (2, 0-3, l40s:2)
    /// [default: none]
    #[arg(long, env = "EM_LOCAL_GPUS", value_name = "GPUS")]
    pub local_gpus: Option<String>,

    /// With --scheduler local: how many jobs run at one time; more than one disturb each other's measurements [default: 1]
    #[arg(long, env = "EM_LOCAL_JOBS", value_name = "COUNT")]
    pub local_jobs: Option<NonZeroUsize>,

    /// Database: sqlite:///path/em.db or postgres://user@host/name. One with a password belongs into EM_DATABASE or the file: command lines
    /// are visible to all [default: SQLite in the state directory]
    #[arg(long, env = "EM_DATABASE", value_name = "URL")]
    pub database: Option<String>,

    /// A TOML file with the same settings; flags and EM_… variables win
    #[arg(long, env = "EM_CONFIG", value_name = "FILE")]
    #[serde(skip)]
    pub config: Option<PathBuf>,

    /// How often Slurm is asked about jobs [default: 15s]
    #[arg(long, env = "EM_POLL_INTERVAL", value_name = "DURATION")]
    pub poll_interval: Option<HumanDuration>,

    /// The same for a minute after a submit, a cancel, a claim or an agent's farewell [default: 3s]
    #[arg(long, env = "EM_FAST_POLL_INTERVAL", value_name = "DURATION")]
    pub fast_poll_interval: Option<HumanDuration>,

    /// Reads of Slurm in any 60 seconds at most, whatever the number of jobs [default: 20]
    #[arg(long, env = "EM_SLURM_READS_PER_MINUTE", value_name = "NUMBER")]
    pub slurm_reads_per_minute: Option<u32>,

    /// After an unclear sbatch: how long the job may take to show up before it is submitted again (2 x Slurm's MessageTimeout)
    /// [default: 20s]
    #[arg(long, env = "EM_SETTLE_TIME", value_name = "DURATION")]
    pub settle_time: Option<HumanDuration>,

    /// Submissions a second, on average; 0: no limit [default: 2]
    #[arg(long, env = "EM_SUBMIT_RATE", value_name = "NUMBER")]
    pub submit_rate: Option<f64>,

    /// Submissions at once, before the rate counts [default: 20]
    #[arg(long, env = "EM_SUBMIT_BURST", value_name = "NUMBER")]
    pub submit_burst: Option<u32>,

    /// First pause when Slurm takes no more jobs of this account; doubles each time, up to 2 minutes [default: 15s]
    #[arg(long, env = "EM_LIMIT_PAUSE", value_name = "DURATION")]
    pub limit_pause: Option<HumanDuration>,

    /// Reading and writing a job directory is given up after this long, and tried again later [default: 10s]
    #[arg(long, env = "EM_JOB_DIR_TIMEOUT", value_name = "DURATION")]
    pub job_dir_timeout: Option<HumanDuration>,

    /// A job that no source knows and whose agent is silent is given up after this long [default: 2m]
    #[arg(long, env = "EM_MISSING_GRACE", value_name = "DURATION")]
    pub missing_grace: Option<HumanDuration>,

    /// First pause before a failed job is submitted again; doubles each time, up to 10 minutes [default: 10s]
    #[arg(long, env = "EM_RETRY_BACKOFF", value_name = "DURATION")]
    pub retry_backoff: Option<HumanDuration>,

    /// How long files of an ended job may take to become visible here [default: 5s]
    #[arg(long, env = "EM_COLLECT_GRACE", value_name = "DURATION")]
    pub collect_grace: Option<HumanDuration>,

    /// An agent not heard for this long is reported as silent [default: 60s]
    #[arg(long, env = "EM_AGENT_SILENT_AFTER", value_name = "DURATION")]
    pub agent_silent_after: Option<HumanDuration>,

    /// How long an agent waits for us before the job directory decides its claim [default: 2m]
    #[arg(long, env = "EM_CLAIM_TIMEOUT", value_name = "DURATION")]
    pub claim_timeout: Option<HumanDuration>,

    /// Experiments with jobs at one time; those beyond wait by priority and age [default: no limit]
    #[arg(long, env = "EM_MAX_ACTIVE_EXPERIMENTS", value_name = "COUNT")]
    pub max_active_experiments: Option<NonZeroU32>,

    /// The same for each value of a label, such as team=4; can be given several times [default: no limit]
    #[arg(long, env = "EM_MAX_ACTIVE", value_name = "KEY=COUNT", value_delimiter = ',')]
    pub max_active: Vec<LabelLimit>,

    /// Where the end of each experiment is told: POST of JSON, signed (see the guide). Needs --webhook-secret-file
    #[arg(long, env = "EM_WEBHOOK_URL", value_name = "URL")]
    pub webhook_url: Option<String>,

    /// A file (0600) with the secret that notifications are signed with
    #[arg(long, env = "EM_WEBHOOK_SECRET_FILE", value_name = "FILE")]
    pub webhook_secret_file: Option<PathBuf>,

    /// First pause before a notification is sent again; doubles each time, up to an hour, for a day [default: 10s]
    #[arg(long, env = "EM_WEBHOOK_RETRY_PAUSE", value_name = "DURATION")]
    pub webhook_retry_pause: Option<HumanDuration>,

    /// How long removals of experiments are remembered for watchers that were away; who comes back later lists again [default: 24h]
    #[arg(long, env = "EM_WATCH_HISTORY", value_name = "DURATION")]
    pub watch_history: Option<HumanDuration>,

    /// Format of the log on standard error (its level is set by RUST_LOG) [default: text]
    #[arg(long, env = "EM_LOG_FORMAT", value_enum)]
    pub log_format: Option<LogFormat>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SchedulerKind {
    /// sbatch, squeue, sacct, scancel.
    Cli,
    /// slurmrestd: a service of Slurm's, by a Unix socket or with a token.
    Rest,
    /// No Slurm: jobs as processes of this machine, a laptop or one GPU server.
    Local,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Text,
    Json,
}
