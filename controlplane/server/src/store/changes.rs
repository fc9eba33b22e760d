//! What users may change after creation: metadata, and the few fields of the spec that do not touch what is measured.

use em_api::experiment::{Experiment, ExperimentPatch};
use em_api::spec::Desired;

use super::codec::{json, time};
use super::events::NewEvent;
use super::experiments::Stored;
use super::{Error, Result, Store, now};

impl Store {
    /// Applies a merge patch. `if_match`: only when one of these is still the resource version. Errors: [`Error::Stale`],
    /// [`Error::AlreadyEnded`] when an ended experiment is to run, pause or stop.
    pub async fn patch_experiment(
        &self,
        name: &str,
        patch: &ExperimentPatch,
        if_match: Option<&[u64]>,
        owner: &str,
    ) -> Result<Experiment> {
        let mut write = self.write().await?;
        let mut stored = write.by_name(name).await?.ok_or_else(|| Error::NotFound(format!("experiment {name}")))?;
        check(&stored, if_match)?;
        if stored.deleted_at.is_some() {
            return Err(Error::BeingDeleted(stored.name));
        }
        let before = stored.clone();
        merge_metadata(&mut stored, patch);
        merge_spec(&mut stored, patch);
        if stored == before {
            self.commit(write).await?;
            return self.complete(stored).await;
        }
        if stored.spec.desired != before.spec.desired && stored.phase.ended() {
            return Err(Error::AlreadyEnded { name: stored.name, phase: stored.phase.as_str() });
        }
        let respecified = stored.spec != before.spec;
        stored.generation += u64::from(respecified);
        stored.revision += 1;
        stored.resource_version = write.version().await?;
        sqlx::query(
            "UPDATE experiments SET labels = $1, annotations = $2, spec = $3, generation = $4, revision = $5, resource_version = $6,
                                    settled = CASE WHEN $7 = 1 THEN 0 ELSE settled END, cleanup_at = finished_at
             WHERE uid = $8",
        )
        .bind(json(&stored.labels))
        .bind(json(&stored.annotations))
        .bind(json(&stored.spec))
        .bind(stored.generation.cast_signed())
        .bind(stored.revision)
        .bind(stored.resource_version)
        .bind(i64::from(respecified))
        .bind(stored.uid.to_string())
        .execute(&mut *write.tx)
        .await?;
        if stored.spec.desired != before.spec.desired {
            let (reason, what) = match stored.spec.desired {
                Desired::Run => ("Resumed", "shall run"),
                Desired::Suspended => ("Suspending", "shall pause; finished trials are kept"),
                Desired::Cancelled => ("Cancelling", "shall stop"),
            };
            write.event(stored.uid, now(), &NewEvent::normal(format!("user:{owner}"), reason, what)).await?;
        }
        write.wake = true;
        self.commit(write).await?;
        self.experiment(name).await
    }

    /// Marks for deletion: its jobs are cancelled, then it goes. Safe to repeat. `if_match` as for a patch.
    pub async fn delete_experiment(&self, name: &str, if_match: Option<&[u64]>, owner: &str) -> Result<Experiment> {
        let mut write = self.write().await?;
        let mut stored = write.by_name(name).await?.ok_or_else(|| Error::NotFound(format!("experiment {name}")))?;
        check(&stored, if_match)?;
        if stored.deleted_at.is_none() {
            let at = now();
            sqlx::query("UPDATE experiments SET deleted_at = $1, settled = 0, revision = revision + 1 WHERE uid = $2")
                .bind(time(at))
                .bind(stored.uid.to_string())
                .execute(&mut *write.tx)
                .await?;
            write.event(stored.uid, at, &NewEvent::normal(format!("user:{owner}"), "Deleting", "shall be removed")).await?;
            stored.deleted_at = Some(at);
            stored.resource_version = write.version().await?;
            write.wake = true;
        }
        self.commit(write).await?;
        // Not read again: the reconciler may have removed it by now.
        self.complete(stored).await
    }
}

fn check(stored: &Stored, if_match: Option<&[u64]>) -> Result<()> {
    let holds = if_match.is_none_or(|versions| versions.contains(&stored.resource_version.cast_unsigned()));
    if holds { Ok(()) } else { Err(Error::Stale("experiment")) }
}

fn merge_metadata(stored: &mut Stored, patch: &ExperimentPatch) {
    let Some(metadata) = &patch.metadata else { return };
    for (held, changes) in [(&mut stored.labels, &metadata.labels), (&mut stored.annotations, &metadata.annotations)] {
        for (key, value) in changes.iter().flatten() {
            match value {
                Some(value) => held.insert(key.clone(), value.clone()),
                None => held.remove(key),
            };
        }
    }
}

fn merge_spec(stored: &mut Stored, patch: &ExperimentPatch) {
    let Some(spec) = &patch.spec else { return };
    if let Some(desired) = spec.desired {
        stored.spec.desired = desired;
    }
    if let Some(retries) = spec.retries {
        stored.spec.retries = retries;
    }
    if let Some(priority) = spec.priority {
        stored.spec.priority = priority;
    }
    if let Some(ttl) = spec.ttl {
        stored.spec.ttl = ttl;
    }
    if let Some(logs_ttl) = spec.logs_ttl {
        stored.spec.logs_ttl = logs_ttl;
    }
}
