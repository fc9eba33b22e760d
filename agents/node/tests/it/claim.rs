//! The right to work: refused, fenced, taken in the job directory.

use std::time::Duration;

use em_api::agent::RecordBody;

use crate::control_plane::{ControlPlane, State};
use crate::job::{Job, store, wait_until};

const NOT_OURS: i32 = 75;

fn refusing(code: &'static str) -> ControlPlane {
    ControlPlane::start_on(0, State { refuse_claims: Some(code), ..State::default() })
}

#[test]
fn a_refused_claim_ends_the_agent_before_it_starts_anything() {
    let server = refusing("already_claimed");
    let job = Job::new(server.port).service("ort", &[2]);
    let mut agent = job.start();
    assert_eq!(agent.wait(Duration::from_secs(10)).code(), Some(NOT_OURS));
    assert!(agent.log().contains("another agent holds this attempt"), "{}", agent.log());
    assert!(!job.path().join("spool/e0").exists() && !job.path().join("logs").exists(), "nothing was begun");
    assert_eq!(server.state().posts, 0);
}

#[test]
fn a_second_agent_in_the_same_job_directory_is_refused_even_with_the_server_away() {
    let server = ControlPlane::start();
    let job = Job::new(server.port).service("none", &[2]);
    let mut first = job.start();
    assert!(first.wait(Duration::from_secs(20)).success(), "{}", first.log());
    let mut second = job.start();
    assert_eq!(second.wait(Duration::from_secs(10)).code(), Some(NOT_OURS));
    assert!(second.log().contains("already claimed in the job directory"), "{}", second.log());
    assert_eq!(server.state().claims.len(), 1, "the server was not asked");
}

#[test]
fn a_requeued_job_works_in_an_epoch_of_its_own() {
    let server = ControlPlane::start();
    let job = Job::new(server.port).service("none", &[2]);
    assert!(job.start().wait(Duration::from_secs(20)).success());
    let again = job.env("SLURM_RESTART_COUNT", "1");
    let mut agent = again.start();
    assert!(agent.wait(Duration::from_secs(20)).success(), "{}", agent.log());
    let trial = again.trials()[0];
    assert_eq!(again.spooled(0, trial).map(|measurement| measurement.epoch), Some(0));
    assert_eq!(again.spooled(1, trial).map(|measurement| measurement.epoch), Some(1));
}

#[test]
fn a_claim_that_is_refused_afterwards_stops_the_run() {
    store();
    let port = crate::control_plane::free_port();
    let mut job = Job::new(port).service("ort", &[2]).duration(30);
    job.plan.server.as_mut().unwrap().claim_timeout = em_api::HumanDuration::from_secs(1);
    let mut agent = job.start();
    let measuring = || job.spooled_records(0).iter().any(|record| matches!(record.body, RecordBody::Sample(_)));
    wait_until("the trial is measured", Duration::from_secs(30), measuring);
    let server = ControlPlane::start_on(port, State { refuse_claims: Some("fenced"), ..State::default() });
    assert_eq!(agent.wait(Duration::from_secs(30)).code(), Some(NOT_OURS));
    agent.assert_nothing_left();
    assert_eq!(server.state().measurements.len(), 0, "a fenced agent hands nothing in");
}
