//! The environment capsule, from what the jobs handed in and what the control plane knows of them. Pure.

use em_api::TrialId;
use em_api::capsule::{Build, Capsule, CapsuleJob, CapsuleNode, CapsuleService};
use em_api::experiment::Experiment;
use em_api::measurement::{DatasetReport, Measurement, Outcome};
use em_api::status::Job;

/// Set by `make build`; without it the build does not know.
const REVISION: Option<&str> = option_env!("EM_REVISION");

pub(crate) fn gather(experiment: &Experiment, measurements: &[Measurement], jobs: &[Job]) -> Capsule {
    let mut datasets: Vec<DatasetReport> = Vec::new();
    for one in measurements {
        if let Outcome::Measured { load } = &one.outcome
            && !datasets.contains(&load.dataset)
        {
            datasets.push(load.dataset.clone());
        }
    }
    let nodes = grouped(measurements.iter().map(|one| (one.trial, &one.environment)));
    let services = grouped(measurements.iter().filter_map(|one| Some((one.trial, (one.backend.as_str(), one.service.as_ref()?)))));
    Capsule {
        experiment: experiment.metadata.name.clone(),
        uid: experiment.metadata.uid,
        control_plane: Build {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            revision: REVISION.filter(|revision| !revision.is_empty()).map(str::to_owned),
        },
        spec: experiment.spec.clone(),
        jobs: jobs.iter().map(job).collect(),
        nodes: nodes.into_iter().map(|(found, trials)| CapsuleNode { trials, environment: found.clone() }).collect(),
        services: services
            .into_iter()
            .map(|((backend, service), trials)| CapsuleService { backend: backend.to_owned(), trials, service: service.clone() })
            .collect(),
        datasets,
    }
}

/// Distinct facts in the order in which they came, each with its trials.
fn grouped<T: PartialEq>(facts: impl Iterator<Item = (TrialId, T)>) -> Vec<(T, Vec<TrialId>)> {
    let mut groups: Vec<(T, Vec<TrialId>)> = Vec::new();
    for (trial, fact) in facts {
        match groups.iter_mut().find(|(known, _)| *known == fact) {
            Some((_, trials)) => trials.push(trial),
            None => groups.push((fact, vec![trial])),
        }
    }
    groups
}

fn job(job: &Job) -> CapsuleJob {
    CapsuleJob {
        attempt: job.attempt_id,
        id: job.id.clone(),
        node: job.node.clone(),
        submitted_at: job.submitted_at,
        started_at: job.started_at,
        queue_seconds: queue_seconds(job),
    }
}

/// Clocks of two machines may differ by a little: a wait is never below zero.
pub(crate) fn queue_seconds(job: &Job) -> Option<f64> {
    Some(job.started_at?.duration_since(job.submitted_at?).as_secs_f64().max(0.0))
}
