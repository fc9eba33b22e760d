//! The server as a whole: real HTTP on port 0, a real SQLite file, real job directories. Slurm alone is a fake, scripted for the
//! faults that a real one shows too rarely; the real one is in `real_slurm` and in the end-to-end tests.

#![expect(clippy::unwrap_used, reason = "tests")]

mod agent;
mod claims;
mod cleanup;
mod cluster;
mod fake_slurm;
mod faults;
mod http;
mod lifecycle;
mod limits;
mod notifications;
mod outages;
mod poison;
mod real_slurm;
mod reconcile;
mod scraped;
mod server;
