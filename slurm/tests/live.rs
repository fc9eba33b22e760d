//! What Slurm's states, reasons, exit statuses and refusals look like, each produced on a real cluster and read by this crate: the
//! lines of the project's notes on Slurm, as tests. The feature `long-tests` adds those that take minutes (`make test-slurm`).
//! Another Slurm is tried with `EM_TEST_SLURM_PREFIX=DIR`.

#[path = "it/cluster.rs"]
#[allow(dead_code, reason = "shared with the other test binary, which uses the rest")]
mod cluster;
#[path = "live/stage.rs"]
mod stage;

#[path = "live/controller.rs"]
mod controller;
#[path = "live/ends.rs"]
mod ends;
#[path = "live/memory.rs"]
mod memory;
#[cfg(feature = "long-tests")]
#[path = "live/no_munge.rs"]
mod no_munge;
#[path = "live/purge.rs"]
mod purge;
#[path = "live/queue.rs"]
mod queue;
#[path = "live/refusals.rs"]
mod refusals;
#[path = "live/returns.rs"]
mod returns;
#[cfg(feature = "long-tests")]
#[path = "live/time_limits.rs"]
mod time_limits;
