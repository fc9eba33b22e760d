//! Data sets and load generation: what to send, when to send it, and how long the answers took.
//!
//! Goose runs the users; the schedule, the clock and the histograms are ours, because results need planned send times and
//! microseconds. What is measured leaves as an [`em_api::measurement::LoadReport`]; verdicts and statistics are made of it by
//! the control plane. Read in this order: [`plan`] (what is asked), [`run`](run()) (one trial from begin to end), `attack` (users and
//! their pace), `collector` (what belongs to the window), `wire` (requests and answers), [`dataset`] (texts), [`cli`].
//!
//! [`run`](run()) is made for a process of its own: Goose keeps state for the whole process, and SIGINT and SIGTERM are taken over.

pub mod cli;
pub mod dataset;
pub mod error;
pub mod plan;
pub mod progress;

mod attack;
mod clock;
mod collector;
mod cores;
mod exchange;
mod key;
mod run;
mod signals;
mod window;
mod wire;

pub use dataset::DatasetError;
pub use error::LoadError;
pub use exchange::{Target, embed_once};
pub use key::Key;
pub use plan::{DatasetRef, LoadPlan};
pub use progress::{Phase, Progress};
pub use run::run;
