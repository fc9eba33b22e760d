//! The plan of one job: the whole unfinished blocks of its shard, in their seeded order.

use em_api::experiment::API_VERSION;
use em_api::plan::{Plan, Server};
use em_api::spec::{Device, Spec};
use em_api::{AttemptId, ExperimentUid, ShardId};

use super::{JobSettings, options};
use crate::admit::expand::{Block, execution_order};

/// Which work a job gets.
#[derive(Clone, Debug)]
pub struct Assignment<'a> {
    pub experiment: &'a str,
    pub uid: ExperimentUid,
    pub spec: &'a Spec,
    pub shard: ShardId,
    pub attempt: AttemptId,
    pub number: u32,
    pub unfinished: &'a [Block],
}

pub fn plan(settings: &JobSettings, assignment: &Assignment<'_>) -> Plan {
    let spec = assignment.spec;
    Plan {
        api_version: API_VERSION.to_owned(),
        experiment: assignment.experiment.to_owned(),
        experiment_uid: assignment.uid,
        shard: assignment.shard,
        attempt: assignment.attempt,
        attempt_number: assignment.number,
        server: Some(Server { url: settings.advertise.clone(), ca_sha256: None, claim_timeout: settings.claim_timeout }),
        store_dir: settings.store_dir.to_string_lossy().into_owned(),
        model: spec.model.clone(),
        dataset: spec.dataset.clone(),
        load: spec.load.clone(),
        backends: spec.backends.clone(),
        gpus_expected: gpus_expected(spec),
        services: execution_order(spec, assignment.unfinished),
        traceparent: None,
    }
}

/// Whether GPUs must be visible in the job: asked of Slurm, and wanted by a backend.
fn gpus_expected(spec: &Spec) -> bool {
    options(&spec.slurm).asks_for_gpus() && spec.backends.iter().any(|backend| backend.device == Device::Cuda)
}
