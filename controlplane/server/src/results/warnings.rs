//! What a reader must know before quoting a number, in sentences: what is missing, what does not count, what the machine did.

use std::collections::{BTreeMap, BTreeSet};

use em_api::measurement::Outcome;
use em_api::results::{Cell, Parity, ParityVerdict, Verdict};
use em_api::spec::LoadLevel;
use em_stats::paired::LEAST_BLOCKS;

use super::trials::Trial;
use super::verdict::{POWER_CAP, own_cores, share_with_reason};
use super::{ResultsInput, expected_trials, words};

/// A generator that takes less of the cores that it shares with the services hardly slows them.
const HARDLY_SHARED: f64 = 0.05;
/// Below this share of the offered rate an open loop has outrun the backend.
const KEPT_UP: f64 = 0.95;

/// Most important first.
pub(crate) fn collect(input: &ResultsInput, trials: &[Trial<'_>], cells: &[Cell], parity: &[Parity]) -> Vec<String> {
    let mut warnings = Vec::new();
    warnings.extend(wrong_vectors(parity));
    warnings.extend(missing(input, trials));
    warnings.extend(failed(trials));
    warnings.extend(not_counted(trials));
    warnings.extend(unknown_vectors(parity, trials));
    warnings.extend(few_repetitions(cells));
    warnings.extend(overrun(input, cells));
    warnings.extend(machine(trials));
    warnings.extend(texts_repeated(trials));
    warnings
}

fn wrong_vectors(parity: &[Parity]) -> Vec<String> {
    let failed = parity.iter().filter(|one| one.verdict == ParityVerdict::Failed);
    failed.map(|one| format!("{}; its trials do not count", one.message)).collect()
}

fn unknown_vectors(parity: &[Parity], trials: &[Trial<'_>]) -> Vec<String> {
    let measured = |name: &str| trials.iter().any(|trial| trial.report.is_some() && trial.measurement.backend == name);
    let unknown = parity.iter().filter(|one| one.verdict == ParityVerdict::Unknown && measured(&one.backend));
    let mut by_reason: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for one in unknown {
        by_reason.entry(&one.message).or_default().push(&one.backend);
    }
    by_reason.into_iter().map(|(reason, names)| format!("Vectors of {} were not checked: {reason}", names.join(", "))).collect()
}

fn missing(input: &ResultsInput, trials: &[Trial<'_>]) -> Option<String> {
    let expected = expected_trials(&input.experiment.spec);
    let missing = expected.saturating_sub(trials.len());
    let phase = input.experiment.status.phase;
    (missing > 0).then(|| {
        if phase.ended() {
            format!("{missing} of {expected} trials were never measured (the experiment is {})", phase.as_str())
        } else {
            format!("{missing} of {expected} trials are still to come: these numbers may change")
        }
    })
}

fn failed(trials: &[Trial<'_>]) -> Vec<String> {
    let mut groups: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    for trial in trials {
        if let Outcome::Failed { reason, message, .. } = &trial.measurement.outcome {
            groups.entry((&trial.measurement.backend, reason)).or_default().push(message);
        }
    }
    let sentence = |((backend, reason), messages): ((&str, &str), Vec<&str>)| {
        format!("{} of {backend} failed ({reason}): {}", words::count(messages.len(), "trial"), messages[0])
    };
    groups.into_iter().map(sentence).collect()
}

/// Invalid and inconclusive trials, by backend and first reason. Those of a failed parity gate were named before.
fn not_counted(trials: &[Trial<'_>]) -> Vec<String> {
    let mut groups: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    for trial in trials.iter().filter(|trial| matches!(trial.verdict, Some(Verdict::Invalid | Verdict::Inconclusive))) {
        let word = if trial.verdict == Some(Verdict::Invalid) { "invalid" } else { "inconclusive" };
        if let Some(reason) = trial.reasons.first().filter(|reason| reason.code != "parity") {
            groups.entry((&trial.measurement.backend, word)).or_default().push(&reason.message);
        }
    }
    let sentence = |((backend, word), messages): ((&str, &str), Vec<&str>)| {
        let are = if messages.len() == 1 { "is" } else { "are" };
        format!("{} of {backend} {are} {word} and not in the averages: {}", words::count(messages.len(), "trial"), messages[0])
    };
    groups.into_iter().map(sentence).collect()
}

fn few_repetitions(cells: &[Cell]) -> Option<String> {
    let measured: Vec<u32> = cells.iter().map(|cell| cell.repetitions).filter(|repetitions| *repetitions > 0).collect();
    let few = measured.iter().filter(|repetitions| **repetitions < LEAST_BLOCKS).count();
    let all = measured.len();
    (few > 0).then(|| format!("{few} of {all} measured cells have fewer than {LEAST_BLOCKS} valid repetitions: no verdict there"))
}

fn overrun(input: &ResultsInput, cells: &[Cell]) -> Vec<String> {
    let matrix = &input.experiment.spec.matrix;
    let offered = |cell: &Cell| match cell.load {
        LoadLevel::Concurrency(_) | LoadLevel::FindMax(_) => None,
        LoadLevel::RequestRate(rate) => Some((rate, cell.requests_per_second?.mean, "requests/s")),
        LoadLevel::TextRate(rate) => Some((rate, cell.texts_per_second?.mean, "texts/s")),
    };
    let outrun = cells
        .iter()
        .filter_map(|cell| offered(cell).filter(|(offered, answered, _)| *answered < offered * KEPT_UP).zip(Some(cell)));
    outrun
        .map(|((offered, answered, unit), cell)| {
            let place = words::place(cell.batch_size, cell.load, matrix);
            format!(
                "{} could not keep up at {place}: {} of {} {unit} were answered",
                cell.backend,
                words::number(answered),
                words::number(offered)
            )
        })
        .collect()
}

fn machine(trials: &[Trial<'_>]) -> Vec<String> {
    let mut warnings = Vec::new();
    let measured: Vec<_> = trials.iter().filter_map(|trial| Some((trial.measurement, trial.report?))).collect();
    let nodes: BTreeSet<&str> = measured.iter().map(|(of, _)| of.environment.node.as_str()).collect();
    if nodes.len() > 1 {
        let names: Vec<&str> = nodes.into_iter().collect();
        warnings.push(format!(
            "Trials ran on {} nodes ({}): averages mix them, ratios stay inside one job each",
            names.len(),
            names.join(", ")
        ));
    }
    let shared = measured.iter().filter(|(of, load)| !own_cores(load.generator.cores.len(), of.environment.cores_allowed));
    let share = |cores: u32, cpu_s: f64, window_s: f64| cpu_s / window_s / f64::from(cores);
    let used = shared
        .filter(|(of, load)| of.environment.cores_allowed > 0 && load.window_s > 0.0)
        .map(|(of, load)| (of.environment.cores_allowed, share(of.environment.cores_allowed, load.generator.cpu_s, load.window_s)))
        .max_by(|a, b| a.1.total_cmp(&b.1));
    if let Some((cores, used)) = used.filter(|(_, used)| *used >= HARDLY_SHARED) {
        let text = words::count(cores as usize, "core");
        warnings.push(format!("The load generator shared {text} with the services and used up to {} of them: rates would be higher with cores of its own", words::percent(used)));
    }
    let capped =
        measured.iter().filter_map(|(of, load)| share_with_reason(of.series.as_ref()?, load.window_s, POWER_CAP)).reduce(f64::max);
    if let Some(capped) = capped.filter(|share| *share > 0.05) {
        warnings.push(format!("The GPU ran into its power limit in up to {} of the samples", words::percent(capped)));
    }
    warnings
}

fn texts_repeated(trials: &[Trial<'_>]) -> Option<String> {
    let passes = trials.iter().filter_map(|trial| trial.report).filter(|load| load.dataset.texts > 0);
    let most = passes.map(|load| load.texts_ok as f64 / load.dataset.texts as f64).reduce(f64::max)?;
    (most > 1.0)
        .then(|| format!("A window went through the texts up to {most:.1} times: caches may help; load more texts (dataset.limit)"))
}
