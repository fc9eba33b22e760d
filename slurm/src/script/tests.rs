use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::*;
use crate::Witness;

fn script(job_dir: &Path, agent: &[&str]) -> JobScript {
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

fn start(script: &JobScript, restart_count: &str) -> Child {
    let file = script.job_dir.join(SCRIPT_FILE);
    std::fs::write(&file, script.render()).expect("the script is written");
    let mut command = Command::new("bash");
    command.arg(&file).env("SLURM_RESTART_COUNT", restart_count).current_dir("/").stdin(Stdio::null()).stderr(Stdio::piped());
    command.spawn().expect("bash runs")
}

fn term(child: &Child) {
    let pid = rustix::process::Pid::from_child(child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("the script is alive");
}

/// The script's exit status; killed, and the test failed, when it does not end.
fn ended(mut child: Child) -> ExitStatus {
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

fn wait_for(file: &Path) {
    let end = Instant::now() + Duration::from_secs(20);
    while !file.exists() {
        assert!(Instant::now() < end, "{} did not appear", file.display());
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn the_script_reads_well() {
    let mut script = script(Path::new("/shared/jobs/a b"), &["/opt/em/em-agent", "run", "--plan", "/shared/jobs/a b/plan.json"]);
    script.options = JobOptions {
        partition: Some("gpu".to_owned()),
        gres: Some("gpu:l40s:1".to_owned()),
        nodes: Some(1),
        cpus_per_task: Some(8),
        memory: Some("32G".to_owned()),
        time_minutes: Some(240),
        constraint: Some("avx512 # \"new\"".to_owned()),
        exclusive: true,
        extra_args: vec!["--ntasks=1".to_owned()],
        ..JobOptions::default()
    };
    script.modules = vec!["anaconda3".to_owned(), "cuda/12.1".to_owned()];
    script.setup = vec!["ulimit -n 65536".to_owned(), "if true; then\r\n  echo ready\nfi".to_owned()];
    script.env = [("HF_HUB_OFFLINE", "1"), ("PROMPT", "it's $5\nnow")].map(|(k, v)| (k.to_owned(), v.to_owned())).into();
    insta::assert_snapshot!(script.render(), @r##"
    #!/bin/bash -l
    # Generated. `sbatch job.sh` in this folder runs it as well.
    # sbatch reads the lines that begin with #SBATCH, up to the first command.

    # By these the job is found again.
    #SBATCH --job-name=em-1a2b3c4d-01J
    #SBATCH --comment="em experiment=demo shard=1 attempt=1"

    # Logs, in this folder; %j is the job's id.
    #SBATCH --output=slurm_%j.out
    #SBATCH --error=slurm_%j.err
    #SBATCH --open-mode=append

    # What the job asks for.
    #SBATCH --partition=gpu
    #SBATCH --nodes=1
    #SBATCH --gres=gpu:l40s:1
    #SBATCH --cpus-per-task=8
    #SBATCH --mem=32G
    #SBATCH --time=240
    #SBATCH --constraint="avx512 # \"new\""
    #SBATCH --exclusive
    #SBATCH --ntasks=1

    # Slurm never starts the job again by itself: a new job is submitted instead.
    #SBATCH --no-requeue
    # TERM comes to this shell 90 s before the time limit (Slurm may send it up to 60 s earlier).
    #SBATCH --signal=B:TERM@90

    # The last witness of how this ended: "EXIT_CODE RESTART_COUNT", moved into place so that it is there whole or not at all.
    em_dir='/shared/jobs/a b'
    em_agent=
    em_term=
    em_witness() {
      printf '%d %d\n' "$1" "${SLURM_RESTART_COUNT:-0}" > "$em_dir/exit-code.tmp" && mv -f "$em_dir/exit-code.tmp" "$em_dir/exit-code"
    }
    em_fail() {
      echo "job script: ${*:2}" >&2
      exit "$1"
    }
    # TERM (time limit near, or cancelled) is passed on to the agent; before there is one it ends this shell.
    em_on_term() {
      em_term=1
      case $em_agent in
        '') exit 143 ;;
        starting) ;;
        *) kill -TERM "$em_agent" 2>/dev/null ;;
      esac
    }
    trap 'em_witness "$?"' EXIT
    trap em_on_term TERM
    cd -- "$em_dir" || em_fail 75 'this node cannot enter the job directory:' "$em_dir"
    rm -f exit-code

    # Environment modules.
    module load anaconda3 || em_fail 69 'this module could not be loaded:' anaconda3
    module load cuda/12.1 || em_fail 69 'this module could not be loaded:' cuda/12.1

    # Setup lines of the job's owner.
    ulimit -n 65536
    if true; then
      echo ready
    fi

    # Environment.
    export HF_HUB_OFFLINE=1
    export PROMPT=$'it\'s $5\nnow'

    # The agent. Setup lines may have changed traps and options: here they are as needed.
    trap 'em_witness "$?"' EXIT
    trap em_on_term TERM
    set +eu
    exec {em_tick}<> <(:)
    em_agent=starting
    /opt/em/em-agent run --plan '/shared/jobs/a b/plan.json' {em_tick}<&- &
    em_agent=$!
    [ -z "$em_term" ] || kill -TERM "$em_agent"
    # Not `wait`: interrupted by TERM while the agent ends, it can lose the exit code.
    while kill -0 "$em_agent" 2>/dev/null; do
      read -r -t 0.25 -u "$em_tick"
      [ "$?" -gt 128 ] || sleep 1
    done
    trap '' TERM
    wait "$em_agent"
    exit "$?"
    "##);
}

#[test]
fn the_agents_exit_code_is_the_scripts_and_the_witness_has_it() {
    let dir = tempfile::tempdir().expect("a folder");
    let script = script(dir.path(), &["bash", "-c", "exit 7"]);
    let status = ended(start(&script, "2"));
    assert_eq!(status.code(), Some(7));
    let witness = Witness::read(dir.path()).expect("the witness is readable");
    assert_eq!(witness, Some(Witness { code: 7, restart_count: 2 }));
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
    assert_eq!(Witness::read(dir.path()).expect("readable"), Some(Witness { code: 5, restart_count: 0 }));
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
    assert_eq!(Witness::read(dir.path()).expect("readable"), Some(Witness { code: 137, restart_count: 0 }));
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
    assert_eq!(Witness::read(dir.path()).expect("readable"), Some(Witness { code: 69, restart_count: 1 }));
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
    assert_eq!(Witness::read(dir.path()).expect("readable"), Some(Witness { code: 0, restart_count: 0 }));
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
fn a_witness_is_two_numbers_or_none() {
    assert_eq!(Witness::parse("3 1\n"), Some(Witness { code: 3, restart_count: 1 }));
    for text in ["", "3", "3 x", "x 0", "3 1 2", "3 -1"] {
        assert_eq!(Witness::parse(text), None, "{text}");
    }
}
