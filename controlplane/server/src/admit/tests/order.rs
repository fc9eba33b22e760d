//! Blocks and the order of execution: nothing is lost, nothing doubled, nothing left to chance.

use std::collections::{BTreeMap, BTreeSet};

use em_api::spec::{ShardBy, Spec};
use proptest::prelude::*;
use serde_json::json;

use super::super::expand::{Block, execution_order, expand};
use super::{admitted, set, small};

fn spec(backends: usize, batches: usize, levels: usize, repetitions: u32, per_trial: bool, seed: u64) -> Spec {
    let mut body = small();
    let named: Vec<_> = (0..backends).map(|index| json!({"name": format!("b{index}"), "type": "ort"})).collect();
    set(&mut body, "/spec/backends", json!(named));
    let batches: Vec<usize> = (1..=batches).map(|index| index * 8).collect();
    set(&mut body, "/spec/matrix", json!({"batchSizes": batches, "concurrency": (1..=levels).collect::<Vec<_>>()}));
    set(&mut body, "/spec/load/repetitions", json!(repetitions));
    set(&mut body, "/spec/load/service", json!(if per_trial { "perTrial" } else { "perRepetition" }));
    set(&mut body, "/spec/dataset", json!({"seed": seed, "limit": 50_000}));
    admitted(&body).spec
}

fn blocks(spec: &Spec) -> Vec<Block> {
    expand(spec).into_iter().flat_map(|shard| shard.blocks).collect()
}

/// Who runs what, without ids.
fn shown(spec: &Spec, blocks: &[Block]) -> Vec<String> {
    let runs = execution_order(spec, blocks);
    let sizes =
        |run: &em_api::plan::ServiceRun| run.trials.iter().map(|trial| trial.batch_size.to_string()).collect::<Vec<_>>().join(",");
    runs.iter().map(|run| format!("{}.{}: {}", run.repetition, run.backend, sizes(run))).collect()
}

proptest! {
    #[test]
    fn every_trial_runs_once_in_its_block(
        backends in 1usize..5, batches in 1usize..4, levels in 1usize..3, repetitions in 1u32..6, per_trial: bool, seed in 0u64..1_000,
        kept in prop::collection::vec(any::<bool>(), 90),
    ) {
        let spec = spec(backends, batches, levels, repetitions, per_trial, seed);
        let all = blocks(&spec);
        prop_assert_eq!(all.len(), batches * levels * repetitions as usize);
        for block in &all {
            let names: Vec<&str> = block.trials.iter().map(|(name, _)| name.as_str()).collect();
            let expected: Vec<&str> = spec.backends.iter().map(|backend| backend.name.as_str()).collect();
            prop_assert_eq!(names, expected, "a block holds every variant, in the order of the spec");
        }
        let unfinished: Vec<Block> = all.iter().zip(&kept).filter(|(_, kept)| **kept).map(|(block, _)| block.clone()).collect();
        let runs = execution_order(&spec, &unfinished);
        prop_assert_eq!(&runs, &execution_order(&spec, &unfinished), "the same again");
        let mut turned = unfinished.clone();
        turned.reverse();
        prop_assert_eq!(&runs, &execution_order(&spec, &turned), "whatever order the rows come in");

        let expected: BTreeSet<_> = unfinished.iter().flat_map(|block| block.trials.iter().map(|(name, id)| (block.id, name.clone(), *id))).collect();
        let planned: Vec<_> = runs.iter().flat_map(|run| run.trials.iter().map(|trial| (trial.block, run.backend.clone(), trial.id))).collect();
        prop_assert_eq!(planned.len(), expected.len(), "none twice");
        prop_assert_eq!(planned.into_iter().collect::<BTreeSet<_>>(), expected, "none lost");
        prop_assert!(runs.is_sorted_by_key(|run| run.repetition));
        for run in &runs {
            prop_assert!(!run.trials.is_empty());
            prop_assert!(!per_trial || run.trials.len() == 1);
        }
        if !per_trial {
            let starts: BTreeSet<_> = runs.iter().map(|run| (run.repetition, &run.backend)).collect();
            prop_assert_eq!(starts.len(), runs.len(), "one start per backend and repetition");
        }

        let mut offsets: BTreeMap<_, BTreeSet<u64>> = BTreeMap::new();
        for trial in runs.iter().flat_map(|run| &run.trials) {
            prop_assert!(trial.text_offset < spec.dataset.limit);
            offsets.entry(trial.block).or_default().insert(trial.text_offset);
        }
        prop_assert!(offsets.values().all(|of_block| of_block.len() == 1), "all backends of a block read the same texts");
        let distinct: BTreeSet<_> = offsets.values().flatten().collect();
        prop_assert_eq!(distinct.len(), offsets.len(), "different blocks read different texts");
    }

    #[test]
    fn a_continuation_goes_on_as_the_first_job_would_have(seed in 0u64..1_000, done in 1u32..4, per_trial: bool) {
        let spec = spec(3, 3, 2, 4, per_trial, seed);
        let all = blocks(&spec);
        let rest: Vec<Block> = all.iter().filter(|block| block.repetition > done).cloned().collect();
        let whole = execution_order(&spec, &all);
        let continued = execution_order(&spec, &rest);
        prop_assert_eq!(&whole[whole.len() - continued.len()..], &continued[..]);
    }

    #[test]
    fn the_order_of_backends_changes_with_each_repetition(seed in 0u64..10_000, backends in 2usize..5) {
        let spec = spec(backends, 1, 1, 6, false, seed);
        let runs = execution_order(&spec, &blocks(&spec));
        let orders: Vec<Vec<&str>> = runs.chunks(backends).map(|runs| runs.iter().map(|run| run.backend.as_str()).collect()).collect();
        prop_assert!(orders.windows(2).all(|pair| pair[0] != pair[1]), "{:?}", orders);
    }
}

