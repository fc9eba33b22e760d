//! The real `em-agent run` against a scripted control plane (a fake, see `control_plane`) and the real ort service.

#![expect(clippy::unwrap_used, reason = "tests")]

mod claim;
mod control_plane;
mod data;
mod doctor;
mod ends;
mod failures;
mod gpus;
mod job;
mod merge;
mod standalone;
mod whole;
