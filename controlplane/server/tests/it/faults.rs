//! Crashes, lost answers, a controller that is away: nothing is lost, nothing runs twice.

use em_api::agent::RecordBody;
use em_api::status::{ConditionStatus, ConditionType, Phase};
use em_slurm::JobState;

use crate::agent::Agent;
use crate::fake_slurm::Sbatch;
use crate::server::{Server, body};

#[test]
fn slurm_down_waits_with_a_condition_and_goes_on_by_itself() {
    let server = Server::start();
    server.slurm.down(true);
    server.create(&body("away"));
    let reachable = |status: &em_api::status::Status| {
        status.conditions.iter().find(|one| one.kind == ConditionType::SchedulerReachable).map(|one| one.status)
    };
    let waiting = server.until("away", "the condition", |one| reachable(&one.status) == Some(ConditionStatus::False));
    assert!(!waiting.status.phase.ended());
    assert_eq!(server.slurm.live(), 0);
    server.slurm.down(false);
    // A submission that reached no controller pauses for 10 s.
    let queued = server.until("away", "queued", |one| one.status.phase == Phase::Queued);
    assert_eq!(reachable(&queued.status), Some(ConditionStatus::True));
    assert_eq!(server.slurm.live(), 1);
}

#[test]
fn a_lost_answer_is_looked_up_and_the_job_adopted() {
    let server = Server::start();
    server.slurm.next_sbatch(Sbatch::TakenWithoutAnswer);
    server.create(&body("unclear"));
    let queued = server.until_phase("unclear", Phase::Queued);
    assert_eq!(queued.status.jobs[0].id.as_deref(), Some("1"));
    assert_eq!((server.slurm.submissions().len(), server.slurm.live()), (1, 1));
    assert!(server.events("unclear").contains(&"JobAdopted".to_owned()));
}

#[test]
fn a_lost_submission_is_made_again_after_the_settle_time() {
    let server = Server::start();
    server.slurm.next_sbatch(Sbatch::LostWithoutAnswer);
    server.create(&body("lost"));
    server.until_phase("lost", Phase::Queued);
    assert_eq!((server.slurm.submissions().len(), server.slurm.live()), (2, 1));
    assert!(server.events("lost").contains(&"SubmissionLost".to_owned()));
}

#[test]
fn a_crash_between_sbatch_and_its_record_leaves_one_job_which_is_adopted() {
    let mut server = Server::start();
    server.slurm.next_sbatch(Sbatch::TakenAndHangs);
    server.create(&body("crash"));
    server.until("crash", "sbatch is running", |_| server.slurm.live() == 1);
    server.restart();
    let queued = server.until_phase("crash", Phase::Queued);
    assert_eq!(queued.status.jobs[0].id.as_deref(), Some("1"));
    assert_eq!(server.slurm.submissions().len(), 1);
}

#[test]
fn a_claim_proves_a_submission_that_was_never_acknowledged() {
    let mut server = Server::start();
    server.slurm.next_sbatch(Sbatch::TakenAndHangs);
    server.create(&body("proof"));
    server.until("proof", "sbatch is running", |_| server.slurm.live() == 1);
    server.slurm.down(true);
    server.restart();
    let agent = Agent::of(&server, 0);
    agent.claim("1", "n", 0).unwrap();
    let running = server.until_phase("proof", Phase::Running);
    assert_eq!(running.status.jobs[0].id.as_deref(), Some("1"));
}

#[test]
fn a_crash_while_the_job_runs_loses_nothing() {
    let mut server = Server::start();
    server.create(&body("killed"));
    server.until_phase("killed", Phase::Queued);
    server.slurm.set("1", JobState::Running);
    {
        let agent = Agent::of(&server, 0);
        agent.claim("1", "n", 0).unwrap();
        agent.hand_in(&agent.trials()[..1]);
    }
    server.crash();
    // The agent goes on alone; its job ends while nobody looks.
    let dir = server.slurm.submissions()[0].job_dir.clone();
    server.restart();
    let agent = Agent::of(&server, 0);
    assert_eq!(agent.dir, dir);
    for trial in &agent.trials()[1..] {
        agent.spool(&agent.measured(trial, 1_000));
    }
    server.slurm.set("1", JobState::Completed);
    let done = server.until_phase("killed", Phase::Succeeded);
    assert_eq!(done.status.trials.succeeded, 4);
    assert_eq!(server.slurm.submissions().len(), 1);
}

#[test]
fn the_same_port_is_taken_after_a_restart_because_agents_know_it() {
    let mut server = Server::start();
    let before = server.url.clone();
    server.stop();
    server.restart();
    assert_eq!(server.url, before);
}

