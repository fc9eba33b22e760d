//! The control plane. Read in the order of its one direction of flow: [`admit`] (what a user posted) → [`store`] → [`reconcile`]
//! (rows and Slurm's listing → actions) → [`results`] and [`report`] (measurements → numbers → files). [`http`] and
//! [`reconcile`] meet only in the database, and in two values in memory: [`cluster`] (the last look at it) and [`hints`].

pub mod admit;
mod clock;
pub mod cluster;
pub mod config;
pub mod doctor;
pub mod hints;
mod housekeeping;
pub mod http;
pub mod import;
pub mod job;
pub mod metrics;
mod mutants;
pub mod notify;
mod probe;
pub mod reconcile;
pub mod report;
pub mod results;
pub mod serve;
pub mod store;
pub mod supervise;
