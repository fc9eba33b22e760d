//! The experiment as a whole: what `POST /experiments` takes and `GET /experiments/{name}` returns.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use crate::plan::Plan;
use crate::spec::{LoadLevel, Spec};
use crate::status::Status;
use crate::{ExperimentUid, HumanDuration, Timestamp};

pub const API_VERSION: &str = "em/v1alpha1";
pub const KIND: &str = "Experiment";

/// A stored experiment. Complete: defaults are filled in, the server's fields are set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Experiment {
    pub api_version: String,
    pub kind: String,
    pub metadata: Metadata,
    pub spec: Spec,
    pub status: Status,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    /// RFC 1123 label, unique among living experiments.
    pub name: String,
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    pub uid: ExperimentUid,
    /// Set by the server from the token, never taken from a body.
    pub owner: String,
    /// Grows with each stored change; also the ETag.
    pub resource_version: u64,
    /// Grows with each change of the spec.
    pub generation: u64,
    pub created_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted_at: Option<Timestamp>,
}

/// `GET /experiments`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ExperimentList {
    pub items: Vec<Experiment>,
    /// Cursor of the next page; absent on the last one.
    #[serde(rename = "continue", default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Answer to `POST /experiments`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Created {
    #[serde(flatten)]
    pub experiment: Experiment,
    /// Things that will work but surprise (an estimate above the time limit, for example).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// The sbatch text, for a dry run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub script: Option<String>,
    /// For a dry run: every trial, job by job in the order in which it would be measured.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trials: Vec<TrialToCome>,
    /// For a dry run with `standalone=DIR`: what goes into DIR beside the script.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<Plan>,
}

/// A trial of an experiment that is not stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct TrialToCome {
    /// Which of the experiment's jobs measures it, from 1.
    pub job: u32,
    pub repetition: u32,
    pub backend: String,
    /// Texts a request.
    pub batch_size: u32,
    pub load: LoadLevel,
}

/// `PATCH /experiments/{name}` (JSON merge patch): the mutable fields only.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ExperimentPatch {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<MetadataPatch>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spec: Option<SpecPatch>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct MetadataPatch {
    /// `null` removes a label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, Option<String>>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, Option<String>>>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct SpecPatch {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub desired: Option<crate::spec::Desired>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<i64>,
    /// `null` (`Some(None)`) takes the limit away.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<HumanDuration>))]
    pub ttl: Option<Option<HumanDuration>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logs_ttl: Option<HumanDuration>,
}

/// A field that is there is `Some`, `null` too.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}