#[test]
fn an_acknowledged_experiment_survives_a_crash() {
    let mut server = Server::start();
    server.slurm.down(true);
    let created = server.create(&body("kept"));
    server.restart();
    assert_eq!(server.get("kept").metadata.uid, created.metadata.uid);
    assert_eq!(server.get("kept").spec, created.spec);
}

#[test]
fn a_second_job_of_one_attempt_is_cancelled_and_the_claimed_one_kept() {
    let server = Server::start();
    server.create(&body("twice"));
    server.until_phase("twice", Phase::Queued);
    let agent = Agent::of(&server, 0);
    let second = server.slurm.add(&server.slurm.jobs()[0].name);
    // The younger one claims about when it is noticed: either it is kept, or it was told to leave before it was cancelled.
    let kept = if agent.claim(&second, "n", 0).is_ok() { second } else { "1".to_owned() };
    server.until("twice", "one job is left", |_| server.slurm.live() == 1);
    assert_eq!(server.slurm.jobs().into_iter().find(|job| !job.state.ended()).unwrap().id, kept);
    server.until("twice", "the attempt has that job", |one| one.status.jobs[0].id.as_ref() == Some(&kept));
    assert!(server.events("twice").contains(&"DuplicateCancelled".to_owned()));
    assert_eq!(server.slurm.submissions().len(), 1);
}

#[test]
fn a_job_that_slurm_forgot_is_over_only_when_its_agent_is_silent_too() {
    let server = Server::start();
    server.create(&body("forgotten"));
    server.until_phase("forgotten", Phase::Queued);
    server.slurm.set("1", JobState::Running);
    let agent = Agent::of(&server, 0);
    agent.claim("1", "n", 0).unwrap();
    server.slurm.forget("1");
    // The grace is 0.6 s; the agent is silent after 2 s.
    for _ in 0..15 {
        agent.records(Vec::new()).unwrap();
        assert_eq!(server.slurm.submissions().len(), 1, "it speaks, so it lives");
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    server.until("forgotten", "a new job", |_| server.slurm.submissions().len() == 2);
    assert!(server.events("forgotten").contains(&"JobVanished".to_owned()));
}

#[test]
fn a_job_that_nobody_owns_is_swept_and_foreign_jobs_are_not() {
    let server = Server::start();
    server.create(&body("sweep"));
    server.until_phase("sweep", Phase::Queued);
    let name = server.slurm.jobs()[0].name.clone();
    let stray = server.slurm.add(&format!("{}-gone", &name[..name.len() - 5]));
    let foreign = server.slurm.add("em-otherone-01m85zk1jhz3ejz2wn6znkzx57");
    server.until("sweep", "the stray is cancelled", |_| server.slurm.cancelled().contains(&stray));
    assert!(!server.slurm.cancelled().contains(&foreign));
    assert_eq!(server.get("sweep").status.phase, Phase::Queued);
}

#[test]
fn a_spool_of_a_job_that_ran_while_the_server_was_away_is_taken_in() {
    let mut server = Server::start();
    server.create(&body("alone"));
    server.until_phase("alone", Phase::Queued);
    server.crash();
    server.slurm.set("1", JobState::Completed);
    server.slurm.forget("1");
    // Never claimed here: `mkdir` in the job directory decided. The witness is the only source that is left.
    let url = server.url.clone();
    let agent = Agent::of(&server, 0);
    assert_eq!(url, server.url);
    for trial in &agent.trials() {
        agent.spool(&agent.measured(trial, 1_000));
    }
    let farewell = em_api::agent::Record {
        seq: 1,
        at: em_api::Timestamp::now(),
        body: RecordBody::Farewell { message: "done without a server".into() },
    };
    std::fs::write(agent.dir.join("spool/e0/records.jsonl"), serde_json::to_string(&farewell).unwrap() + "\n{\"seq\":2,\"torn")
        .unwrap();
    std::fs::write(agent.dir.join("exit-code"), "0 0\n").unwrap();
    server.restart();
    let done = server.until_phase("alone", Phase::Succeeded);
    assert_eq!(done.status.trials.succeeded, 4);
    assert_eq!(server.slurm.submissions().len(), 1);
}

#[test]
fn a_limit_of_submitted_jobs_waits_instead_of_failing() {
    let server = Server::start();
    server.slurm.next_sbatch(Sbatch::Limited("sbatch: error: AssocMaxSubmitJobLimit\nJob violates accounting/QOS policy"));
    server.create(&body("full"));
    server.until("full", "the event", |_| server.events("full").contains(&"SubmitLimit".to_owned()));
    assert!(!server.get("full").status.phase.ended());
}
