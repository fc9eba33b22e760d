//! The claim: the last fence before GPU work. Whoever holds it executes the attempt; everybody else is told to leave.

use em_api::agent::{ClaimAnswer, ClaimRequest, Directive};
use em_api::status::EventType;
use em_api::{AttemptId, Timestamp};
use sqlx::any::AnyRow;

use super::attempts::{self, Attempt, AttemptState, Claim, SlurmJob, Submitted};
use super::codec::{Columns, time};
use super::events::NewEvent;
use super::{Error, Result, Store, Write, now, transitions};

#[derive(Clone, Debug, PartialEq)]
pub enum ClaimOutcome {
    Granted(ClaimAnswer),
    /// Another process executes (or has executed) this attempt.
    Taken {
        job_id: String,
        node: String,
    },
    /// The attempt has ended.
    Over,
}

/// What a claim means for an attempt as it stands.
#[derive(Clone, Debug, PartialEq)]
enum Decision {
    /// The same process asks again.
    Again {
        epoch: u32,
    },
    /// First claim, or a requeue of the same job.
    New(Claim),
    Taken,
    Over,
}

impl Store {
    /// Whether `token_sha256` is the token of an attempt.
    pub async fn attempt_token_matches(&self, id: AttemptId, token_sha256: &str) -> Result<bool> {
        let found: Option<String> = sqlx::query_scalar("SELECT token_sha256 FROM attempts WHERE id = $1")
            .bind(id.to_string())
            .fetch_optional(&self.pool)
            .await?;
        Ok(found.is_some_and(|stored| !stored.is_empty() && stored == token_sha256))
    }

    /// Decides a claim and stores it. Safe to repeat with the same nonce.
    pub async fn claim(&self, request: &ClaimRequest) -> Result<ClaimOutcome> {
        let mut write = self.write().await?;
        let (attempt, directive) = write.attempt_and_directive(request.attempt).await?;
        let outcome = match decide(&attempt, request, now()) {
            Decision::Over => ClaimOutcome::Over,
            Decision::Taken => {
                let kept = attempt.job().map(|job| (job.id.clone(), job.node.clone().unwrap_or_else(|| "another node".to_owned())));
                let (job_id, node) = attempt.claim.map(|claim| (claim.job_id, claim.node)).or(kept).unwrap_or_default();
                ClaimOutcome::Taken { job_id, node }
            }
            Decision::Again { epoch } => ClaimOutcome::Granted(ClaimAnswer { epoch, directive }),
            Decision::New(claim) => {
                store_claim(&mut write, &attempt, &claim).await?;
                write.wake = true;
                ClaimOutcome::Granted(ClaimAnswer { epoch: claim.epoch, directive })
            }
        };
        self.commit(write).await?;
        Ok(outcome)
    }
}

fn decide(attempt: &Attempt, request: &ClaimRequest, at: Timestamp) -> Decision {
    let claim = |epoch| Claim {
        job_id: request.slurm_job_id.clone(),
        epoch,
        restart_count: request.restart_count,
        boot_nonce: request.boot_nonce.clone(),
        node: request.node.clone(),
        at,
    };
    match (&attempt.state, &attempt.claim) {
        (AttemptState::Ended { .. }, _) => Decision::Over,
        _ if attempt.refused_jobs.contains(&request.slurm_job_id) => Decision::Taken,
        // Nothing was submitted: a job that shows this token is one that a crash left, and it proves its own submission.
        (_, None) => Decision::New(claim(0)),
        (_, Some(held)) if held.boot_nonce == request.boot_nonce && held.job_id == request.slurm_job_id => {
            Decision::Again { epoch: held.epoch }
        }
        (_, Some(held)) if held.job_id == request.slurm_job_id && request.restart_count > held.restart_count => {
            Decision::New(claim(held.epoch + 1))
        }
        (_, Some(_)) => Decision::Taken,
    }
}

async fn store_claim(write: &mut Write, attempt: &Attempt, claim: &Claim) -> Result<()> {
    let state = proven(&attempt.state, &claim.job_id);
    let event = NewEvent {
        kind: EventType::Normal,
        who: "agent".to_owned(),
        reason: if claim.epoch == 0 { "Claimed" } else { "Requeued" },
        message: format!("job {} runs attempt {} on {} (epoch {})", claim.job_id, attempt.number, claim.node, claim.epoch),
    };
    transitions::save(write, attempt.id, attempt.revision, &state, Some(&event)).await?;
    sqlx::query(
        "UPDATE attempts SET claim_job_id = $1, epoch = $2, restart_count = $3, boot_nonce = $4, claim_node = $5, claimed_at = $6,
                last_heard_at = $6, farewell_at = NULL, live = NULL
         WHERE id = $7",
    )
    .bind(claim.job_id.clone())
    .bind(i64::from(claim.epoch))
    .bind(i64::from(claim.restart_count))
    .bind(claim.boot_nonce.clone())
    .bind(claim.node.clone())
    .bind(time(claim.at))
    .bind(attempt.id.to_string())
    .execute(&mut *write.tx)
    .await?;
    Ok(())
}

