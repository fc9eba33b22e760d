//! The gate of vectors: what fails it, and what a failure voids.

use super::*;

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
