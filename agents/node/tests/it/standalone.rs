//! Runs without any server: the job directory decides the claim and keeps everything; the end is told on standard output.

use std::time::Duration;

use em_api::agent::RecordBody;
use em_api::measurement::Outcome;

use crate::job::{Job, shell, store};

fn alone() -> Job {
    let mut job = Job::new(1).duration(1);
    job.plan.server = None;
    job
}

#[test]
fn every_trial_is_measured_and_told_and_a_second_start_is_refused() {
    store();
    let job = alone().service("ort", &[2, 4]);
    let mut agent = job.start();
    assert_eq!(agent.wait(Duration::from_secs(40)).code(), Some(0), "{}", agent.log());
    agent.assert_nothing_left();
    let mut told = agent.said();
    for trial in job.trials() {
        let measurement = job.spooled(0, trial).expect("in the spool");
        let Outcome::Measured { load } = measurement.outcome else { panic!("not measured: {measurement:?}") };
        assert!(told.contains(&format!("{:.1}", load.texts_ok as f64 / load.window_s)), "{told}");
    }
    told.retain(|letter| letter != '\n');
    assert!(told.contains("2 of 2 trials measured.") && told.contains("concurrency:2"), "{told}");
    assert!(matches!(job.spooled_records(0).last().unwrap().body, RecordBody::Farewell { .. }));

    // As `bash job.sh` twice; not a restart by Slurm.
    let mut again = job.start();
    assert_eq!(again.wait(Duration::from_secs(20)).code(), Some(75), "{}", again.log());
    assert!(again.log().contains("epoch 0 was already claimed in the job directory"), "{}", again.log());
}

#[test]
fn a_trial_that_fails_makes_the_run_fail_and_is_named() {
    let job = alone().backend(shell("broken", "exit 3")).service("broken", &[2]);
    let mut agent = job.start();
    assert_eq!(agent.wait(Duration::from_secs(40)).code(), Some(76), "{}", agent.log());
    let told = agent.said();
    assert!(told.contains("ServiceStartFailed") && told.contains("0 of 1 trials measured."), "{told}");
}
