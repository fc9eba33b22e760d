//! Ends from outside: signals, directives, the time limit, SIGKILL.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use em_api::agent::{Directive, RecordBody};
use em_api::measurement::{Measurement, Outcome};

use crate::control_plane::{ControlPlane, State};
use crate::job::{Agent, Job, store, wait_until};

fn in_a_trial(server: &ControlPlane) {
    wait_until("samples of a running trial", Duration::from_secs(40), || server.state().samples() > 0);
}

fn interrupted(measurement: &Measurement) -> &str {
    match &measurement.outcome {
        Outcome::Interrupted { message } => message,
        other => panic!("not interrupted: {other:?}"),
    }
}

fn gone_within(agent: &mut Agent, seconds: u64) {
    let begin = Instant::now();
    let status = agent.wait(Duration::from_secs(seconds));
    assert!(status.success(), "{status} after {:?}:\n{}", begin.elapsed(), agent.log());
    agent.assert_nothing_left();
}

#[test]
fn sigterm_in_a_trial_interrupts_it_and_leaves_nothing_behind() {
    store();
    let server = ControlPlane::start();
    let job = Job::new(server.port).service("ort", &[2, 4]).duration(60);
    let mut agent = job.start();
    in_a_trial(&server);
    assert!(agent.processes().len() >= 2, "service and generator run: {:?}", agent.processes());
    agent.terminate();
    gone_within(&mut agent, 20);
    let state = server.state();
    assert_eq!(state.measurements.len(), 1, "the second trial was not begun");
    assert!(interrupted(&state.measured()[0]).contains("SIGTERM"));
    let bodies = state.bodies();
    assert!(matches!(bodies.last(), Some(RecordBody::Farewell { message }) if message.contains("SIGTERM")), "{:?}", bodies.last());
}

#[test]
fn a_cancel_directive_stops_at_once() {
    store();
    let state = State { directive_after_samples: Some((1, Directive::Cancel)), ..State::default() };
    let server = ControlPlane::start_on(0, state);
    let job = Job::new(server.port).service("ort", &[2, 4]).duration(60);
    let mut agent = job.start();
    in_a_trial(&server);
    gone_within(&mut agent, 20);
    let measured = server.state().measured();
    assert_eq!(measured.len(), 1);
    assert!(interrupted(&measured[0]).contains("cancelled by the control plane"));
}

#[test]
fn a_drain_directive_lets_the_running_trial_end_and_starts_no_other() {
    store();
    let state = State { directive_after_samples: Some((1, Directive::Drain)), ..State::default() };
    let server = ControlPlane::start_on(0, state);
    let job = Job::new(server.port).service("ort", &[2, 4]).duration(3);
    let mut agent = job.start();
    gone_within(&mut agent, 40);
    let measured = server.state().measured();
    assert_eq!(measured.iter().map(|measurement| measurement.trial).collect::<Vec<_>>(), job.trials()[..1]);
    assert!(matches!(measured[0].outcome, Outcome::Measured { .. }));
}

#[test]
fn an_agent_that_is_killed_takes_its_children_along() {
    store();
    let server = ControlPlane::start();
    let job = Job::new(server.port).service("ort", &[2]).duration(60);
    let mut agent = job.start();
    in_a_trial(&server);
    agent.kill();
    // A service is asked first and has five seconds.
    agent.assert_nothing_left_after(8);
}

#[test]
fn no_trial_is_begun_that_cannot_end_before_the_job_does() {
    // squeue says when a job of slurmd's ends.
    begins_no_trial(|job| with_squeue(job, "+60 seconds").env("SLURMD_NODENAME", "node1"));
    // A job of the server's own queue has its end in the environment; a job of this number in Slurm is another.
    let end = em_api::Timestamp::now().as_second() + 60;
    begins_no_trial(|job| with_squeue(job, "+1 day").env("SLURM_JOB_END_TIME", end.to_string()));
}

/// With a stand-in for Slurm's squeue that says this of every job's end.
fn with_squeue(job: Job, end: &str) -> Job {
    let tools = job.path().join("bin");
    fs::create_dir(&tools).unwrap();
    fs::write(tools.join("squeue"), format!("#!/bin/sh\nexec date -d '{end}' +%Y-%m-%dT%H:%M:%S\n")).unwrap();
    fs::set_permissions(tools.join("squeue"), fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", tools.display(), std::env::var("PATH").unwrap_or_default());
    job.env("PATH", path).env("SLURM_JOB_ID", "4711")
}

fn begins_no_trial(ending: impl FnOnce(Job) -> Job) {
    let server = ControlPlane::start();
    let job = ending(Job::new(server.port).service("ort", &[2]));
    let mut agent = job.start();
    gone_within(&mut agent, 20);
    let state = server.state();
    assert_eq!(state.measurements.len(), 0);
    let bodies = state.bodies();
    assert!(
        matches!(bodies.last(), Some(RecordBody::Farewell { message }) if message.contains("0 of 1") && message.contains("the job ends before")),
        "{:?}",
        bodies.last()
    );
}
