//! Results against numbers worked by hand, and against the mishaps of real experiments.

use em_api::AttemptId;
use em_api::agent::ParityVectors;
use em_api::measurement::Outcome;
use em_api::results::{Cell, ComparisonVerdict, ParityVerdict, Verdict};
use em_api::spec::ParityGate;

use super::fixture::{self, id, report, trial};
use super::*;

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
fn a_failed_parity_gate_makes_a_backends_trials_invalid() {
    let mut input = small();
    input.parity = vec![fixture::vectors("a", 0.0), fixture::vectors("b", 0.9)];
    let results = compute(&input);
    assert_eq!(results.parity.iter().map(|one| one.verdict).collect::<Vec<_>>(), [ParityVerdict::Passed, ParityVerdict::Failed]);
    let b = cell(&results, "b");
    assert_eq!((b.repetitions, b.invalid, b.texts_per_second), (0, 3, None));
    assert!(
        results
            .trials
            .iter()
            .filter(|one| one.backend == "b")
            .all(|one| one.verdict == Verdict::Invalid && one.reasons[0].code == "parity")
    );
    assert!(results.warnings[0].contains("vectors of b differ"), "{:?}", results.warnings);
    assert_eq!(results.comparisons[0].throughput_ratio, None);
}

#[test]
fn parity_without_a_basis_is_unknown_and_says_why() {
    let verdict =
        |input: &ResultsInput| compute(input).parity.into_iter().map(|one| (one.verdict, one.message)).next_back().expect("b");
    let mut input = small();
    input.parity.remove(1);
    assert_eq!(verdict(&input), (ParityVerdict::Unknown, "b handed in no vectors".to_owned()));
    let mut input = small();
    input.parity.remove(0);
    assert_eq!(verdict(&input), (ParityVerdict::Unknown, "the reference a handed in no vectors".to_owned()));
    let mut input = small();
    input.parity[1].texts_sha256 = "ef".repeat(32);
    assert_eq!(verdict(&input).0, ParityVerdict::Unknown);
    let mut input = small();
    input.parity[1].vectors.truncate(8);
    assert!(verdict(&input).1.contains("unreadable"));
    let mut input = small();
    input.experiment.spec.checks.parity.reference = None;
    assert_eq!(verdict(&input).0, ParityVerdict::Unknown);
    // Unknown is shown, never silently passed, and does not void the trials either.
    assert_eq!(cell(&compute(&input), "b").repetitions, 3);
    assert!(compute(&input).warnings.iter().any(|warning| warning.contains("were not checked")));
}

#[test]
fn the_newest_vectors_decide_and_a_report_only_gate_voids_nothing() {
    let mut input = small();
    input.parity.push(fixture::vectors("b", 0.9));
    assert_eq!(compute(&input).parity[1].verdict, ParityVerdict::Failed);
    input.experiment.spec.backends[1].parity = ParityGate::Report;
    let results = compute(&input);
    assert_eq!(results.parity[1].verdict, ParityVerdict::Reported);
    assert_eq!(cell(&results, "b").repetitions, 3);
}

#[test]
fn vectors_of_another_dimension_fail_the_gate() {
    let mut input = small();
    input.parity[1].dim = 8;
    input.parity[1].count = 80;
    assert_eq!(compute(&input).parity[1].verdict, ParityVerdict::Failed);
}

#[test]
fn a_missing_normalisation_turns_no_vector_and_fails_all_the_same() {
    let mut input = small();
    input.parity = vec![fixture::vectors("a", 0.0), fixture::vectors("b", 0.0)];
    assert_eq!(compute(&input).parity[1].verdict, ParityVerdict::Passed);
    let longer = |of: &str| ParityVectors { vectors: fixture::vectors_from(|seed| seed * 3.0), ..fixture::vectors(of, 0.0) };
    input.parity[1] = longer("b");
    let parity = compute(&input).parity.remove(1);
    assert_eq!((parity.verdict, parity.min_cosine.map(|cosine| cosine > 0.999_999)), (ParityVerdict::Failed, Some(true)));
    assert!(parity.message.contains("though model.normalize is true"), "{}", parity.message);
    // A reference that is wrong itself is said to be, and not only the others.
    input.parity[0] = longer("a");
    let parity = compute(&input).parity.remove(0);
    assert_eq!(parity.verdict, ParityVerdict::Failed);
    assert!(parity.message.contains("the reference's own vectors"), "{}", parity.message);
    // Without normalisation of the model the two agree.
    input.experiment.spec.model.normalize = false;
    assert_eq!(compute(&input).parity[1].verdict, ParityVerdict::Passed);
}

