//! Matrix → shards → blocks → trials, and the order in which a job executes its unfinished blocks. Pure and seeded.

use em_api::plan::ServiceRun;
use em_api::spec::{LoadLevel, Spec};
use em_api::{BlockId, ShardId, TrialId};

/// The blocks that go to one job at a time.
#[derive(Clone, Debug, PartialEq)]
pub struct Shard {
    pub id: ShardId,
    pub blocks: Vec<Block>,
}

/// All backend variants at one (repetition, batch size, load level).
#[derive(Clone, Debug, PartialEq)]
pub struct Block {
    pub id: BlockId,
    pub repetition: u32,
    pub batch_size: u32,
    pub load: LoadLevel,
    /// Backend name and trial, in the order of the spec.
    pub trials: Vec<(String, TrialId)>,
}

/// Expands an admitted spec; ids are fresh.
pub fn expand(spec: &Spec) -> Vec<Shard> {
    let _ = spec;
    Vec::new()
}

/// Services in the order of execution for the given unfinished blocks.
pub fn execution_order(spec: &Spec, unfinished: &[Block]) -> Vec<ServiceRun> {
    let _ = (spec, unfinished);
    Vec::new()
}
