//! Slurm from Rust: the job script, submit, list, look up, cancel, and what Slurm's words mean.
//!
//! Knows jobs and nothing else of the project. Facts about Slurm's behaviour that the code relies on stand beside the
//! code; what was run against which version is in README.md.

mod scheduler;

mod cluster;
mod pending;
mod state;
mod view;

mod extra_arg;
mod options;
mod quote;
mod script;
mod witness;

mod environment;

mod cli;
mod local;

pub use cli::{CliScheduler, CliSettings};
pub use cluster::{ClusterView, Gres, Limits, Node, Partition};
pub use extra_arg::validate_extra_arg;
pub use local::{LocalError, LocalGpus, LocalScheduler, LocalSettings};
pub use options::{JobOptions, OptionError};
pub use pending::PendingReason;
pub use quote::quote;
pub use scheduler::{CancelError, ReadError, Scheduler, SubmitError, Submitted};
pub use script::{JobScript, SCRIPT_FILE};
pub use state::JobState;
pub use view::{ExitStatus, JobView};
pub use witness::{WITNESS_FILE, Witness};