#[test]
fn one_wrong_start_among_right_ones_fails_the_backend() {
    let mut input = small();
    let of_repetition = |repetition, noise| ParityVectors { repetition, ..fixture::vectors("b", noise) };
    input.parity = vec![fixture::vectors("a", 0.0), of_repetition(1, 0.9), of_repetition(2, 0.0)];
    assert_eq!(compute(&input).parity[1].verdict, ParityVerdict::Failed);
    // Begun again, the repetition counts as it was then.
    input.parity.push(of_repetition(1, 0.0));
    assert_eq!(compute(&input).parity[1].verdict, ParityVerdict::Passed);
}

#[test]
fn a_failed_gate_voids_the_speed_and_a_reported_one_stands_beside_it() {
    let mut input = small();
    input.parity = vec![fixture::vectors("a", 0.0), fixture::vectors("b", 0.9)];
    let results = compute(&input);
    let b = cell(&results, "b");
    assert!(b.texts_per_second.is_none() && b.void.as_ref().is_some_and(|why| why.contains("vectors of b differ")), "{b:?}");
    assert!(cell(&results, "a").void.is_none());
    assert!(results.sentences[0].contains("the vectors of b failed the parity gate"), "{:?}", results.sentences);

    input.experiment.spec.backends[1].parity = ParityGate::Report;
    let results = compute(&input);
    let overlap = results.parity[1].neighbour_overlap.expect("40 texts");
    assert!(overlap < 1.0, "other vectors have other neighbours: {overlap}");
    assert!(cell(&results, "b").texts_per_second.is_some() && cell(&results, "b").void.is_none());
    assert!(results.sentences[0].contains("of neighbours kept"), "{:?}", results.sentences);
}

#[test]
fn errors_void_a_trial_but_stay_in_the_success_rate() {
    let mut input = small();
    let load = report(&mut input.measurements[0]);
    load.counts.timed_out = 20;
    load.error_examples.push("operation timed out".to_owned());
    let results = compute(&input);
    let a = cell(&results, "a");
    assert_eq!((a.repetitions, a.invalid), (2, 1));
    near(a.success_rate.expect("asked"), 3_300.0 / 3_320.0);
    let reason = &results.trials.iter().find(|one| one.verdict == Verdict::Invalid).expect("one").reasons[0];
    assert_eq!(reason.code, "errors");
    assert!(reason.message.contains("20 of 1020") && reason.message.contains("operation timed out"), "{}", reason.message);
}

#[test]
fn each_rule_of_the_verdict_has_its_word() {
    type Bend = fn(&mut Measurement);
    let cases: [(&str, Verdict, Bend); 17] = [
        ("errors", Verdict::Invalid, |one| report(one).counts.wrong_shape = 1),
        ("errors", Verdict::Invalid, |one| report(one).counts.not_finite = 1),
        ("errors", Verdict::Invalid, |one| report(one).counts.wrong_norm = 1),
        ("errors", Verdict::Invalid, |one| {
            report(one).counts.http_status.insert(500, 50);
        }),
        ("client-bound", Verdict::Invalid, |one| report(one).generator.cpu_wait_s = Some(4.0)),
        ("client-bound", Verdict::Invalid, |one| {
            report(one).level = LoadLevel::RequestRate(100.0);
            report(one).generator.slip_p99_ms = Some(6.0);
        }),
        ("foreign-process", Verdict::Invalid, |one| sampled(one, "gpu0_foreign_processes", 1)),
        ("limit", Verdict::Inconclusive, |one| report(one).find_max = Some(found(0.0, Some(10.0)))),
        ("limit", Verdict::Inconclusive, |one| report(one).find_max = Some(found(100.0, None))),
        ("unreadable", Verdict::Invalid, |one| report(one).latency_us.0 = "AAAA".to_owned()),
        ("client-bound", Verdict::Invalid, |one| report(one).generator.cpu_s = 18.5),
        ("client-bound", Verdict::Invalid, |one| report(one).generator.headroom_requests_per_s = Some(250.0)),
        ("throttled", Verdict::Invalid, |one| throttle(one, 0x20)),
        ("too-short", Verdict::Inconclusive, |one| report(one).window_s = 2.5),
        ("too-short", Verdict::Inconclusive, |one| {
            report(one).requests_ok = 0;
            report(one).counts.ok = 0;
        }),
        ("too-short", Verdict::Inconclusive, |one| {
            report(one).requests_ok = 15;
            report(one).counts.ok = 15;
        }),
        ("unsteady", Verdict::Inconclusive, |one| {
            let load = report(one);
            load.window_s = 40.0;
            let bin = load.per_second[0];
            load.per_second = (0..40)
                .map(|second| em_api::measurement::SecondBin { second, requests_ok: 140 - u64::from(second), ..bin })
                .collect();
        }),
    ];
    let spec = small().experiment.spec;
    for (code, expected, bend) in cases {
        let mut one = trial("a", 32, 1, 1_000);
        assert_eq!(verdict(&one, &spec), Some((Verdict::Valid, Vec::new())), "before it was bent");
        bend(&mut one);
        let (seen, reasons) = verdict(&one, &spec).expect("measured");
        assert_eq!((seen, reasons.first().map(|reason| reason.code.as_str())), (expected, Some(code)), "{reasons:?}");
    }
}

