use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::*;
use crate::Witness;

pub(super) fn script(job_dir: &Path, agent: &[&str]) -> JobScript {
    JobScript {
        name: "em-1a2b3c4d-01J".to_owned(),
        comment: "em experiment=demo shard=1 attempt=1".to_owned(),
        options: JobOptions::default(),
        job_dir: job_dir.to_owned(),
        modules: Vec::new(),
        setup: Vec::new(),
        env: BTreeMap::new(),
        agent: agent.iter().map(|&word| word.to_owned()).collect(),
    }
}

pub(super) fn start(script: &JobScript, restart_count: &str) -> Child {
    let file = script.job_dir.join(SCRIPT_FILE);
    std::fs::write(&file, script.render()).expect("the script is written");
    let mut command = Command::new("bash");
    command.arg(&file).env("SLURM_RESTART_COUNT", restart_count).current_dir("/").stdin(Stdio::null()).stderr(Stdio::piped());
    command.spawn().expect("bash runs")
}

pub(super) fn term(child: &Child) {
    let pid = rustix::process::Pid::from_child(child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("the script is alive");
}

/// The script's exit status; killed, and the test failed, when it does not end.
pub(super) fn ended(mut child: Child) -> ExitStatus {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(status) = child.try_wait().expect("a child of ours") {
            return status;
        }
        if Instant::now() > end {
            child.kill().expect("it lives");
            panic!("the script did not end");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub(super) fn wait_for(file: &Path) {
    let end = Instant::now() + Duration::from_secs(20);
    while !file.exists() {
        assert!(Instant::now() < end, "{} did not appear", file.display());
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Exit code and restart count.
pub(super) fn witness(dir: &Path) -> (i32, u32) {
    let witness = Witness::read(dir).expect("readable").expect("written");
    (witness.code, witness.restart_count)
}

#[test]
fn the_agents_exit_code_is_the_scripts_and_the_witness_has_it() {
    let dir = tempfile::tempdir().expect("a folder");
    let script = script(dir.path(), &["bash", "-c", "exit 7"]);
    let status = ended(start(&script, "2"));
    assert_eq!(status.code(), Some(7));
    assert_eq!(witness(dir.path()), (7, 2));
    let ended_at = Witness::read(dir.path()).expect("readable").expect("written").ended_at.expect("a time");
    let age = ended_at.duration_until(jiff::Timestamp::now()).as_secs();
    assert!((0..60).contains(&age), "{ended_at}");
}

#[test]
fn term_reaches_the_agent_and_its_farewell_is_waited_for() {
    let dir = tempfile::tempdir().expect("a folder");
    let agent = "trap 'sleep 0.3; touch farewell; exit 5' TERM; touch up; for i in {1..400}; do sleep 0.05; done";
    let script = script(dir.path(), &["bash", "-c", agent]);
    let child = start(&script, "0");
    wait_for(&dir.path().join("up"));
    term(&child);
    let status = ended(child);
    assert!(dir.path().join("farewell").exists(), "the agent was not told, or not waited for");
    assert_eq!(status.code(), Some(5));
    assert_eq!(witness(dir.path()), (5, 0));
}

#[test]
fn an_agent_that_ends_at_once_on_term_still_gives_its_own_exit_code() {
    // Slurm sends TERM to shell and agent alike, so both react at the same moment.
    for _ in 0..20 {
        let dir = tempfile::tempdir().expect("a folder");
        let script = script(
            dir.path(),
            &["bash", "-c", "trap 'exit 5' TERM; echo $$ > pid.tmp; mv pid.tmp pid; for i in {1..2000}; do sleep 0.01; done"],
        );
        let child = start(&script, "0");
        wait_for(&dir.path().join("pid"));
        let agent: i32 = std::fs::read_to_string(dir.path().join("pid")).expect("a pid").trim().parse().expect("a number");
        let agent = rustix::process::Pid::from_raw(agent).expect("a pid");
        let _ = rustix::process::kill_process(agent, rustix::process::Signal::TERM);
        term(&child);
        assert_eq!(ended(child).code(), Some(5));
    }
}

#[test]
fn an_agent_killed_by_a_signal_is_128_and_more() {
    let dir = tempfile::tempdir().expect("a folder");
    let status = ended(start(&script(dir.path(), &["bash", "-c", "kill -9 $$"]), "0"));
    assert_eq!((status.code(), status.signal()), (Some(137), None));
    assert_eq!(witness(dir.path()), (137, 0));
}

#[test]
fn a_missing_agent_or_module_is_named_and_leaves_a_witness() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut script = script(dir.path(), &["no-such-agent"]);
    let output = start(&script, "0").wait_with_output().expect("the script ends");
    assert_eq!(output.status.code(), Some(127));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no-such-agent"));

    script.modules = vec!["no such; touch pwned".to_owned()];
    script.agent = vec!["touch".to_owned(), "agent-ran".to_owned()];
    let output = start(&script, "1").wait_with_output().expect("the script ends");
    assert_eq!(output.status.code(), Some(69));
    assert!(String::from_utf8_lossy(&output.stderr).contains("could not be loaded: no such; touch pwned"));
    assert_eq!(witness(dir.path()), (69, 1));
    assert!(!dir.path().join("agent-ran").exists() && !dir.path().join("pwned").exists());
}

#[test]
fn setup_lines_are_code_and_nothing_else_is() {
    let dir = tempfile::tempdir().expect("a folder");
    let hostile = "$(touch pwned) `touch pwned` ' \" \\ ; touch pwned\ntouch pwned";
    let mut script = script(
        dir.path(),
        &["bash", "-c", "printf '%s|%s' \"$FROM_SETUP\" \"$HOSTILE\" > seen; printf '%s' \"$1\" > arg", "agent", hostile],
    );
    // Options of the shell that would end an ordinary script early.
    script.setup =
        vec!["set -eu".to_owned(), "export FROM_SETUP=yes; cd /".to_owned(), "cd \"$em_dir\"; trap - TERM EXIT".to_owned()];
    script.env = [("HOSTILE".to_owned(), hostile.to_owned()), ("BAD NAME;touch pwned".to_owned(), hostile.to_owned())].into();
    script.name = format!("n\n{hostile}");
    script.comment = hostile.to_owned();
    script.options.account = Some(hostile.to_owned());
    script.setup.push("set +e".to_owned());
    let status = ended(start(&script, "0"));
    assert_eq!(status.code(), Some(0));
    assert_eq!(std::fs::read_to_string(dir.path().join("seen")).expect("the agent ran"), format!("yes|{hostile}"));
    assert_eq!(std::fs::read_to_string(dir.path().join("arg")).expect("the agent ran"), hostile);
    assert!(!dir.path().join("pwned").exists(), "a string became code:\n{}", script.render());
    assert_eq!(witness(dir.path()), (0, 0));
}

#[test]
fn a_witness_of_an_earlier_run_does_not_outlive_the_start_of_the_next() {
    let dir = tempfile::tempdir().expect("a folder");
    std::fs::write(dir.path().join(crate::WITNESS_FILE), "0 0\n").expect("written");
    let child = start(&script(dir.path(), &["bash", "-c", "touch up; exec sleep 60"]), "1");
    wait_for(&dir.path().join("up"));
    assert_eq!(Witness::read(dir.path()).expect("readable"), None);
    term(&child);
    ended(child);
}

#[test]
fn a_witness_has_two_numbers_and_the_time_of_the_end() {
    let ended_at = |seconds| jiff::Timestamp::from_second(seconds).expect("in range");
    let of = |code, restart_count, ended_at| Some(Witness { code, restart_count, ended_at });
    assert_eq!(Witness::parse("3 1 1795509095\n"), of(3, 1, Some(ended_at(1_795_509_095))));
    assert_eq!(Witness::parse("3 1\n"), of(3, 1, None), "as scripts wrote it before");
    for text in ["", "3", "3 x", "x 0", "3 1 x", "3 1 2 4", "3 -1", "3 1 99999999999999"] {
        assert_eq!(Witness::parse(text), None, "{text}");
    }
}
