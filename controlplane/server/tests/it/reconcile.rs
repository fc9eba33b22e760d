//! What the reconciler does over a real database and real job directories: crashes around `sbatch`, retries, the spool.

use em_api::status::Phase;
use em_slurm::JobState;

use crate::agent::Agent;
use crate::fake_slurm::Sbatch;
use crate::server::{Server, body};

#[test]
fn a_crash_before_sbatch_reached_slurm_ends_with_exactly_one_job() {
    let mut server = Server::start();
    server.slurm.next_sbatch(Sbatch::Hangs);
    server.create(&body("before"));
    server.until("before", "sbatch is running", |_| server.slurm.submissions().len() == 1);
    server.restart();
    server.until_phase("before", Phase::Queued);
    let submissions = server.slurm.submissions();
    assert_eq!((submissions.len(), server.slurm.jobs().len()), (2, 1));
    assert_eq!(submissions[0].name, submissions[1].name, "the same attempt, so it could be found");
    assert!(server.events("before").contains(&"SubmissionLost".to_owned()));
    let agent = Agent::of(&server, 1);
    assert_eq!(agent.claim("1", "n", 0).unwrap().epoch, 0, "the directory holds the token of the second call");
}

#[test]
fn a_failed_job_is_tried_again_as_often_as_retries_say() {
    let server = Server::start();
    let mut posted = body("retries");
    posted["spec"]["retries"] = 1.into();
    server.create(&posted);
    for number in 1..=2_usize {
        server.until("retries", "the next job", |_| server.slurm.submissions().len() == number);
        let id = number.to_string();
        let dir = server.slurm.submissions()[number - 1].job_dir.clone();
        std::fs::write(dir.join(format!("slurm_{id}.err")), format!("{}module load: no such module\n", "noise\n".repeat(1_000)))
            .unwrap();
        server.slurm.set(&id, JobState::Failed);
    }
    let failed = server.until_phase("retries", Phase::Failed);
    assert!(failed.status.message.unwrap().contains("spec.retries is 1"));
    assert_eq!(failed.status.jobs.iter().map(|job| job.attempt).collect::<Vec<_>>(), [1, 2]);
    let events = server.calls.block_on(server.client.events("retries")).unwrap().items;
    let words = events.iter().find(|event| event.reason == "JobOutput").expect("the job's last words");
    assert!(words.message.ends_with("module load: no such module"), "{}", words.message);
    assert!(words.message.len() < 1_200, "the end only");
}

#[test]
fn what_lies_in_the_spool_is_taken_in_before_the_job_is_judged() {
    let server = Server::start();
    server.create(&body("spool"));
    server.until_phase("spool", Phase::Queued);
    let agent = Agent::of(&server, 0);
    agent.claim("1", "n", 0).unwrap();
    agent.hand_in(&agent.trials()[..1]);
    for trial in &agent.trials() {
        agent.spool(&agent.measured(trial, 1_000));
    }
    std::fs::write(agent.dir.join("spool/e0/measurement-torn.json"), "{\"trial\":").unwrap();
    // A failed job would be tried again, if it had left anything undone.
    server.slurm.set("1", JobState::Failed);
    let done = server.until_phase("spool", Phase::Succeeded);
    assert_eq!((done.status.trials.succeeded, server.slurm.submissions().len()), (4, 1));
    let events = server.calls.block_on(server.client.events("spool")).unwrap().items;
    let read = events.iter().find(|event| event.reason == "SpoolRead").expect("it is told");
    assert!(read.message.contains("3 measurements") && read.message.contains("1 files were unreadable"), "{}", read.message);
}
