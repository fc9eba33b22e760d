//! How long an experiment takes, roughly: for warnings and for a person who waits.

use em_api::spec::{BackendKind, FindMax, ServiceScope, ShardBy, Spec};

/// All trials and all service starts, one after another, as a job runs them.
pub(super) fn seconds(spec: &Spec) -> u64 {
    let trials = trials(spec);
    let per_backend = trials / (spec.backends.len().max(1) as u64);
    let starts_each = match spec.load.service {
        ServiceScope::PerRepetition => u64::from(spec.load.repetitions),
        ServiceScope::PerTrial => per_backend,
    };
    let starts: u64 = spec.backends.iter().map(|backend| starts_each * start_seconds(backend.kind)).sum();
    trials * trial_seconds(spec) + starts
}

/// Of the job that takes longest, of `all` seconds of work.
pub(super) fn longest_job_seconds(spec: &Spec, all: u64) -> u64 {
    let slowest_start = spec.backends.iter().map(|backend| start_seconds(backend.kind)).max().unwrap_or(0);
    match spec.slurm.shard {
        ShardBy::Experiment => all,
        ShardBy::Backend => {
            let trials = trials(spec) / (spec.backends.len().max(1) as u64);
            let starts = if spec.load.service == ServiceScope::PerTrial { trials } else { u64::from(spec.load.repetitions) };
            trials * trial_seconds(spec) + starts * slowest_start
        }
        ShardBy::Trial => trial_seconds(spec) + slowest_start,
    }
}

pub(super) fn trials(spec: &Spec) -> u64 {
    let matrix = &spec.matrix;
    (spec.backends.len() * matrix.batch_sizes.len() * matrix.levels().len()) as u64 * u64::from(spec.load.repetitions)
}

/// A search for the largest rate may end early: this is at most.
pub(super) fn trial_seconds(spec: &Spec) -> u64 {
    let measured = match spec.matrix.find_max {
        Some(search) => search.probe.0.as_secs_f64() * 1.1 * f64::from(FindMax::MOST_PROBES),
        None => spec.load.duration.0.as_secs_f64(),
    };
    (measured + spec.load.warmup.0.as_secs_f64()).ceil() as u64
}

/// Until the first vector, weights at hand; seen on two cores with a small model.
fn start_seconds(kind: BackendKind) -> u64 {
    match kind {
        BackendKind::Vllm => 90,
        BackendKind::Huggingface | BackendKind::Tei => 20,
        BackendKind::Ort => 3,
        BackendKind::Openai => 0,
    }
}

/// `5 h 20 min`, `12 min`, `40 s`.
pub(super) fn words(seconds: u64) -> String {
    let minutes = seconds.div_ceil(60);
    match (minutes / 60, minutes % 60) {
        _ if seconds < 120 => format!("{seconds} s"),
        (0, minutes) => format!("{minutes} min"),
        (hours, 0) => format!("{hours} h"),
        (hours, minutes) => format!("{hours} h {minutes} min"),
    }
}
