//! Matrix → shards → blocks → trials, and the order in which a job executes its unfinished blocks. Pure and seeded: the order
//! and the texts of a trial depend on the spec alone, so a continuation goes on as the first job would have.

use em_api::plan::{PlannedTrial, ServiceRun};
use em_api::spec::{Backend, LoadLevel, ServiceScope, ShardBy, Spec};
use em_api::{BlockId, ShardId, TrialId};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// The blocks that go to one job at a time.
#[derive(Clone, Debug, PartialEq)]
pub struct Shard {
    pub id: ShardId,
    pub blocks: Vec<Block>,
}

/// What is measured side by side in one job at one (repetition, batch size, load level): all backend variants, or a single one
/// where `slurm.shard` parts them. Stored as JSON: it may gain optional fields only.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Block {
    pub id: BlockId,
    pub repetition: u32,
    pub batch_size: u32,
    pub load: LoadLevel,
    /// Backend name and trial, in the order of the spec.
    pub trials: Vec<(String, TrialId)>,
}

/// Expands an admitted spec; ids are fresh. `shard: experiment` is one shard; `backend` one a backend; `trial` one a trial, in an
/// order that takes turns between backends. A block never spans two jobs: the finer two have blocks of one backend each.
pub fn expand(spec: &Spec) -> Vec<Shard> {
    let cells = cells(spec);
    let blocks = |backends: &[Backend]| -> Vec<Block> {
        let each = |repetition| cells.iter().map(move |cell| block(backends, repetition, *cell));
        (1..=spec.load.repetitions).flat_map(each).collect()
    };
    let shard = |blocks| Shard { id: ShardId::generate(), blocks };
    match spec.slurm.shard {
        ShardBy::Experiment => vec![shard(blocks(&spec.backends))],
        ShardBy::Backend => spec.backends.iter().map(|backend| shard(blocks(std::slice::from_ref(backend)))).collect(),
        ShardBy::Trial => {
            let apart = |whole: Block| {
                let alone = |trial| Block { id: BlockId::generate(), trials: vec![trial], ..whole.clone() };
                whole.trials.clone().into_iter().map(alone).collect::<Vec<_>>()
            };
            blocks(&spec.backends).into_iter().flat_map(apart).map(|block| shard(vec![block])).collect()
        }
    }
}

/// How many backends a block holds.
pub fn block_size(spec: &Spec) -> usize {
    if spec.slurm.shard == ShardBy::Experiment { spec.backends.len() } else { 1 }
}

fn block(backends: &[Backend], repetition: u32, (batch_size, load): (u32, LoadLevel)) -> Block {
    let trials = backends.iter().map(|backend| (backend.name.clone(), TrialId::generate())).collect();
    Block { id: BlockId::generate(), repetition, batch_size, load, trials }
}

/// Services in the order of execution for the given unfinished blocks: repetition by repetition, the backends of each
/// shuffled, and the same shuffled order of batch sizes and load levels for all of them. With `perTrial` block by block, the
/// backends shuffled in each.
pub fn execution_order(spec: &Spec, unfinished: &[Block]) -> Vec<ServiceRun> {
    let cells = cells(spec);
    let mut repetitions: Vec<u32> = unfinished.iter().map(|block| block.repetition).collect();
    repetitions.sort_unstable();
    repetitions.dedup();
    let mut runs = Vec::new();
    for repetition in repetitions {
        let cell_order = shuffled(cells.len(), spec.dataset.seed, "cells", repetition);
        let place = |block: &&Block| {
            let cell = cell_index(&cells, block);
            (cell_order.iter().position(|index| *index == cell), block.id)
        };
        let mut blocks: Vec<&Block> = unfinished.iter().filter(|block| block.repetition == repetition).collect();
        blocks.sort_by_key(place);
        match spec.load.service {
            ServiceScope::PerRepetition => {
                for backend in shuffled_backends(spec, "backends", repetition) {
                    let trials: Vec<_> = blocks.iter().filter_map(|block| planned(spec, &cells, block, backend)).collect();
                    runs.extend(service_run(backend, repetition, trials));
                }
            }
            ServiceScope::PerTrial => {
                for block in blocks {
                    let turn = (repetition - 1) * cells.len() as u32 + cell_index(&cells, block) as u32 + 1;
                    for backend in shuffled_backends(spec, "backends of a block", turn) {
                        runs.extend(service_run(backend, repetition, planned(spec, &cells, block, backend).into_iter().collect()));
                    }
                }
            }
        }
    }
    runs
}

fn service_run(backend: &str, repetition: u32, trials: Vec<PlannedTrial>) -> Option<ServiceRun> {
    (!trials.is_empty()).then(|| ServiceRun { backend: backend.to_owned(), repetition, trials })
}

fn planned(spec: &Spec, cells: &[(u32, LoadLevel)], block: &Block, backend: &str) -> Option<PlannedTrial> {
    let (_, id) = block.trials.iter().find(|(name, _)| name == backend)?;
    let text_offset = text_offset(spec, cells, block);
    Some(PlannedTrial { id: *id, block: block.id, batch_size: block.batch_size, load: block.load, text_offset })
}

/// Blocks begin evenly spread over the seeded order of texts: the backends of a block see the same texts, and different
/// blocks different ones, as far as there are enough.
fn text_offset(spec: &Spec, cells: &[(u32, LoadLevel)], block: &Block) -> u64 {
    let position = (u64::from(block.repetition) - 1) * cells.len() as u64 + cell_index(cells, block) as u64;
    let blocks = u64::from(spec.load.repetitions) * cells.len() as u64;
    let offset = u128::from(position) * u128::from(spec.dataset.limit) / u128::from(blocks.max(1));
    u64::try_from(offset).unwrap_or(0)
}

/// All (batch size, load level), in the order of the spec.
fn cells(spec: &Spec) -> Vec<(u32, LoadLevel)> {
    let matrix = &spec.matrix;
    let levels = matrix.levels();
    matrix.batch_sizes.iter().flat_map(|size| levels.iter().map(move |level| (*size, *level))).collect()
}

fn cell_index(cells: &[(u32, LoadLevel)], block: &Block) -> usize {
    cells.iter().position(|cell| *cell == (block.batch_size, block.load)).unwrap_or(0)
}

fn shuffled_backends<'s>(spec: &'s Spec, purpose: &str, turn: u32) -> impl Iterator<Item = &'s str> {
    shuffled(spec.backends.len(), spec.dataset.seed, purpose, turn).into_iter().map(|index| spec.backends[index].name.as_str())
}

/// An order of `0..count` for each turn (1, 2, …), never the same twice in a row: with few items chance alone would often
/// repeat an order, and a drift of the machine would then favour a backend.
fn shuffled(count: usize, seed: u64, purpose: &str, turn: u32) -> Vec<usize> {
    let salt = purpose.bytes().fold(0_u64, |salt, byte| salt.wrapping_mul(31).wrapping_add(u64::from(byte)));
    // ChaCha8: the same stream on every machine and in every version of the library.
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ salt);
    let mut order: Vec<usize> = (0..count).collect();
    order.shuffle(&mut rng);
    for _ in 1..turn {
        let before = order.clone();
        while order == before && count > 1 {
            order.shuffle(&mut rng);
        }
    }
    order
}
