//! Trials that fail for reasons of their own; the others go on.

use std::collections::BTreeSet;
use std::time::Duration;

use em_api::agent::RecordBody;
use em_api::measurement::{Measurement, Outcome};
use rustix::process::{Signal, kill_process};

use crate::control_plane::ControlPlane;
use crate::job::{Agent, Job, shell, store, wait_until};

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

/// Kills the one process of the agent whose command line holds `word`, once trial number `trial` is sampled.
fn kill_in_trial(server: &ControlPlane, job: &Job, agent: &Agent, trial: usize, word: &str) {
    let id = job.trials()[trial];
    let sampled = || server.state().bodies().iter().any(|body| matches!(body, RecordBody::Sample(sample) if sample.trial == id));
    wait_until("samples of the trial", Duration::from_secs(30), sampled);
    let found = agent.processes().into_iter().find(|(_, command)| command.contains(word));
    let (pid, _) = found.expect("the process");
    kill_process(pid, Signal::KILL).unwrap();
}

#[test]
fn a_killed_generator_or_service_fails_its_trial_alone_and_the_service_is_started_again() {
    store();
    let server = ControlPlane::start();
    let mut job = Job::new(server.port).service("ort", &[2, 4, 8]).duration(4);
    job.plan.load.min_requests = 1;
    let mut agent = job.start();
    kill_in_trial(&server, &job, &agent, 0, " load ");
    kill_in_trial(&server, &job, &agent, 1, " serve ");
    assert!(agent.wait(Duration::from_secs(40)).success(), "{}", agent.log());
    agent.assert_nothing_left();
    let state = server.state();
    let measurements = state.measured();
    assert_eq!(measurements.iter().map(|measurement| measurement.trial).collect::<Vec<_>>(), job.trials());
    let (reason, message, _) = failure(&measurements[0]);
    assert_eq!(reason, "LoadFailed");
    assert!(message.contains("signal: 9"), "{message}");
    let (reason, _, log_tail) = failure(&measurements[1]);
    assert_eq!(reason, "ServiceDied");
    assert!(log_tail.contains("serving"), "the end of the service's log: {log_tail}");
    assert!(matches!(measurements[2].outcome, Outcome::Measured { .. }), "{:?}", measurements[2].outcome);
    let starts: BTreeSet<_> = measurements.iter().map(|measurement| measurement.service.as_ref().unwrap().pid).collect();
    assert_eq!(starts.len(), 2, "one more start, for the trial after the death");
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
    std::fs::write(job.path().join("plan.json"), "{}").unwrap();
    std::fs::write(job.path().join("token"), "t").unwrap();
    let output =
        std::process::Command::new(crate::job::AGENT).args(["run", "--plan"]).arg(job.path().join("plan.json")).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("plan.json is not a plan"), "{stderr}");
}
