//! Builders for unit tests.

use em_api::agent::ClaimRequest;
use em_api::{AttemptId, ExperimentUid, ShardId};

use super::attempts::{Attempt, AttemptState};
use super::now;

pub(crate) fn attempt(state: AttemptState) -> Attempt {
    let id = AttemptId::generate();
    Attempt {
        id,
        experiment: ExperimentUid::generate(),
        shard: ShardId::generate(),
        number: 1,
        job_name: format!("em-testtest-{}", id.to_string().to_lowercase()),
        created_at: now(),
        revision: 0,
        state,
        refused_jobs: Vec::new(),
        claim: None,
        last_heard_at: None,
        farewell_at: None,
        live: None,
    }
}

pub(crate) fn claim_request(job_id: &str, nonce: &str) -> ClaimRequest {
    ClaimRequest {
        attempt: AttemptId::generate(),
        slurm_job_id: job_id.to_owned(),
        restart_count: 0,
        boot_nonce: nonce.to_owned(),
        node: "node1".to_owned(),
        version: "test".to_owned(),
    }
}
