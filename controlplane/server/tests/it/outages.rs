//! The world around us fails by real causes: a database that another program locks, disks that are full, files that never answer.
//! Users read what to do, nothing is lost, and it goes on by itself.

use std::path::{Path, PathBuf};
use std::process::Command;

use em_api::client::experiments::Body;
use em_api::status::Phase;
use em_controlplane::config::Settings;
use em_slurm::JobState;
use reqwest::{Method, StatusCode};
use serde_json::Value;
use sqlx::{Connection as _, Executor as _};

use crate::agent::Agent;
use crate::poison::stalled;
use crate::server::{Server, body, settings};

/// Posts, and returns what is refused: status, code, Retry-After.
fn refused(server: &Server, name: &str) -> (StatusCode, String, Option<String>) {
    let answer = server.ask(Method::POST, "/experiments", Some(body(name)));
    let retry = answer.headers().get("retry-after").map(|value| value.to_str().unwrap().to_owned());
    let (status, problem) = (answer.status(), server.calls.block_on(answer.json::<Value>()).unwrap());
    (status, problem["code"].as_str().unwrap_or_default().to_owned(), retry)
}

#[test]
fn a_database_that_another_program_locks_answers_503_and_goes_on_when_it_is_free() {
    let server = Server::start();
    let before = server.create(&body("before"));
    server.until_phase("before", Phase::Queued);
    let url = format!("sqlite://{}", server.state_dir().join("em.db").display());
    let mut other = server.calls.block_on(sqlx::SqliteConnection::connect(&url)).unwrap();
    server.calls.block_on(other.execute("BEGIN IMMEDIATE")).unwrap();
    assert_eq!(refused(&server, "locked-out"), (StatusCode::SERVICE_UNAVAILABLE, "database_busy".to_owned(), Some("5".to_owned())));
    assert_eq!(server.get("before").metadata.uid, before.metadata.uid, "reading goes on");
    server.slurm.set("1", JobState::Running);
    let begin = std::time::Instant::now();
    while server.metric("em_database_errors_total{kind=\"busy\"}") == 0.0 {
        assert!(begin.elapsed().as_secs() < 30, "the reconciler met it too");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    server.calls.block_on(other.execute("ROLLBACK")).unwrap();
    server.create(&body("locked-out"));
    server.until_phase("before", Phase::Running);
    server.until_phase("locked-out", Phase::Queued);
}

/// A file system of 4 MB of its own at `path`; `None`, aloud, where that is not allowed.
struct Small(PathBuf);

impl Small {
    fn mount(path: &Path) -> Option<Self> {
        std::fs::create_dir_all(path).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"]).arg(path).status();
        if mounted.is_ok_and(|status| status.success()) {
            return Some(Self(path.to_owned()));
        }
        eprintln!("NOT TESTED here: only root can mount a small file system, to fill it");
        None
    }

    fn fill(&self) {
        let mut size = 1 << 20;
        let mut number = 0;
        while size > 0 {
            number += 1;
            if std::fs::write(self.0.join(format!("fill-{number}")), vec![1; size]).is_err() {
                size /= 2;
            }
        }
    }

    fn free(&self) {
        for entry in std::fs::read_dir(&self.0).unwrap().flatten() {
            if entry.file_name().to_string_lossy().starts_with("fill-") {
                std::fs::remove_file(entry.path()).unwrap();
            }
        }
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn in_small(folder: &Path) -> PathBuf {
    folder.join("small")
}

#[test]
fn a_full_disk_of_the_database_refuses_with_the_cure_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let Some(small) = Small::mount(&in_small(folder.path())) else { return };
    let state = |folder: &Path| Settings { state_dir: in_small(folder).join("state"), ..settings(folder) };
    let server = Server::start_in(folder, state, |_| {});
    server.create(&body("kept"));
    server.until_phase("kept", Phase::Queued);
    small.fill();
    // The log of the database may have room left for a few.
    let full = (0..200).map(|number| refused_or_none(&server, &format!("more-{number}"))).find_map(|answer| answer);
    assert_eq!(full, Some((StatusCode::SERVICE_UNAVAILABLE, "database_full".to_owned(), Some("5".to_owned()))));
    assert_eq!(server.get("kept").status.phase, Phase::Queued, "reading goes on");
    until_ready(&server, StatusCode::SERVICE_UNAVAILABLE);
    small.free();
    until_ready(&server, StatusCode::OK);
    server.create(&body("after"));
    server.until_phase("after", Phase::Queued);
    server.slurm.set("1", JobState::Running);
    server.until_phase("kept", Phase::Running);
}

fn until_ready(server: &Server, wished: StatusCode) {
    let begin = std::time::Instant::now();
    while server.ask(Method::GET, "/readyz", None).status() != wished {
        assert!(begin.elapsed().as_secs() < 10, "/readyz is not {wished} within 10 s");
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
}

fn refused_or_none(server: &Server, name: &str) -> Option<(StatusCode, String, Option<String>)> {
    let answer = refused(server, name);
    (answer.0 != StatusCode::CREATED).then_some(answer)
}

#[test]
fn a_full_disk_of_the_job_directories_is_a_condition_with_the_cure() {
    let folder = tempfile::tempdir().unwrap();
    let Some(small) = Small::mount(&in_small(folder.path())) else { return };
    let jobs = |folder: &Path| Settings { job_dir: in_small(folder), ..settings(folder) };
    let server = Server::start_in(folder, jobs, |_| {});
    small.fill();
    server.create(&body("full"));
    let waits = server.until("full", "its condition", |one| stalled(one).is_some());
    let (reason, message) = stalled(&waits).unwrap();
    assert_eq!(reason, "JobDirectoryFailed");
    assert!(message.contains("free space there (`df -h "), "{message}");
    assert!(server.slurm.submissions().is_empty());
    small.free();
    server.until_phase("full", Phase::Queued);
    assert_eq!(server.slurm.submissions().len(), 1);
}

#[test]
fn a_spool_that_never_answers_stalls_one_experiment_and_is_read_once_it_does() {
    let server = Server::start();
    server.create(&body("hangs"));
    server.until_phase("hangs", Phase::Queued);
    let agent = Agent::of(&server, 0);
    agent.claim("1", "n", 0).unwrap();
    for trial in &agent.trials() {
        agent.spool(&agent.measured(trial, 1_000));
    }
    // Opening it waits for a writer, as a file on a dead NFS server waits.
    let fifo = agent.dir.join("spool/e0/records.jsonl");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    server.slurm.set("1", JobState::Completed);
    let waits = server.until("hangs", "its condition", |one| stalled(one).is_some());
    let (reason, message) = stalled(&waits).unwrap();
    assert_eq!((reason.as_str(), waits.status.phase), ("JobDirectorySilent", Phase::Collecting));
    assert!(message.contains("has not answered") && message.contains("mount"), "{message}");
    assert_eq!(server.metric("em_disk_stuck"), 1.0);
    server.create(&body("other"));
    server.until_phase("other", Phase::Queued);
    assert_eq!(server.metric("em_disk_stuck"), 1.0, "nothing piles up");
    std::fs::write(&fifo, "").unwrap();
    let done = server.until_phase("hangs", Phase::Succeeded);
    assert_eq!((done.status.trials.succeeded, server.slurm.submissions().len()), (4, 2));
    assert_eq!(server.metric("em_disk_operations_total{operation=\"spool\",outcome=\"done\"}"), 1.0, "read once");
}

#[test]
fn after_a_restart_strays_of_this_server_are_swept_and_foreign_jobs_never() {
    let mut server = Server::start();
    server.create(&body("mine"));
    server.until_phase("mine", Phase::Queued);
    server.crash();
    let name = server.slurm.jobs()[0].name.clone();
    let prefix = &name[..name.len() - 26];
    let strays =
        [server.slurm.add(&format!("{prefix}{}", "0".repeat(26))), server.slurm.add(&format!("{prefix}{}", "1".repeat(26)))];
    let foreign = [server.slurm.add("em-otherone-01m85zk1jhz3ejz2wn6znkzx57"), server.slurm.add("someone-elses")];
    server.restart();
    server.until("mine", "both strays are cancelled", |_| strays.iter().all(|id| server.slurm.cancelled().contains(id)));
    assert_eq!(server.get("mine").status.phase, Phase::Queued);
    assert!(foreign.iter().all(|id| !server.slurm.cancelled().contains(id)));
    // Posts still work, as ever.
    server.calls.block_on(server.client.create_experiment(Body::Json(body("next")), false)).unwrap();
}

#[test]
fn a_database_that_was_lost_is_no_first_start() {
    let mut server = Server::start();
    server.create(&body("kept"));
    server.stop();
    let state = server.state_dir();
    for file in ["em.db", "em.db-wal", "em.db-shm"] {
        let _ = std::fs::rename(state.join(file), state.join(format!("{file}.away")));
    }
    let scheduler = std::sync::Arc::new(server.slurm.clone());
    let start = || server.calls.block_on(em_controlplane::serve::start(&settings(server.folder()), scheduler.clone()));
    let refused = start().err().expect("another database is refused").to_string();
    assert!(refused.contains("it was lost, emptied or changed") && refused.contains("server.json"), "{refused}");
    for file in ["em.db", "em.db-wal", "em.db-shm"] {
        let _ = std::fs::remove_file(state.join(file));
        let _ = std::fs::rename(state.join(format!("{file}.away")), state.join(file));
    }
    server.restart();
    assert_eq!(server.get("kept").metadata.name, "kept");
}
