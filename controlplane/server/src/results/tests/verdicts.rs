//! Which trials count: each rule, and clean runs that none of them may touch.

use super::*;

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
        sampler_cpu_ratio: None,
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
