//! How jobs run and end: by themselves, at the time limit, cancelled, or killed.

use em_slurm::{ExitStatus, JobOptions, JobState, SCRIPT_FILE, Scheduler, SubmitError, WITNESS_FILE, Witness};
use rustix::process::Signal;

use crate::bench::{Bench, ended, signal, view, wait_for};

fn exit(code: i32, signal: i32) -> Option<ExitStatus> {
    Some(ExitStatus { code, signal })
}

#[tokio::test]
async fn a_job_runs_in_its_directory_with_a_clean_environment_and_its_end_is_known() {
    let bench = Bench::new();
    let local = bench.open();
    let code = "env > env; pwd > pwd; cat > stdin; echo out; echo err >&2; exit 3";
    let id = bench.submit(&local, "em-1a2b3c4d-01", code).await;
    let job = ended(&local, "em-1a2b3c4d-01").await;
    assert_eq!((job.state, job.exit, job.reason.as_deref()), (JobState::Failed, exit(3, 0), Some("NonZeroExitCode")));
    assert_eq!((job.id.as_str(), job.comment.as_str(), job.restart_count), (id.as_str(), "comment of em-1a2b3c4d-01", Some(0)));
    assert!(job.nodes.is_some() && job.user.is_some());
    let (submitted, started, ended_at) =
        (job.submitted_at.expect("times"), job.started_at.expect("times"), job.ends_at.expect("times"));
    // The end is in whole seconds.
    assert!(submitted <= started && started.as_second() <= ended_at.as_second(), "{submitted} {started} {ended_at}");

    let read = |file: &str| bench.read("em-1a2b3c4d-01", file);
    assert_eq!(read("pwd").trim(), bench.job_dir("em-1a2b3c4d-01").to_string_lossy());
    assert_eq!((read(&format!("slurm_{id}.out")).as_str(), read("stdin").as_str()), ("out\n", ""));
    assert_eq!(read(&format!("slurm_{id}.err")), "err\n");
    let witness = Witness::read(&bench.job_dir("em-1a2b3c4d-01")).expect("readable").expect("written");
    assert_eq!((witness.code, witness.restart_count), (3, 0));
    let env = read("env");
    assert!(env.lines().any(|line| line == format!("SLURM_JOB_ID={id}")), "{env}");
    assert!(env.lines().any(|line| line == "CUDA_VISIBLE_DEVICES="), "a job that asks for no GPU has none: {env}");
    assert!(!env.contains("CARGO_MANIFEST_DIR") && !env.contains("SLURM_JOB_END_TIME"), "{env}");

    bench.submit(&local, "em-1a2b3c4d-02", "true").await;
    let job = ended(&local, "em-1a2b3c4d-02").await;
    assert_eq!((job.state, job.exit, job.reason), (JobState::Completed, exit(0, 0), None));
    assert_eq!(local.list("em-1a2b3c4d-").await.expect("an answer").len(), 2);
    assert_eq!(local.list("em-5e6f7a8b-").await.expect("an answer"), []);
    assert_eq!(local.find("em-1a2b3c4d-0").await.expect("an answer"), []);
    assert_eq!(bench.processes(), []);
}

#[tokio::test]
async fn a_script_that_a_signal_kills_is_told_from_one_that_exits_alike() {
    let bench = Bench::new();
    let local = bench.open();
    bench.submit(&local, "em-killed", "kill -KILL $PPID; sleep 60").await;
    let job = ended(&local, "em-killed").await;
    assert_eq!((job.state, job.exit, job.reason.as_deref()), (JobState::Failed, exit(0, 9), Some("RaisedSignal:9")));
    bench.submit(&local, "em-exits", "exit 137").await;
    assert_eq!(ended(&local, "em-exits").await.exit, exit(137, 0));
    assert_eq!(bench.processes(), [], "the job is over with its script");
}

