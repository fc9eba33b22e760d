//! Trials that fail for reasons of their own; the others go on.

use std::time::Duration;

use em_api::measurement::{Measurement, Outcome};

use crate::control_plane::ControlPlane;
use crate::job::{Job, shell, store};

fn failure(measurement: &Measurement) -> (&str, &str, &str) {
    match &measurement.outcome {
        Outcome::Failed { reason, message, log_tail } => (reason, message, log_tail),
        other => panic!("not failed: {other:?}"),
    }
}

#[test]
fn a_service_that_cannot_start_fails_its_trials_with_its_log_and_the_other_goes_on() {
    store();
    let server = ControlPlane::start();
    let job = Job::new(server.port)
        .backend(shell("broken", "echo the library is missing >&2; exit 3"))
        .service("broken", &[2, 4])
        .service("ort", &[2])
        .duration(1);
    let mut agent = job.start();
    assert!(agent.wait(Duration::from_secs(40)).success(), "{}", agent.log());
    let measurements = server.state().measured();
    assert_eq!(measurements.iter().map(|measurement| measurement.trial).collect::<Vec<_>>(), job.trials());
    for measurement in &measurements[..2] {
        let (reason, _, log_tail) = failure(measurement);
        assert_eq!(reason, "ServiceStartFailed");
        assert!(log_tail.contains("the library is missing"), "{log_tail}");
        assert_eq!(measurement.service, None);
    }
    assert!(matches!(measurements[2].outcome, Outcome::Measured { .. }));
}

#[test]
fn gpus_that_were_granted_but_cannot_be_seen_fail_every_trial_before_anything_starts() {
    let server = ControlPlane::start();
    let mut job = Job::new(server.port).service("ort", &[2, 4]).env("SLURM_GPUS_ON_NODE", "64");
    job.plan.gpus_expected = true;
    let mut agent = job.start();
    assert!(agent.wait(Duration::from_secs(20)).success(), "{}", agent.log());
    let measurements = server.state().measured();
    assert_eq!(measurements.len(), 2);
    for measurement in &measurements {
        let (reason, message, _) = failure(measurement);
        assert_eq!(reason, "GpuNotVisible");
        assert!(message.contains("64 GPUs were granted"), "{message}");
    }
    assert!(!job.path().join("logs").exists(), "no service was started");
}

#[test]
fn a_data_set_that_is_not_there_fails_every_trial_by_name() {
    let server = ControlPlane::start();
    let mut job = Job::new(server.port).service("ort", &[2]);
    job.plan.dataset.path = Some("/nonexistent/texts.txt".to_owned());
    let mut agent = job.start();
    assert!(agent.wait(Duration::from_secs(20)).success(), "{}", agent.log());
    let measurements = server.state().measured();
    let (reason, message, _) = failure(&measurements[0]);
    assert_eq!(reason, "LoadFailed");
    assert!(message.contains("/nonexistent/texts.txt"), "{message}");
}

#[test]
fn a_plan_that_is_none_is_refused_with_its_path() {
    let job = Job::new(1);
    job.start().wait(Duration::from_secs(30));
    std::fs::write(job.path().join("plan.json"), "{}").unwrap();
    let output =
        std::process::Command::new(crate::job::AGENT).args(["run", "--plan"]).arg(job.path().join("plan.json")).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("plan.json is not a plan"), "{stderr}");
}
