//! The server is killed, the supervisor is killed, the machine is turned off: no job is lost, none runs twice, none outlives its limit.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use em_slurm::{JobOptions, JobState, LocalScheduler, LocalSettings, SCRIPT_FILE, Scheduler};
use rustix::process::Signal;

use crate::bench::{Bench, ended, job_in, signal, text, view, wait_for};

/// In the environment of a copy of this program: be a server that submits jobs in this folder until it is killed.
const SERVER_OF: &str = "EM_TEST_SERVER_OF";

/// Not a test of its own: the server that the tests below kill.
#[tokio::test]
async fn server() {
    let Ok(dir) = std::env::var(SERVER_OF) else { return };
    let dir = Path::new(&dir);
    let settings = LocalSettings { jobs_at_once: 4.try_into().expect("four"), ..LocalSettings::new(dir.join("state")) };
    let local = LocalScheduler::new(settings).expect("the queue opens");
    for number in 0.. {
        let name = format!("em-{}-{number}", std::process::id());
        let job = job_in(dir.join("jobs").join(&name), &name, "echo run >> runs");
        std::fs::create_dir_all(&job.job_dir).expect("the job directory");
        std::fs::write(job.job_dir.join(SCRIPT_FILE), text(&job)).expect("the script");
        std::fs::write(job.job_dir.join("intended"), "").expect("the intent");
        let id = local.submit(&job).await.expect("accepted").id;
        std::fs::write(job.job_dir.join("accepted"), id).expect("the answer");
    }
}

fn start_server(bench: &Bench) -> Child {
    let program = std::env::current_exe().expect("this program");
    let mut command = Command::new(program);
    command.args(["--exact", "death::server", "--nocapture"]).env(SERVER_OF, bench.dir());
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("a server")
}

#[tokio::test]
async fn a_server_killed_at_any_moment_loses_no_job_and_doubles_none() {
    let bench = Bench::with(|settings| settings.jobs_at_once = 4.try_into().expect("four"));
    for round in 0..16_usize {
        let mut server = start_server(&bench);
        let mine = format!("em-{}-", server.id());
        let intended = || {
            let jobs = std::fs::read_dir(bench.dir().join("jobs")).into_iter().flatten().flatten();
            jobs.filter(|job| job.file_name().to_string_lossy().starts_with(&mine)).count()
        };
        wait_for("the server's jobs", || intended() > round % 4).await;
        // Anywhere in a submission.
        tokio::time::sleep(Duration::from_micros(round as u64 * 2_300)).await;
        server.kill().expect("killed");
        server.wait().expect("reaped");
    }
    let local = bench.open();
    let (mut accepted, mut lost) = (0, 0);
    for job in std::fs::read_dir(bench.dir().join("jobs")).expect("jobs") {
        let name = job.expect("a job").file_name().to_string_lossy().into_owned();
        if !bench.job_dir(&name).join("intended").exists() {
            continue;
        }
        let found = local.find(&name).await.expect("an answer");
        assert!(found.len() <= 1, "{found:?}");
        if let [job] = &found[..] {
            let answer = bench.read(&name, "accepted");
            assert!(answer.is_empty() || answer == job.id, "{name} was {answer} and is {}", job.id);
            assert_eq!(ended(&local, &name).await.state, JobState::Completed);
            assert_eq!(bench.read(&name, "runs"), "run\n", "{name}");
            accepted += 1;
        } else {
            // Killed before it was in the queue.
            assert!(bench.read(&name, "accepted").is_empty(), "{name} was accepted and is gone");
            assert_eq!(bench.read(&name, "runs"), "", "{name} is in no queue and ran");
            lost += 1;
        }
    }
    assert!(accepted >= 12, "{accepted} accepted, {lost} never in the queue: nothing was tested");
}

#[tokio::test]
async fn a_job_goes_on_without_a_server_and_is_adopted() {
    let bench = Bench::new();
    let local = bench.open();
    let id = bench.submit(&local, "em-1", "trap 'exit 7' TERM; touch up; while :; do sleep 0.05; done").await;
    wait_for("the agent", || bench.job_dir("em-1").join("up").exists()).await;
    drop(local);
    let local = bench.open();
    assert_eq!(view(&local, "em-1", |_| true).await.state, JobState::Running);
    local.cancel(&id).await.expect("cancelled");
    let job = ended(&local, "em-1").await;
    assert_eq!((job.state, job.exit.map(|exit| exit.code)), (JobState::Cancelled, Some(7)));
}