fn throttle(measurement: &mut Measurement, reasons: u64) {
    sampled(measurement, "gpu0_throttle_reasons", reasons);
}

fn sampled(measurement: &mut Measurement, column: &str, value: u64) {
    measurement.series = Some(em_api::measurement::Series {
        resource: em_api::measurement::Resource::Gpu,
        origin: measurement.started_at,
        t_ms: (0..100).map(|step| step * 100).collect(),
        columns: [(column.to_owned(), vec![Some(value as f64); 100])].into(),
    });
}

fn found(rate: f64, high: Option<f64>) -> em_api::measurement::FoundMax {
    use em_api::measurement::{FoundBy, FoundMax, ProbeReport};
    let probe = ProbeReport { requests_per_s: 20.0, requests: 600, over: 0, passed: true, p99_ms: None };
    FoundMax { p99_limit_ms: 50.0, requests_per_s: rate, low: rate, high, by: FoundBy::Bracket, probes: vec![probe] }
}

/// Fifty trials of 60 s as they come: random arrivals, a little slip, an error in some thousands, samples of a GPU at work.
#[test]
fn clean_runs_are_valid() {
    use rand::{Rng, SeedableRng};
    let mut random = rand::rngs::StdRng::seed_from_u64(50);
    let spec = small().experiment.spec;
    for run in 0..50 {
        let rate = random.random_range(20.0..400.0_f64);
        let mut one = trial("a", 32, 1, 1_000);
        let load = report(&mut one);
        load.window_s = 60.0;
        // A sum of uniforms in place of a Poisson count: the same mean and variance.
        let mut normal = || (0..12).map(|_| random.random_range(0.0..1.0)).sum::<f64>() - 6.0;
        let bin = load.per_second[0];
        load.per_second = (0..60)
            .map(|second| em_api::measurement::SecondBin {
                second,
                requests_ok: (rate + rate.sqrt() * normal()).max(0.0) as u64,
                ..bin
            })
            .collect();
        load.requests_ok = load.per_second.iter().map(|bin| bin.requests_ok).sum();
        load.counts.ok = load.requests_ok;
        load.counts.timed_out = u64::from(run % 5 == 0);
        load.level = if run % 2 == 0 { LoadLevel::Concurrency(10) } else { LoadLevel::RequestRate(rate) };
        load.generator.slip_p99_ms = Some(random.random_range(0.05..0.9));
        load.generator.cpu_s = random.random_range(1.0..40.0);
        load.generator.cpu_wait_s = Some(load.generator.cpu_s * random.random_range(0.0..0.8));
        sampled(&mut one, "gpu0_throttle_reasons", 0x4);
        assert_eq!(verdict(&one, &spec), Some((Verdict::Valid, Vec::new())), "run {run}");
    }
}

