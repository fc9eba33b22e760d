//! Slurm from Rust: the job script, submit, list, look up, cancel, and what Slurm's words mean.
//!
//! Knows jobs and nothing else of the project. Facts about Slurm's behaviour that the code relies on stand beside the
//! code; what was run against which version is in README.md.

mod scheduler;

mod cluster;
mod gres;
mod node_list;
mod pending;
mod second_key;
mod state;
mod view;

mod container;
mod env_name;
mod extra_arg;
mod options;
mod quote;
mod script;
mod witness;

mod environment;

mod cli;
mod local;
mod rest;

pub use cli::{CliScheduler, CliSettings, SQUEUE_FORMAT, parse_squeue};
pub use cluster::{ClusterView, Gres, Limits, Node, Partition};
pub use container::Container;
pub use env_name::validate_env_name;
pub use extra_arg::validate_extra_arg;
pub use gres::{GresCount, parse_gpus, parse_gres};
pub use local::{LocalError, LocalGpus, LocalScheduler, LocalSettings};
pub use node_list::{NodeListError, expand_node_list};
pub use options::{JobOptions, OptionError};
pub use pending::PendingReason;
pub use quote::quote;
pub use rest::{RestEndpoint, RestError, RestScheduler, RestSettings, RestVersion, TokenSource, UnknownVersion};
pub use scheduler::{CancelError, ReadError, Scheduler, SubmitError, Submitted};
pub use script::{JobScript, SCRIPT_FILE, validate_job_dir};
pub use state::JobState;
pub use view::{ExitStatus, JobView};
pub use witness::{WITNESS_FILE, Witness};

#[cfg(test)]
#[path = "../tests/it/hostile.rs"]
mod hostile;
