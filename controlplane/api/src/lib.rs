//! The words on the wire of Embedding Meter: everything that the control plane, the agents, `emctl` and the
//! dashboard say to each other, as serde types. No IO, except the HTTP client behind the feature `client`. The feature
//! `openapi` gives each type its schema.
//!
//! Read in this order: [`experiment`] (what a user posts), [`spec`] (its fields), [`status`] (what the server adds),
//! [`plan`] (what one job is told to do), [`agent`] (what it says while it works), [`measurement`] (what it hands in),
//! [`results`] (what is computed from that), [`capsule`] (what it takes to run the same again), [`inputs`] (the store of models, data sets and environments), [`cluster`] (what the
//! cluster has).

pub mod agent;
pub mod capsule;
#[cfg(feature = "client")]
pub mod client;
pub mod cluster;
pub mod duration;
pub mod experiment;
pub mod ids;
pub mod inputs;
pub mod measurement;
pub mod notification;
pub mod plan;
mod plausible;
pub mod problem;
pub mod results;
#[cfg(feature = "openapi")]
mod schemas;
pub mod session;
pub mod spec;
pub mod status;

pub use duration::HumanDuration;
pub use ids::{AttemptId, BlockId, ExperimentUid, ShardId, TrialId};
pub use jiff::Timestamp;
