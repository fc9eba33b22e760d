//! One experiment that breaks the control plane's code or its own files; whole tasks that panic. The others never notice.

use em_api::status::{ConditionStatus, ConditionType, Phase};
use em_slurm::JobState;

use crate::agent::Agent;
use crate::server::{Server, body};

/// The message of the condition `Stalled`, while it is true.
pub(crate) fn stalled(experiment: &em_api::experiment::Experiment) -> Option<(String, String)> {
    let conditions = experiment.status.conditions.iter();
    let mut found = conditions.filter(|one| one.kind == ConditionType::Stalled && one.status == ConditionStatus::True);
    found.next().map(|one| (one.reason.clone(), one.message.clone()))
}

fn finish(server: &Server, name: &str) {
    let comment = format!("em experiment={name} ");
    let number = server.slurm.submissions().iter().position(|job| job.comment.starts_with(&comment)).unwrap();
    let agent = Agent::of(server, number);
    let job_name = server.slurm.submissions()[number].name.clone();
    let id = server.slurm.jobs().into_iter().find(|job| job.name == job_name).unwrap().id;
    agent.claim(&id, "n", 0).unwrap();
    agent.hand_in(&agent.trials());
    server.slurm.set(&id, JobState::Completed);
}

#[test]
fn a_panic_at_one_of_twenty_rests_it_and_the_others_finish() {
    let server = Server::start();
    server.slurm.poison("one-7");
    let names: Vec<String> = (0..20).map(|number| format!("one-{number}")).collect();
    for name in &names {
        server.create(&body(name));
    }
    for name in names.iter().filter(|name| *name != "one-7") {
        server.until_phase(name, Phase::Queued);
        finish(&server, name);
    }
    for name in names.iter().filter(|name| *name != "one-7") {
        server.until_phase(name, Phase::Succeeded);
    }
    let stays = server.until("one-7", "its condition", |one| stalled(one).is_some());
    let (reason, message) = stalled(&stays).unwrap();
    assert!(!stays.status.phase.ended());
    assert_eq!(reason, "Panicked");
    assert!(message.contains("a defect at one experiment") && message.contains("report"), "{message}");
    assert!(server.metric("em_reconcile_panics_total") >= 1.0);
    assert_eq!(server.metric("em_task_restarts_total{task=\"reconciler\"}"), 0.0);
    // Its user can still stop it.
    server.calls.block_on(server.client.set_desired("one-7", em_api::spec::Desired::Cancelled)).unwrap();
    server.until_phase("one-7", Phase::Cancelled);
}

#[test]
fn a_reconciler_that_panics_as_a_whole_is_started_again() {
    let server = Server::start_with(crate::server::settings, |slurm| slurm.break_listings(2));
    server.create(&body("goes-on"));
    server.until_phase("goes-on", Phase::Queued);
    assert_eq!(server.metric("em_task_restarts_total{task=\"reconciler\"}"), 2.0);
    finish(&server, "goes-on");
    server.until_phase("goes-on", Phase::Succeeded);
}

#[test]
fn a_file_where_the_job_directory_should_be_stalls_that_experiment_until_it_is_moved_away() {
    let server = Server::start();
    let posted = em_api::client::experiments::Body::Json(body("blocked"));
    let blocked = server.calls.block_on(server.client.create_experiment(posted, false)).unwrap().answer.experiment;
    let folder = server.experiment_dir(&blocked);
    std::fs::create_dir_all(folder.parent().unwrap()).unwrap();
    std::fs::write(&folder, "in the way").unwrap();
    server.provide_inputs(&blocked);
    let waits = server.until("blocked", "its condition", |one| stalled(one).is_some());
    let (reason, message) = stalled(&waits).unwrap();
    assert_eq!(reason, "JobDirectoryFailed");
    assert!(message.contains("move away what is in the way") && message.contains("blocked-"), "{message}");
    server.create(&body("other"));
    server.until_phase("other", Phase::Queued);
    finish(&server, "other");
    server.until_phase("other", Phase::Succeeded);
    std::fs::remove_file(&folder).unwrap();
    let queued = server.until_phase("blocked", Phase::Queued);
    server.until("blocked", "the condition is taken back", |one| stalled(one).is_none());
    assert_eq!(queued.status.jobs.len(), 1, "one attempt all the time");
    let told = server.events("blocked").into_iter().filter(|reason| reason == "JobDirectoryFailed").count();
    assert_eq!(told, 1, "once");
}
