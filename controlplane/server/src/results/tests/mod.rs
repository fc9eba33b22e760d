//! Results against numbers worked by hand, and against the mishaps of real experiments.

use em_api::AttemptId;
use em_api::agent::ParityVectors;
use em_api::measurement::{Measurement, Outcome};
use em_api::results::{Cell, ComparisonVerdict, ParityVerdict, Verdict};
use em_api::spec::ParityGate;

use super::fixture::{self, id, report, trial};
use super::*;

mod capsule;
mod parity;
mod verdicts;

/// Backends a and b, batch 32, three repetitions: 1,000, 1,100, 1,200 against 500, 500, 600 requests in 10 s.
fn small() -> ResultsInput {
    let mut input = fixture::experiment(&["a", "b"], &[32], 3);
    for (repetition, first, second) in [(1, 1_000, 500), (2, 1_100, 500), (3, 1_200, 600)] {
        input.measurements.push(trial("a", 32, repetition, first));
        input.measurements.push(trial("b", 32, repetition, second));
    }
    input.parity = vec![fixture::vectors("a", 0.0), fixture::vectors("b", 0.0002)];
    input
}

fn cell<'a>(results: &'a Results, backend: &str) -> &'a Cell {
    results.cells.iter().find(|cell| cell.backend == backend).expect("each backend has a cell")
}

fn near(seen: f64, expected: f64) {
    assert!((seen / expected - 1.0).abs() < 0.0005, "{seen} instead of {expected}");
}

#[test]
fn a_small_case_equals_the_numbers_worked_by_hand() {
    let results = compute(&small());
    // 32 texts a request over 10 s: 3,200, 3,520, 3,840 texts/s; t interval on logarithms as in em_stats::interval.
    let rate = cell(&results, "a").texts_per_second.expect("measured");
    near(rate.mean, 3_510.27);
    near(rate.low.expect("n = 3"), 2_798.7);
    near(rate.high.expect("n = 3"), 4_402.8);
    assert_eq!((rate.n, cell(&results, "a").repetitions), (3, 3));
    // Ratios 2, 2.2, 2: logs 0.6931, 0.7885, 0.6931; mean 0.7249, se 0.03177, t 4.30265 → ± 0.13669.
    let [comparison] = &results.comparisons[..] else { panic!("one pair in one cell: {:?}", results.comparisons) };
    let ratio = comparison.throughput_ratio.expect("three blocks");
    near(ratio.mean, 2.0646);
    near(ratio.low.expect("n"), 1.8008);
    near(ratio.high.expect("n"), 2.3671);
    assert_eq!((comparison.verdict, comparison.a.as_str()), (ComparisonVerdict::Faster, "a"));
    // exp((4.30265 + 1.06066) · 0.03177)
    near(comparison.smallest_detectable_ratio.expect("n"), 1.18578);
    assert_eq!(results.sentences, ["a answers 2.1× [1.8, 2.4] as many texts/s as b at batch 32; p99 50 ms against 50 ms"]);
    assert!(results.complete);
    let relative: Vec<(&str, f64)> =
        results.overall.iter().map(|one| (one.backend.as_str(), one.relative.expect("measured"))).collect();
    assert_eq!(relative[0], ("a", 1.0));
    near(relative[1].1, 1.0 / 2.0646);
}

#[test]
fn backends_that_ran_in_different_jobs_are_compared_unpaired_and_the_sentence_says_so() {
    let mut input = small();
    input.experiment.spec.slurm.shard = em_api::spec::ShardBy::Backend;
    for measurement in input.measurements.iter_mut().filter(|one| one.backend == "b") {
        measurement.block = em_api::BlockId::generate();
        measurement.attempt = AttemptId::generate();
    }
    let results = compute(&input);
    let [comparison] = &results.comparisons[..] else { panic!("one pair in one cell: {:?}", results.comparisons) };
    let ratio = comparison.throughput_ratio.expect("three repetitions each");
    near(ratio.mean, 2.0646);
    assert!(ratio.low.expect("n") < 1.75, "nothing cancels: wider than the paired 1.80: {ratio:?}");
    assert_eq!((comparison.verdict, comparison.paired), (ComparisonVerdict::Faster, false));
    assert!(results.sentences[0].contains("at batch 32 (in different jobs, unpaired)"), "{:?}", results.sentences);
    assert!(results.complete);
}

#[test]
fn percentiles_are_shown_only_when_the_samples_carry_them() {
    let mut input = small();
    input.measurements.retain(|one| one.repetition == 1);
    let results = compute(&input);
    let (a, b) = (&cell(&results, "a").latency_ms, &cell(&results, "b").latency_ms);
    near(a.p99.value.expect("1,000 samples"), 50.0);
    assert_eq!((b.samples, b.p99.value), (500, None));
    let why = b.p99.withheld.as_deref().expect("a reason");
    assert!(why.contains("500 requests") && why.contains("662"), "{why}");
    near(b.p95.value.expect("500 carry a p95"), 50.0);
}

