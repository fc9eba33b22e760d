//! `GET /experiments/{name}/capsule`: all that a reader needs to run the same again, gathered from what the jobs handed in and what
//! the control plane knows of them. What nobody could tell is absent.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::measurement::{DatasetReport, Environment, ServiceReport};
use crate::spec::Spec;
use crate::{AttemptId, ExperimentUid, Timestamp, TrialId};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Capsule {
    pub experiment: String,
    pub uid: ExperimentUid,
    pub control_plane: Build,
    /// With all defaults filled in: `emctl submit` takes it back.
    pub spec: Spec,
    /// In the order of their submission.
    pub jobs: Vec<CapsuleJob>,
    /// The distinct ones; one is the rule.
    pub nodes: Vec<CapsuleNode>,
    /// Every start of a service that a trial ran on.
    pub services: Vec<CapsuleService>,
    /// The distinct ones, with their seeds and hashes; one is the rule.
    pub datasets: Vec<DatasetReport>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Build {
    pub version: String,
    /// Of git, as it was built; absent where the build did not know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
}

/// `0.1.0, git 46d8d7d1b2c3`
impl fmt::Display for Build {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.version)?;
        self.revision.as_ref().map_or(Ok(()), |revision| write!(f, ", git {revision}"))
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct CapsuleJob {
    pub attempt: AttemptId,
    /// Slurm's id.
    pub id: Option<String>,
    pub node: Option<String>,
    pub submitted_at: Option<Timestamp>,
    pub started_at: Option<Timestamp>,
    /// From the submission to the start, by Slurm's word for the start.
    pub queue_seconds: Option<f64>,
}

/// A machine as the trials on it found it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct CapsuleNode {
    pub trials: Vec<TrialId>,
    pub environment: Environment,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct CapsuleService {
    pub backend: String,
    pub trials: Vec<TrialId>,
    /// Its exact command line, versions and settings.
    pub service: ServiceReport,
}