#[tokio::test]
async fn an_output_file_that_cannot_be_opened_fails_the_job_as_slurm_does() {
    let bench = Bench::new();
    let local = bench.open();
    let job = bench.job("em-output", "touch ran");
    // The first id of a new queue.
    std::fs::create_dir(job.job_dir.join("slurm_1.out")).expect("a folder in the way");
    local.submit(&job).await.expect("accepted");
    let job = ended(&local, "em-output").await;
    assert_eq!((job.state, job.exit), (JobState::Failed, exit(0, 53)));
    assert!(!bench.job_dir("em-output").join("ran").exists());
}

#[tokio::test]
async fn the_script_is_told_before_the_time_limit_and_ended_at_it() {
    let bench = Bench::with(|settings| settings.jobs_at_once = 2.try_into().expect("two"));
    let local = bench.open();
    // Two seconds; TERM after one.
    let limited = || JobOptions { time_minutes: Some(1), ..JobOptions::default() };
    let heeds = "trap 'echo told > told; exit 0' TERM; touch up; while :; do sleep 0.05; done";
    let ignores = "trap '' TERM; (setsid bash -c 'trap \"\" TERM; sleep 300' &); echo ${SLURM_JOB_END_TIME:?} > until; while :; do sleep 0.05; done";
    bench.submit_with(&local, "em-heeds", heeds, limited()).await.expect("accepted");
    bench.submit_with(&local, "em-ignores", ignores, limited()).await.expect("accepted");

    let job = ended(&local, "em-heeds").await;
    assert_eq!((job.state, job.exit, bench.read("em-heeds", "told").as_str()), (JobState::Completed, exit(0, 0), "told\n"));
    let job = ended(&local, "em-ignores").await;
    assert_eq!((job.state, job.reason.as_deref()), (JobState::Timeout, Some("TimeLimit")));
    let started = job.started_at.expect("it ran").as_second();
    let until: i64 = bench.read("em-ignores", "until").trim().parse().expect("seconds");
    assert!((2..=3).contains(&(until - started)), "{until} is not two seconds after {started}");
    assert_eq!(bench.processes(), [], "a process outlived its job's time limit");
}

#[tokio::test]
async fn cancel_tells_all_and_leaves_nobody() {
    let bench = Bench::new();
    let local = bench.open();
    let farewell = "trap 'echo farewell > farewell; exit 0' TERM; (setsid bash -c 'trap \"echo heard > heard\" TERM; while :; do sleep 0.05; done' &); \
                    touch up; while :; do sleep 0.05; done";
    let id = bench.submit(&local, "em-farewell", farewell).await;
    wait_for("the agent", || bench.job_dir("em-farewell").join("up").exists()).await;
    let stubborn =
        bench.submit(&local, "em-stubborn", "trap '' TERM; (setsid sleep 300 &); touch up; while :; do sleep 0.05; done").await;
    let waiting = bench.submit(&local, "em-waiting", "touch ran").await;

    local.cancel(&waiting).await.expect("cancelled");
    local.cancel(&id).await.expect("cancelled");
    let job = ended(&local, "em-farewell").await;
    assert_eq!((job.state, job.exit), (JobState::Cancelled, exit(0, 0)));
    assert_eq!(bench.read("em-farewell", "farewell"), "farewell\n");
    assert_eq!(bench.read("em-farewell", "heard"), "heard\n", "processes in a session of their own are told as well");
    assert!(bench.job_dir("em-farewell").join(WITNESS_FILE).exists());

    wait_for("the next job", || bench.job_dir("em-stubborn").join("up").exists()).await;
    local.cancel(&stubborn).await.expect("cancelled");
    local.cancel(&stubborn).await.expect("twice is no error");
    let ending = view(&local, "em-stubborn", |view| view.state != JobState::Running).await;
    assert!(matches!(ending.state, JobState::Completing | JobState::Cancelled), "{ending:?}");
    assert_eq!(ended(&local, "em-stubborn").await.state, JobState::Cancelled);
    assert_eq!(bench.processes(), []);

    let job = ended(&local, "em-waiting").await;
    assert_eq!((job.state, job.started_at, job.nodes), (JobState::Cancelled, None, None));
    assert!(!bench.job_dir("em-waiting").join("ran").exists());
    for id in [id.as_str(), "99999", "4711_3", "no id", ""] {
        local.cancel(id).await.expect("over and unknown ids count as cancelled");
    }
    assert_eq!(ended(&local, "em-farewell").await.state, JobState::Cancelled, "an end does not change");
}

