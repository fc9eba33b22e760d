//! The words of a notification, made as an experiment ends.

use em_api::notification::{EXPERIMENT_ENDED, Notification, Subject};

use super::Reconciler;
use crate::store;
use crate::store::experiments::Stored;
use crate::store::outbox::NewNotification;
use crate::store::transitions::Standing;

/// `None`: it does not end now, or nobody wants to know.
pub(super) async fn notification(
    reconciler: &Reconciler,
    stored: &Stored,
    standing: &Standing,
) -> store::Result<Option<NewNotification>> {
    let ends = standing.phase.ended() && !stored.phase.ended();
    let Some(notices) = reconciler.notices.as_ref().filter(|_| ends) else { return Ok(None) };
    let id = ulid::Ulid::generate().to_string();
    let notification = Notification {
        id: id.clone(),
        event: EXPERIMENT_ENDED.to_owned(),
        experiment: Subject {
            name: stored.name.clone(),
            uid: stored.uid,
            owner: stored.owner.clone(),
            labels: stored.labels.clone(),
        },
        phase: standing.phase,
        message: standing.message.clone(),
        trials: reconciler.store.trial_counts(stored, standing.phase).await?,
        created_at: stored.created_at,
        started_at: standing.started_at,
        finished_at: standing.finished_at,
        link: format!("{}/ui/#/experiments/{}", notices.base.trim_end_matches('/'), stored.name),
    };
    let body = serde_json::to_string(&notification).expect("a notification has string keys and serialises");
    Ok(Some(NewNotification { id, body }))
}