/// The largest rate that was found is the trial's rate, and its interval the trial's own.
#[test]
fn a_search_counts_with_what_it_found() {
    let mut input = small();
    for one in input.measurements.iter_mut().filter(|one| one.backend == "a") {
        report(one).find_max = Some(em_api::measurement::FoundMax { low: 97.0, ..found(100.0, Some(103.0)) });
    }
    let results = compute(&input);
    let a = cell(&results, "a");
    near(a.texts_per_second.expect("found").mean, 3_200.0);
    near(a.requests_per_second.expect("found").mean, 100.0);
    let within =
        results.trials.iter().find(|one| one.backend == "a").expect("measured").texts_per_second_within.expect("an interval");
    assert_eq!((within.low, within.high), (97.0 * 32.0, 103.0 * 32.0));
    let b = results.trials.iter().find(|one| one.backend == "b").expect("measured");
    let within = b.texts_per_second_within.expect("ten seconds");
    assert!(within.low <= b.texts_per_second && b.texts_per_second <= within.high, "{within:?}");
}

#[test]
fn a_load_that_was_made_to_change_is_not_called_unsteady() {
    let mut spec = small().experiment.spec;
    let mut one = trial("a", 32, 1, 1_000);
    let load = report(&mut one);
    load.window_s = 40.0;
    let bin = load.per_second[0];
    load.per_second =
        (0..40).map(|second| em_api::measurement::SecondBin { second, requests_ok: 20 + u64::from(second) * 5, ..bin }).collect();
    assert_eq!(verdict(&one, &spec).map(|(verdict, _)| verdict), Some(Verdict::Inconclusive));
    spec.load.ramp = Some(em_api::spec::Ramp { from: 20.0, to: 220.0, over: em_api::HumanDuration::from_secs(40) });
    assert_eq!(verdict(&one, &spec).map(|(verdict, _)| verdict), Some(Verdict::Valid));
}

#[test]
fn what_many_gpus_do_all_day_is_no_throttling() {
    let spec = small().experiment.spec;
    for reasons in [0x0, 0x1, 0x2, 0x4] {
        let mut one = trial("a", 32, 1, 1_000);
        throttle(&mut one, reasons);
        assert_eq!(verdict(&one, &spec).map(|(verdict, _)| verdict), Some(Verdict::Valid), "{reasons:#x}");
    }
}

#[test]
fn a_generator_that_shares_all_cores_is_warned_about_but_valid() {
    let mut input = small();
    for one in &mut input.measurements {
        one.environment.cores_allowed = 2;
        report(one).generator.cpu_s = 4.6;
    }
    let results = compute(&input);
    assert_eq!(cell(&results, "a").repetitions, 3);
    assert!(
        results.warnings.iter().any(|warning| warning.contains("shared 2 cores") && warning.contains("23 %")),
        "{:?}",
        results.warnings
    );
}

#[test]
fn failed_and_interrupted_trials_have_no_verdict_and_are_never_averaged() {
    let mut input = small();
    fixture::fail(&mut input.measurements[0], "no such module: torch");
    input.measurements[1].outcome = Outcome::Interrupted { message: "time limit".to_owned() };
    let spec = input.experiment.spec.clone();
    assert!(input.measurements[..2].iter().all(|one| verdict(one, &spec).is_none()));
    let results = compute(&input);
    assert_eq!((cell(&results, "a").repetitions, cell(&results, "a").failed), (2, 1));
    assert_eq!((cell(&results, "b").repetitions, cell(&results, "b").failed), (2, 0));
    assert!(results.warnings.iter().any(|warning| warning.contains("no such module: torch")), "{:?}", results.warnings);
    assert!(!results.complete);
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

#[test]
fn gpu_columns_are_there_with_a_gpu_and_absent_without() {
    let with = compute(&fixture::realistic(true));
    let ort = &cell(&with, "ort").resources;
    // The counter rises with 40 W × 5.9 cores of the made-up profile.
    let rate = cell(&with, "ort").texts_per_second.expect("measured").mean;
    assert!((ort.joules_per_million_texts.expect("counter") / (236.0 / rate * 1e6) - 1.0).abs() < 0.05, "{ort:?}");
    assert!(ort.gpu_utilization.is_some_and(|used| (0.9..1.0).contains(&used)), "{ort:?}");
    let results = compute(&fixture::realistic(false));
    let without = &cell(&results, "ort").resources;
    assert_eq!((without.gpu_utilization, without.gpu_memory_peak_bytes, without.joules_per_million_texts), (None, None, None));
    assert!(without.cpu_cores.is_some_and(|cores| (5.5..6.5).contains(&cores)), "{without:?}");
}
