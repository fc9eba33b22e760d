//! Small reads that only the API needs.

use em_api::ExperimentUid;

use super::{Result, Store};

impl Store {
    /// How many sets of parity vectors came: with the measurements' hashes, what results are cached by.
    pub async fn parity_count(&self, uid: ExperimentUid) -> Result<i64> {
        Ok(sqlx::query_scalar("SELECT COUNT(*) FROM parity WHERE experiment_uid = $1")
            .bind(uid.to_string())
            .fetch_one(&self.pool)
            .await?)
    }
}
