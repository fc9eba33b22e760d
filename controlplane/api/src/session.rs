//! Browser sessions: how a person gets from a terminal into the dashboard.

use serde::{Deserialize, Serialize};

/// Answer to `POST /sessions/links`: an address that works once and for a short time, and leaves a session cookie behind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct SessionLink {
    pub url: String,
}