#[test]
fn one_repetition_gives_no_interval_and_no_verdict() {
    let mut input = small();
    input.measurements.retain(|one| one.repetition == 1);
    let results = compute(&input);
    let rate = cell(&results, "a").texts_per_second.expect("measured");
    assert_eq!((rate.low, rate.high, rate.n), (None, None, 1));
    assert_eq!(results.comparisons[0].verdict, ComparisonVerdict::TooFewRepetitions);
    assert_eq!(
        results.sentences,
        ["a answered 2.0× as many texts/s as b at batch 32 in 1 repetition; a verdict takes 3; p50 50 ms against 50 ms"]
    );
    assert!(!results.complete);
    assert!(results.warnings.iter().any(|warning| warning.starts_with("4 of 6 trials")), "{:?}", results.warnings);
}

#[test]
fn a_block_that_ran_again_keeps_its_first_complete_run() {
    let mut input = small();
    for (backend, requests) in [("a", 2_000), ("b", 400)] {
        let mut again = trial(backend, 32, 1, requests);
        again.attempt = AttemptId(id(&[2]));
        input.measurements.push(again);
    }
    let results = compute(&input);
    assert_eq!((results.trials, results.comparisons), (compute(&small()).trials, compute(&small()).comparisons));
}

#[test]
fn a_block_whose_failed_trial_was_wanted_again_is_replaced_as_a_whole() {
    let mut input = small();
    let failed = input.measurements.iter_mut().find(|one| one.backend == "b" && one.repetition == 1).expect("made");
    failed.outcome = Outcome::Failed { reason: "LoadFailed".to_owned(), message: "no answer".to_owned(), log_tail: String::new() };
    for (backend, requests) in [("a", 2_000), ("b", 400)] {
        let mut again = trial(backend, 32, 1, requests);
        again.attempt = AttemptId(id(&[2]));
        input.measurements.push(again);
    }
    input.experiment.spec.retry_trials = true;
    let results = compute(&input);
    let first = results.trials.iter().find(|one| one.backend == "a" && one.repetition == 1).expect("measured");
    assert_eq!((first.attempt, first.texts_per_second), (AttemptId(id(&[2])), 6_400.0));
    assert_eq!(cell(&results, "a").repetitions, 3);
    near(results.comparisons[0].throughput_ratio.expect("n").mean, (5.0_f64 * 2.2 * 2.0).cbrt());
}

#[test]
fn a_block_that_ran_again_in_part_keeps_its_complete_run() {
    let mut input = small();
    let mut again = trial("a", 32, 1, 9_000);
    again.attempt = AttemptId(id(&[2]));
    input.measurements.push(again);
    assert_eq!(compute(&input).comparisons, compute(&small()).comparisons);
}

#[test]
fn trials_of_different_runs_of_a_block_are_averaged_but_never_paired() {
    let mut input = small();
    let lost = input.measurements.iter_mut().find(|one| one.backend == "b" && one.repetition == 1).expect("made");
    lost.epoch = 1;
    let results = compute(&input);
    assert_eq!(cell(&results, "b").repetitions, 3);
    assert_eq!(results.comparisons[0].throughput_ratio.expect("two blocks").n, 2);
    assert_eq!(results.comparisons[0].verdict, ComparisonVerdict::TooFewRepetitions);
}

#[test]
fn a_missing_cell_is_there_empty_and_costs_its_backend() {
    let mut input = small();
    input.experiment.spec.matrix.batch_sizes = vec![32, 64];
    for repetition in 1..=3 {
        input.measurements.push(trial("a", 64, repetition, 1_000));
    }
    let results = compute(&input);
    assert_eq!(results.cells.len(), 4);
    let overall = |backend: &str| results.overall.iter().find(|one| one.backend == backend).expect("there").clone();
    assert_eq!((overall("a").missing_cells, overall("b").missing_cells), (0, 1));
    // b's missing cell counts as half of a's 6,400.
    let b = cell(&results, "b").texts_per_second.expect("batch 32").mean;
    near(overall("b").geometric_mean_texts_per_second.expect("one cell"), (b * 3_200.0).sqrt());
}

#[test]
fn an_slo_is_met_missed_or_unknown() {
    let mut input = small();
    let met = |input: &ResultsInput, backend: &str| cell(&compute(input), backend).slo.clone().map(|slo| slo.met);
    assert_eq!(met(&input, "a"), None, "none was asked for");
    let slo = |p99_ms, success_rate| Some(em_api::spec::Slo { p99_ms, success_rate });
    input.experiment.spec.slo = slo(Some(60.0), Some(0.999));
    assert_eq!(met(&input, "a"), Some(Some(true)));
    input.experiment.spec.slo = slo(Some(40.0), None);
    assert_eq!(met(&input, "a"), Some(Some(false)));
    input.experiment.spec.slo = slo(Some(60.0), None);
    input.measurements.retain(|one| one.repetition == 1);
    assert_eq!(met(&input, "b"), Some(None), "500 requests carry no p99");
    report(&mut input.measurements[0]).counts.timed_out = 5;
    input.experiment.spec.slo = slo(None, Some(0.999));
    let checked = cell(&compute(&input), "a").slo.clone().expect("checked");
    assert_eq!((checked.met, checked.message.as_str()), (Some(false), "success 99.50 % of 99.90 %"));
}