#[tokio::test]
async fn a_stopped_job_can_be_cancelled() {
    let bench = Bench::new();
    let local = bench.open();
    let id = bench
        .submit(&local, "em-stopped", "trap 'echo woken > woken; exit 0' TERM; echo $$ > pid; while :; do sleep 0.05; done")
        .await;
    wait_for("the agent", || !bench.read("em-stopped", "pid").trim().is_empty()).await;
    signal(&bench.read("em-stopped", "pid"), Signal::STOP);
    local.cancel(&id).await.expect("cancelled");
    assert_eq!(ended(&local, "em-stopped").await.state, JobState::Cancelled);
    assert_eq!(bench.read("em-stopped", "woken"), "woken\n");
}

#[tokio::test]
async fn what_cannot_run_here_is_refused_and_leaves_no_job() {
    let bench = Bench::new();
    let local = bench.open();
    let refused = |answer: Result<_, SubmitError>, words: &str| match answer {
        Err(SubmitError::Rejected { stderr }) => assert!(stderr.contains(words), "{stderr}"),
        other => panic!("{words}: {other:?}"),
    };
    let gpus = JobOptions { gres: Some("gpu:1".to_owned()), ..JobOptions::default() };
    refused(bench.submit_with(&local, "em-gpu", "true", gpus).await, "this machine has 0 GPUs");
    let after = JobOptions { dependency: Some("afterok:1".to_owned()), ..JobOptions::default() };
    refused(bench.submit_with(&local, "em-after", "true", after).await, "dependency: ");
    let job = bench.job("em-script", "true");
    std::fs::write(job.job_dir.join(SCRIPT_FILE), "no script").expect("written");
    refused(local.submit(&job).await, "does not look like a batch script");
    std::fs::remove_file(job.job_dir.join(SCRIPT_FILE)).expect("removed");
    refused(local.submit(&job).await, "Unable to open file");
    refused(bench.submit_with(&local, "two words", "true", JobOptions::default()).await, "no usable job name");
    assert_eq!(local.list("").await.expect("an answer"), []);
}

#[tokio::test]
async fn the_first_line_of_the_script_says_what_runs_it() {
    let bench = Bench::new();
    let local = bench.open();
    for (name, line, said) in [("em-login", "#!/bin/bash -l", "login\n"), ("em-plain", "#! /usr/bin/env bash", "plain\n")] {
        let job = bench.job(name, "true");
        let code = "shopt -q login_shell && echo login > said || echo plain > said";
        std::fs::write(job.job_dir.join(SCRIPT_FILE), format!("{line}\n{code}\n")).expect("written");
        local.submit(&job).await.expect("accepted");
        assert_eq!((ended(&local, name).await.state, bench.read(name, "said").as_str()), (JobState::Completed, said));
    }
    let job = bench.job("em-nothing", "true");
    std::fs::write(job.job_dir.join(SCRIPT_FILE), "#!/no/such/program\n").expect("written");
    local.submit(&job).await.expect("accepted");
    assert_eq!(ended(&local, "em-nothing").await.exit, exit(127, 0));
}

#[tokio::test]
async fn a_script_that_changes_after_its_submission_runs_as_it_was() {
    let bench = Bench::new();
    let local = bench.open();
    let first = bench.submit(&local, "em-first", "touch up; while [ ! -e go ]; do sleep 0.05; done").await;
    let second = bench.submit(&local, "em-second", "echo old > said").await;
    assert_ne!(first, second);
    std::fs::write(bench.job_dir("em-second").join(SCRIPT_FILE), "#!/bin/bash\necho new > said\n").expect("written");
    std::fs::write(bench.job_dir("em-first").join("go"), "").expect("written");
    ended(&local, "em-second").await;
    assert_eq!(bench.read("em-second", "said"), "old\n");
}
