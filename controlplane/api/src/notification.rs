//! What the webhook is told: `POST` of one [`Notification`], signed.
//!
//! Headers: `X-Em-Delivery` (the id, the same each time it is sent), `X-Em-Timestamp` (Unix seconds of this sending),
//! `X-Em-Signature-256: sha256=HEX`, the HMAC-SHA256 of `TIMESTAMP.BODY` by the shared secret.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::status::{Phase, TrialCounts};
use crate::{ExperimentUid, Timestamp};

pub const DELIVERY_HEADER: &str = "x-em-delivery";
pub const TIMESTAMP_HEADER: &str = "x-em-timestamp";
pub const SIGNATURE_HEADER: &str = "x-em-signature-256";
/// The one event so far.
pub const EXPERIMENT_ENDED: &str = "experiment.ended";

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Notification {
    /// Of this end: a receiver that saw it already passes over it.
    pub id: String,
    /// `experiment.ended`.
    pub event: String,
    pub experiment: Subject,
    /// Succeeded, Failed or Cancelled.
    pub phase: Phase,
    /// Why it ended, for people.
    pub message: Option<String>,
    pub trials: TrialCounts,
    pub created_at: Timestamp,
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
    /// The experiment on the page.
    pub link: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Subject {
    pub name: String,
    pub uid: ExperimentUid,
    pub owner: String,
    pub labels: BTreeMap<String, String>,
}