#[test]
fn an_empty_experiment_has_results_without_numbers() {
    let results = compute(&fixture::experiment(&["a", "b"], &[16, 32], 3));
    assert_eq!((results.cells.len(), results.trials.len(), results.complete), (4, 0, false));
    assert!(
        results
            .cells
            .iter()
            .all(|cell| cell.texts_per_second.is_none() && cell.success_rate.is_none() && cell.latency_ms.p50.value.is_none())
    );
    assert!(results.overall.iter().all(|one| one.relative.is_none()));
    assert!(!serde_json::to_string(&results).expect("json").contains("NaN"));
}

#[test]
fn the_order_of_measurements_changes_nothing() {
    let input = fixture::realistic(true);
    let mut turned = input.clone();
    turned.measurements.reverse();
    assert_eq!(compute(&input), compute(&turned));
    let mut other = input.clone();
    report(&mut other.measurements[0]).texts_ok += 1;
    assert_ne!(compute(&input).measurements_sha256, compute(&other).measurements_sha256);
}

/// Two GPUs of 100 and 150 W, read once a second from 0.4 s to 8.4 s of a window of 10 s; the texts come in its first half.
#[test]
fn energy_counts_the_texts_of_the_time_between_its_readings_and_tells_its_error() {
    let metered = |repetition: u32, watts: f64| {
        let mut one = fixture::trial("a", 32, repetition, 1_000);
        let load = report(&mut one);
        load.per_second.iter_mut().for_each(|bin| bin.texts_ok = if bin.second < 5 { 6_400 } else { 0 });
        let at = |second: i64| second * 1_000 + 400;
        let counter = |watts: f64| (0..9).map(|second| Some(5e6 + watts * at(second) as f64 / 1e3)).collect();
        one.series = Some(em_api::measurement::Series {
            resource: em_api::measurement::Resource::Gpu,
            origin: one.started_at,
            t_ms: (0..9).map(at).collect(),
            columns: [("gpu0_energy_joules".to_owned(), counter(watts)), ("gpu1_energy_joules".to_owned(), counter(150.0))].into(),
            sampler_cpu_ratio: None,
        });
        one
    };
    let resources = |measurements: Vec<Measurement>| {
        let mut input = small();
        input.measurements = measurements;
        cell(&compute(&input), "a").resources.clone()
    };
    let one = resources(vec![metered(1, 100.0)]);
    // 250 W for 8 s over the 4.6 s of texts that lie in it.
    near(one.joules_per_million_texts.expect("metered"), 250.0 * 8.0 / (4.6 * 6_400.0) * 1e6);
    near(one.joules_per_million_texts_error_ratio.expect("metered"), 0.1 / 8.0);
    let three = resources(vec![metered(1, 100.0), metered(2, 110.0), metered(3, 90.0)]);
    let error = three.joules_per_million_texts_error_ratio.expect("metered");
    // t(2) = 4.30 times the standard error of 250, 260, 240.
    assert!((error - 0.104).abs() < 0.006, "{error}");
    let mut reset = metered(1, 100.0);
    let columns = &mut reset.series.as_mut().expect("made above").columns;
    columns.get_mut("gpu1_energy_joules").expect("made above")[8] = Some(3.0);
    assert_eq!(resources(vec![reset]).joules_per_million_texts, None, "the driver was loaded anew");
}

#[test]
fn gpu_columns_are_there_with_a_gpu_and_absent_without() {
    let with = compute(&fixture::realistic(true));
    let ort = &cell(&with, "ort").resources;
    // The counter rises with 40 W × 5.9 cores of the made-up profile.
    let rate = cell(&with, "ort").texts_per_second.expect("measured").mean;
    assert!((ort.joules_per_million_texts.expect("counter") / (236.0 / rate * 1e6) - 1.0).abs() < 0.05, "{ort:?}");
    assert!(ort.joules_per_million_texts_error_ratio.is_some_and(|error| (0.003..0.2).contains(&error)), "{ort:?}");
    assert!(ort.gpu_utilization.is_some_and(|used| (0.9..1.0).contains(&used)), "{ort:?}");
    let results = compute(&fixture::realistic(false));
    let without = &cell(&results, "ort").resources;
    assert_eq!((without.gpu_utilization, without.gpu_memory_peak_bytes, without.joules_per_million_texts), (None, None, None));
    assert!(without.cpu_cores.is_some_and(|cores| (5.5..6.5).contains(&cores)), "{without:?}");
}
