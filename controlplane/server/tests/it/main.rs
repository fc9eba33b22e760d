//! The server as a whole: real HTTP on port 0, a real SQLite file or PostgreSQL, real job directories. Slurm alone is a fake, scripted for the
//! faults that a real one shows too rarely; the real one is in `real_slurm` and in the end-to-end tests.

#![expect(clippy::unwrap_used, reason = "tests")]

mod agent;
mod claims;
mod cleanup;
mod cluster;
mod fake_slurm;
mod faults;
mod http;
#[path = "http/mod.rs"]
#[expect(clippy::duplicate_mod, reason = "the same tests, on the other database")]
mod http_on_postgres;
mod killed;
mod lifecycle;
mod limits;
mod notifications;
mod outages;
mod poison;
mod postgres;
mod real_slurm;
mod reconcile;
mod scraped;
mod server;
