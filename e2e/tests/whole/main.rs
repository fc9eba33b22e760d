//! Each file is one promise to a user, on a real Slurm cluster.

#![expect(clippy::unwrap_used, reason = "a test ends where something is missing")]

mod faults;
mod main_job;
mod observed;
mod standalone;
mod survives_kill;