/// A claim proves that the job exists, whatever we knew; of two jobs the one that claims is kept.
fn proven(state: &AttemptState, job_id: &str) -> AttemptState {
    match state {
        AttemptState::Submitted(submitted) if submitted.job.id == job_id => {
            AttemptState::Submitted(Submitted { missing_since: None, over: None, ..submitted.clone() })
        }
        _ => AttemptState::Submitted(Submitted {
            job: SlurmJob { id: job_id.to_owned(), ..SlurmJob::default() },
            missing_since: None,
            cancel: None,
            over: None,
        }),
    }
}

impl Write {
    /// An attempt, and what its agent shall do: read in one transaction, so that a cancel is never missed.
    pub(super) async fn attempt_and_directive(&mut self, id: AttemptId) -> Result<(Attempt, Directive)> {
        let row: AnyRow = sqlx::query("SELECT * FROM attempts WHERE id = $1")
            .bind(id.to_string())
            .fetch_optional(&mut *self.tx)
            .await?
            .ok_or_else(|| Error::NotFound(format!("attempt {id}")))?;
        let attempt = attempts::read(&row)?;
        let row = sqlx::query("SELECT spec, deleted_at FROM experiments WHERE uid = $1")
            .bind(attempt.experiment.to_string())
            .fetch_one(&mut *self.tx)
            .await?;
        let spec: em_api::spec::Spec = row.read_json("spec")?;
        let unwanted = spec.desired != em_api::spec::Desired::Run || row.opt_text("deleted_at")?.is_some();
        let cancelled = matches!(&attempt.state, AttemptState::Submitted(submitted) if submitted.cancel.is_some());
        let directive = if unwanted || cancelled || attempt.ended() { Directive::Cancel } else { Directive::Continue };
        Ok((attempt, directive))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::{attempt, claim_request};

    fn held(restart_count: u32) -> Attempt {
        let request = ClaimRequest { restart_count, ..claim_request("7", "first") };
        let unclaimed = attempt(AttemptState::Submitting { since: now() });
        match decide(&unclaimed, &request, now()) {
            Decision::New(claim) => Attempt { claim: Some(claim), ..unclaimed },
            other => panic!("a first claim is granted, not {other:?}"),
        }
    }

    #[test]
    fn the_same_process_may_claim_again() {
        assert_eq!(decide(&held(0), &claim_request("7", "first"), now()), Decision::Again { epoch: 0 });
    }

    #[test]
    fn another_process_or_job_is_refused() {
        assert_eq!(decide(&held(0), &claim_request("7", "second"), now()), Decision::Taken);
        assert_eq!(decide(&held(0), &ClaimRequest { restart_count: 9, ..claim_request("8", "second") }, now()), Decision::Taken);
        assert_eq!(decide(&held(2), &ClaimRequest { restart_count: 1, ..claim_request("7", "second") }, now()), Decision::Taken);
    }

    #[test]
    fn a_requeue_of_the_same_job_is_a_new_epoch() {
        let requeued = ClaimRequest { restart_count: 1, ..claim_request("7", "second") };
        match decide(&held(0), &requeued, now()) {
            Decision::New(claim) => assert_eq!((claim.epoch, claim.restart_count), (1, 1)),
            other => panic!("a requeue is granted, not {other:?}"),
        }
    }

    #[test]
    fn a_second_job_that_is_being_cancelled_comes_too_late() {
        let mut unclaimed = attempt(AttemptState::Submitting { since: now() });
        unclaimed.refused_jobs = vec!["7".to_owned()];
        assert_eq!(decide(&unclaimed, &claim_request("7", "first"), now()), Decision::Taken);
        assert!(matches!(decide(&unclaimed, &claim_request("6", "first"), now()), Decision::New(_)));
    }

    #[test]
    fn an_ended_attempt_can_not_be_claimed() {
        let end = attempts::End { kind: attempts::EndKind::Cancelled, reason: "Cancelled".into(), message: String::new() };
        let ended = attempt(AttemptState::Ended { at: now(), end, job: None, over: None });
        assert_eq!(decide(&ended, &claim_request("7", "first"), now()), Decision::Over);
    }
}
