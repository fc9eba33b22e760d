//! Data sets and load generation: what to send, when to send it, and how long the answers took.
//!
//! Goose runs the users; the schedule, the clock and the histograms are ours, because results need planned send times and
//! microseconds. What is measured leaves as an [`em_api::measurement::LoadReport`]; verdicts and statistics are made of it by
//! the control plane. Read in this order: [`plan`] (what is asked), [`run`](run()) (one trial from begin to end), `trial` (one stretch
//! of load), `find_max` (a search of many), `schedule` (when), `draw` (what), `attack` (users and their pace), `checker` and `wire`
//! (requests and answers), `collector` (what belongs to the window), `headroom` (the self-check), [`dataset`] (texts), [`merge`](mod@merge) (several generators), [`cli`].
//!
//! [`run`](run()) is made for a process of its own: Goose keeps state for the whole process, and SIGINT and SIGTERM are taken over.

pub mod cli;
pub mod dataset;
pub mod error;
pub mod merge;
pub mod null_server;
pub mod plan;
pub mod progress;
pub mod trace;

mod attack;
mod checker;
mod clock;
mod collector;
mod cores;
mod draw;
mod exchange;
mod find_max;
mod headroom;
mod inputs;
mod key;
#[cfg(test)]
mod merge_tests;
mod requests;
mod run;
mod schedule;
mod signals;
#[cfg(test)]
mod simulated;
mod trial;
mod window;
mod wire;

pub use dataset::DatasetError;
pub use error::LoadError;
pub use exchange::{Target, embed_once};
pub use key::Key;
pub use plan::{BatchShare, DatasetRef, LengthShare, LoadPlan, Shape, Step};
pub use progress::{Phase, Progress};
pub use run::run;