#[tokio::test]
async fn the_time_limit_holds_while_no_server_runs() {
    let bench = Bench::new();
    let local = bench.open();
    let limited = JobOptions { time_minutes: Some(1), ..JobOptions::default() };
    let stubborn = "trap '' TERM; touch up; while :; do sleep 0.05; done";
    bench.submit_with(&local, "em-1", stubborn, limited).await.expect("accepted");
    drop(local);
    wait_for("the agent", || bench.job_dir("em-1").join("up").exists()).await;
    wait_for("its end", || bench.processes().is_empty()).await;
    let after = jiff::Timestamp::now();
    let local = bench.open();
    let job = view(&local, "em-1", |_| true).await;
    assert_eq!(job.state, JobState::Timeout);
    assert!(job.ends_at.is_some_and(|at| at <= after), "{job:?}");
}

fn supervisor(bench: &Bench, id: &str) -> String {
    let text = std::fs::read_to_string(bench.record(id).join("supervisor")).expect("the supervisor's file");
    text.split_whitespace().next().expect("a process id").to_owned()
}

#[tokio::test]
async fn a_killed_supervisor_takes_its_job_along_and_the_queue_goes_on() {
    let bench = Bench::new();
    let local = bench.open();
    let id = bench.submit(&local, "em-1", "(setsid sleep 300 &); touch up; sleep 300").await;
    bench.submit(&local, "em-2", "true").await;
    wait_for("the agent", || bench.job_dir("em-1").join("up").exists()).await;
    signal(&supervisor(&bench, &id), Signal::KILL);
    let job = ended(&local, "em-1").await;
    assert_eq!((job.state, job.exit), (JobState::Failed, None));
    assert!(job.reason.is_some_and(|reason| reason.contains("supervisor was killed")));
    assert_eq!(ended(&local, "em-2").await.state, JobState::Completed);
    assert_eq!(bench.processes(), []);
}

#[tokio::test]
async fn a_shutdown_gives_the_job_its_time_and_counts_as_the_machines_failure() {
    let bench = Bench::new();
    let local = bench.open();
    let id = bench.submit(&local, "em-1", "trap 'echo told > told; exit 4' TERM; touch up; while :; do sleep 0.05; done").await;
    wait_for("the agent", || bench.job_dir("em-1").join("up").exists()).await;
    signal(&supervisor(&bench, &id), Signal::TERM);
    let job = ended(&local, "em-1").await;
    assert_eq!((job.state, job.exit.map(|exit| exit.code)), (JobState::NodeFail, Some(4)));
    assert_eq!(bench.read("em-1", "told"), "told\n");
}

/// Edits what the queue wrote when the job started.
fn of_another_boot(bench: &Bench, id: &str) {
    let file = bench.record(id).join("start.json");
    let mut start: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).expect("read")).expect("JSON");
    start["boot_id"] = "an earlier boot".into();
    std::fs::write(file, start.to_string()).expect("written");
}

#[tokio::test]
async fn a_job_that_a_reboot_ended_is_a_node_failure_and_never_runs_again() {
    let bench = Bench::new();
    let local = bench.open();
    let id = bench.submit(&local, "em-1", "echo run >> runs; touch up; sleep 300").await;
    wait_for("the agent", || bench.job_dir("em-1").join("up").exists()).await;
    drop(local);
    // Turned off: nobody writes anything any more, and a file may not have reached the disk.
    let supervisor = supervisor(&bench, &id);
    std::fs::remove_file(bench.record(&id).join("supervisor")).expect("removed");
    signal(&supervisor, Signal::KILL);
    for pid in bench.processes() {
        let _ = rustix::process::kill_process(pid, Signal::KILL);
    }
    wait_for("their end", || bench.processes().is_empty()).await;
    of_another_boot(&bench, &id);
    let local = bench.open();
    let job = view(&local, "em-1", |_| true).await;
    assert_eq!((job.state, job.exit), (JobState::NodeFail, None));
    assert_eq!(bench.read("em-1", "runs"), "run\n");
}

#[tokio::test]
async fn a_job_whose_start_was_written_down_but_not_done_starts_once() {
    let bench = Bench::new();
    let local = bench.open();
    let done = bench.submit(&local, "em-1", "while [ ! -e go ]; do sleep 0.05; done").await;
    let next = bench.submit(&local, "em-2", "echo run >> runs").await;
    drop(local);
    // As a server leaves it that dies between the two.
    std::fs::copy(bench.record(&done).join("start.json"), bench.record(&next).join("start.json")).expect("copied");
    std::fs::write(bench.job_dir("em-1").join("go"), "").expect("written");
    let local = bench.open();
    assert_eq!(ended(&local, "em-2").await.state, JobState::Completed);
    assert_eq!(bench.read("em-2", "runs"), "run\n");
    let begin = Instant::now();
    assert_eq!(ended(&local, "em-1").await.state, JobState::Completed, "{:?}", begin.elapsed());
}
