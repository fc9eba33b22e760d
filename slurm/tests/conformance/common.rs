//! What every transport does, with Slurm or without.

use em_slurm::{ExitStatus, JobOptions, JobState, SubmitError, WITNESS_FILE};

use crate::cluster::{wait_for, witness};
use crate::subject::Subject;

pub(crate) async fn a_job_runs_and_is_over_with_its_exit_code(subject: &Subject) {
    let mut script =
        subject.job("runs", "id -un > user; env > env; touch up; while [ ! -e go ]; do sleep 0.05; done; echo done; exit 3");
    script.comment = "em experiment=a|b 'quoted' \"twice\" \\ # $(x) %j é".to_owned();
    script.options = JobOptions { cpus_per_task: Some(2), time_minutes: Some(5), ..JobOptions::default() };
    let id = subject.submit(&script).await.expect("accepted").id;

    wait_for("the agent to start", || script.job_dir.join("up").exists()).await;
    let live = subject.view(&script.name, |view| view.state == JobState::Running).await;
    assert_eq!((&live.id, &live.comment, live.exit, live.restart_count), (&id, &script.comment, None, Some(0)));
    assert_eq!(live.user.as_deref(), Some(subject.user.as_str()));
    let (submitted, started) = (live.submitted_at.expect("a time"), live.started_at.expect("a time"));
    let age = submitted.duration_until(jiff::Timestamp::now()).as_secs();
    assert!((0..120).contains(&age) && started >= submitted, "{live:?}");
    assert_eq!(live.ends_at.expect("a time limit"), started + jiff::SignedDuration::from_mins(5));
    assert_eq!(em_slurm::Witness::read(&script.job_dir).expect("readable"), None);
    let found = subject.slurm.find(&script.name).await.expect("an answer");
    assert_eq!(found.iter().map(|view| &view.id).collect::<Vec<_>>(), [&id], "a running job");

    std::fs::write(script.job_dir.join("go"), "").expect("written");
    let over = subject.view(&script.name, |view| view.state.ended()).await;
    assert_eq!((over.state, over.exit), (JobState::Failed, Some(ExitStatus { code: 3, signal: 0 })));
    assert_eq!(witness(&script), (3, 0));
    let read = |file: &str| std::fs::read_to_string(script.job_dir.join(file)).expect(file);
    assert_eq!(read(&format!("slurm_{id}.out")), "done\n");
    assert_eq!(read("user").trim(), subject.user);
    let env = read("env");
    for line in ["SLURM_CPUS_PER_TASK=2\n", &format!("SLURM_JOB_ID={id}\n"), "\nPATH=/"] {
        assert!(format!("\n{env}").contains(line), "{line} is not in {env}");
    }
    assert!(!env.contains("CARGO_MANIFEST_DIR"), "our own environment leaked into the job: {env}");
    assert_eq!(subject.slurm.find(&script.name).await.expect("an answer").len(), 1, "a job that is over");
}

pub(crate) async fn names_are_matched_as_they_are(subject: &Subject) {
    for what in ["names-01", "names-02", "names-021"] {
        subject.submit(&subject.job(what, "true")).await.expect("accepted");
    }
    let listed = async |prefix: &str| {
        let jobs = subject.slurm.list(&subject.job_name(prefix)).await.expect("an answer");
        let mut names: Vec<String> = jobs.into_iter().map(|view| view.name).collect();
        names.sort();
        names
    };
    assert_eq!(listed("names-").await.len(), 3);
    assert_eq!(listed("names-02").await, [subject.job_name("names-02"), subject.job_name("names-021")]);
    assert_eq!(listed("names-3").await, [] as [String; 0]);
    assert_eq!(subject.slurm.find(&subject.job_name("names-02")).await.expect("an answer").len(), 1);
    assert_eq!(subject.slurm.find(&subject.job_name("names-0")).await.expect("an answer"), []);
    for bad in ["", "a b", "a,b", "é", "a/b"] {
        let script = em_slurm::JobScript { name: bad.to_owned(), ..subject.job("names-bad", "true") };
        let refused = subject.submit(&script).await;
        assert!(matches!(refused, Err(SubmitError::Rejected { .. })), "{bad}: {refused:?}");
        assert_eq!(subject.slurm.find(bad).await.expect("an answer"), []);
    }
}

pub(crate) async fn cancel_tells_the_agent_and_a_job_that_is_gone_counts_as_cancelled(subject: &Subject) {
    let farewell = "trap 'echo farewell > farewell; exit 0' TERM; touch up; while :; do sleep 0.05; done";
    let script = subject.job("cancel", farewell);
    let id = subject.submit(&script).await.expect("accepted").id;
    wait_for("the agent to start", || script.job_dir.join("up").exists()).await;

    subject.slurm.cancel(&id).await.expect("cancelled");
    let view = subject.view(&script.name, |view| view.state.ended()).await;
    assert_eq!(view.state, JobState::Cancelled);
    wait_for("the agent's farewell", || script.job_dir.join("farewell").exists()).await;
    wait_for("the witness", || script.job_dir.join(WITNESS_FILE).exists()).await;
    assert_eq!(witness(&script), (0, 0));

    subject.slurm.cancel(&id).await.expect("a finished job counts as cancelled");
    subject.slurm.cancel("99999").await.expect("an unknown job counts as cancelled");
}