#[test]
fn finer_shards_hold_the_same_trials_in_blocks_that_never_span_two_jobs() {
    let mut spec = spec(3, 2, 1, 4, false, 7);
    let offsets = |spec: &Spec| -> BTreeSet<(String, u32, u32, u64)> {
        let runs = expand(spec).into_iter().flat_map(|shard| execution_order(spec, &shard.blocks)).collect::<Vec<_>>();
        let trials = |run: &em_api::plan::ServiceRun| -> Vec<_> {
            run.trials.iter().map(|trial| (run.backend.clone(), run.repetition, trial.batch_size, trial.text_offset)).collect()
        };
        runs.iter().flat_map(trials).collect()
    };
    let whole = offsets(&spec);
    assert_eq!(whole.len(), 3 * 2 * 4);
    for (shard, jobs) in [(ShardBy::Backend, 3), (ShardBy::Trial, 24)] {
        spec.slurm.shard = shard;
        let shards = expand(&spec);
        assert_eq!(shards.len(), jobs);
        assert_eq!(offsets(&spec), whole, "the same trials over the same texts");
        let ids: BTreeSet<_> = shards.iter().flat_map(|shard| &shard.blocks).map(|block| block.id).collect();
        assert_eq!(ids.len(), 24, "no block is in two shards");
        for shard in &shards {
            let backends: BTreeSet<_> = shard.blocks.iter().flat_map(|block| block.trials.iter().map(|(name, _)| name)).collect();
            assert_eq!(backends.len(), 1, "one backend a job");
        }
    }
    let turns: Vec<String> = expand(&spec).iter().take(4).map(|shard| shard.blocks[0].trials[0].0.clone()).collect();
    assert_eq!(turns, ["b0", "b1", "b2", "b0"], "backends take turns, so that a slow hour hits all of them");
}

#[test]
fn the_seed_alone_decides_the_order() {
    let first = spec(3, 3, 1, 2, false, 42);
    assert_eq!(shown(&first, &blocks(&first)), shown(&first, &blocks(&first)), "ids are fresh, the order is not");
    insta::assert_snapshot!(shown(&first, &blocks(&first)).join("\n"), @"
    1.b2: 8,24,16
    1.b1: 8,24,16
    1.b0: 8,24,16
    2.b2: 24,8,16
    2.b0: 24,8,16
    2.b1: 24,8,16
    ");
    let orders: BTreeSet<_> = (0..20).map(|seed| spec(3, 3, 1, 2, false, seed)).map(|spec| shown(&spec, &blocks(&spec))).collect();
    assert!(orders.len() > 10, "seeds make different orders: {}", orders.len());
}

#[test]
fn every_backend_comes_first_about_equally_often() {
    let spec = spec(3, 1, 1, 90, false, 7);
    let mut first: BTreeMap<String, u32> = BTreeMap::new();
    for run in execution_order(&spec, &blocks(&spec)).chunks(3) {
        *first.entry(run[0].backend.clone()).or_default() += 1;
    }
    assert!(first.values().all(|times| (18..=42).contains(times)), "{first:?}");
}
