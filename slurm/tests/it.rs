//! em-slurm on real Slurm: each test has a private cluster, started by the project's own script and taken down again.

#[path = "it/cluster.rs"]
mod cluster;
#[path = "it/containers.rs"]
mod containers;
#[path = "it/hostile.rs"]
mod hostile;
#[path = "it/injection.rs"]
mod injection;

use std::time::{Duration, Instant};

use cluster::{Cluster, agent, job, wait_for};
use em_slurm::{
    ExitStatus, JobOptions, JobScript, JobState, PendingReason, ReadError, Scheduler, SubmitError, WITNESS_FILE, Witness,
};

/// Exit code and restart count.
fn witness(script: &JobScript) -> (i32, u32) {
    let witness = Witness::read(&script.job_dir).expect("readable").expect("written");
    (witness.code, witness.restart_count)
}

#[tokio::test]
async fn a_job_is_submitted_listed_and_over_with_its_exit_code() {
    let cluster = Cluster::up(&[]);
    let slurm = cluster.scheduler();
    let mut script =
        job(&cluster, "em-1a2b3c4d-01", agent("env > env; touch up; while [ ! -e go ]; do sleep 0.05; done; echo done; exit 3"));
    script.comment = "em experiment=a|b 'quoted' \"twice\" \\ # $(x) é".to_owned();
    script.options =
        JobOptions { gpus: Some("2".to_owned()), cpus_per_task: Some(4), time_minutes: Some(5), ..JobOptions::default() };
    let id = cluster.submit(&slurm, &script).await.expect("accepted").id;

    wait_for("the agent to start", || script.job_dir.join("up").exists()).await;
    let live = cluster.view(&slurm, &script.name, |view| view.state == JobState::Running).await;
    assert_eq!((&live.id, &live.comment, live.exit, live.restart_count), (&id, &script.comment, None, Some(0)));
    assert_eq!((live.nodes.as_deref(), live.user.as_deref()), (Some("node1"), Some(cluster.user().as_str())));
    let (submitted, started) = (live.submitted_at.expect("a time"), live.started_at.expect("a time"));
    let age = submitted.duration_until(jiff::Timestamp::now()).as_secs();
    assert!((0..60).contains(&age) && started >= submitted, "{live:?}");
    assert_eq!(live.ends_at.expect("a time limit"), started + jiff::SignedDuration::from_mins(5));
    assert_eq!(Witness::read(&script.job_dir).expect("readable"), None);

    std::fs::write(script.job_dir.join("go"), "").expect("written");
    let over = cluster.view(&slurm, &script.name, |view| view.state.ended()).await;
    assert_eq!((over.state, over.exit), (JobState::Failed, Some(ExitStatus { code: 3, signal: 0 })));
    assert_eq!(witness(&script), (3, 0));
    let log = std::fs::read_to_string(script.job_dir.join(format!("slurm_{id}.out"))).expect("standard output");
    assert_eq!(log, "done\n");

    let env = std::fs::read_to_string(script.job_dir.join("env")).expect("the agent's environment");
    assert!(env.contains("CUDA_VISIBLE_DEVICES=0,1\n") && env.contains("SLURM_CPUS_PER_TASK=4\n"), "{env}");
    assert!(!env.contains("CARGO_MANIFEST_DIR"), "our own environment leaked into the job: {env}");

    assert_eq!(slurm.find(&script.name).await.expect("an answer").len(), 1);
    assert_eq!(slurm.list("em-1a2b3c4d-").await.expect("an answer").len(), 1);
    assert_eq!(slurm.list("em-5e6f7a8b-").await.expect("an answer"), []);
    assert_eq!(slurm.find("em-1a2b3c4d-0").await.expect("an answer"), []);
}

#[tokio::test]
async fn refusals_and_jobs_that_can_never_start_are_told_apart() {
    let cluster = Cluster::up(&[]);
    let slurm = cluster.scheduler();

    let mut nowhere = job(&cluster, "em-1a2b3c4d-nowhere", agent("true"));
    nowhere.options.partition = Some("nope".to_owned());
    let refused = cluster.submit(&slurm, &nowhere).await;
    assert!(
        matches!(&refused, Err(SubmitError::Rejected { stderr }) if stderr.contains("Invalid partition name specified")),
        "{refused:?}"
    );
    assert_eq!(slurm.find(&nowhere.name).await.expect("an answer"), []);

    // Slurm keeps a record of this one although sbatch failed.
    let mut huge = job(&cluster, "em-1a2b3c4d-huge", agent("true"));
    huge.options.memory = Some("900G".to_owned());
    let refused = cluster.submit(&slurm, &huge).await;
    assert!(matches!(refused, Err(SubmitError::Rejected { .. })), "{refused:?}");
    assert_eq!(slurm.list(&huge.name).await.expect("an answer").len(), 1, "Slurm no longer keeps such records: this case can go");
    assert_eq!(slurm.find(&huge.name).await.expect("an answer"), []);

    let mut long = job(&cluster, "em-1a2b3c4d-long", agent("true"));
    long.options = JobOptions { partition: Some("short".to_owned()), time_minutes: Some(60), ..JobOptions::default() };
    cluster.submit(&slurm, &long).await.expect("accepted, as on many sites");
    // 22.05 says PartitionConfig for the first seconds.
    let view = cluster.view(&slurm, &long.name, |view| view.reason.as_deref() == Some("PartitionTimeLimit")).await;
    assert_eq!(view.pending, Some(PendingReason::NeverStarts("PartitionTimeLimit".to_owned())));

    let mut held = job(&cluster, "em-1a2b3c4d-held", agent("true"));
    held.options.extra_args = vec!["--hold".to_owned()];
    cluster.submit(&slurm, &held).await.expect("accepted");
    let view = cluster.view(&slurm, &held.name, |view| view.pending.is_some()).await;
    assert!(matches!(view.pending, Some(PendingReason::Waiting(reason)) if reason.starts_with("JobHeld")));

    let nobody = JobScript { job_dir: cluster.dir().join("no-such-folder"), ..held };
    assert!(matches!(slurm.submit(&nobody).await, Err(SubmitError::Spawn { .. })));
}

#[tokio::test]
async fn plain_sbatch_reads_the_script_as_it_was_meant() {
    let cluster = Cluster::up(&[]);
    let slurm = cluster.scheduler();
    let mut script = job(&cluster, "em-plain", agent("true"));
    script.comment = "a \"b\" 'c' \\ d # e; $(touch pwned) %j".to_owned();
    script.options.mail_type = Some("END".to_owned());
    script.options.mail_user = Some("two words # and \"more\" \\".to_owned());
    script.options.extra_args = vec!["--hold".to_owned()];
    cluster.write(&script);
    cluster.slurm("sbatch", &["--chdir", &script.job_dir.to_string_lossy(), &script.job_dir.join("job.sh").to_string_lossy()]);
    let view = cluster.view(&slurm, "em-plain", |_| true).await;
    assert_eq!(view.comment, script.comment);
    let shown = cluster.slurm("scontrol", &["show", "job", &view.id]);
    assert!(shown.contains("MailUser=two words # and \"more\" \\ "), "{shown}");
    assert!(shown.contains("Requeue=0") && shown.contains("JobHeld"), "{shown}");
}

#[tokio::test]
async fn cancel_tells_the_agent_and_a_job_that_is_gone_counts_as_cancelled() {
    let cluster = Cluster::up(&[]);
    let slurm = cluster.scheduler();
    let farewell = "trap 'echo farewell > farewell; exit 0' TERM; touch up; while :; do sleep 0.05; done";
    let script = job(&cluster, "em-1a2b3c4d-01", agent(farewell));
    let id = cluster.submit(&slurm, &script).await.expect("accepted").id;
    wait_for("the agent to start", || script.job_dir.join("up").exists()).await;

    slurm.cancel(&id).await.expect("cancelled");
    let view = cluster.view(&slurm, &script.name, |view| view.state.ended()).await;
    assert_eq!(view.state, JobState::Cancelled);
    assert!(script.job_dir.join("farewell").exists(), "the agent was not told");
    wait_for("the witness", || script.job_dir.join(WITNESS_FILE).exists()).await;
    assert_eq!(witness(&script), (0, 0));

    slurm.cancel(&id).await.expect("a finished job counts as cancelled");
    slurm.cancel("99999").await.expect("an unknown job counts as cancelled");
}

#[tokio::test]
async fn a_requeue_shows_as_a_restart_of_the_same_job() {
    let cluster = Cluster::up(&[]);
    let slurm = cluster.scheduler();
    let mut script = job(&cluster, "em-1a2b3c4d-01", agent("touch up.${SLURM_RESTART_COUNT:-0}; sleep 60"));
    script.options.requeue = true;
    let id = cluster.submit(&slurm, &script).await.expect("accepted").id;
    wait_for("the first run", || script.job_dir.join("up.0").exists()).await;

    cluster.slurm("scontrol", &["requeue", &id]);
    let again = cluster.view(&slurm, &script.name, |view| view.restart_count == Some(1) && view.state == JobState::Pending).await;
    assert_eq!((&again.id, again.started_at, again.exit), (&id, None, None));
    // By itself Slurm waits two minutes.
    cluster.slurm("scontrol", &["update", &format!("jobid={id}"), "StartTime=now"]);
    wait_for("the second run", || script.job_dir.join("up.1").exists()).await;
    slurm.cancel(&id).await.expect("cancelled");
    cluster.view(&slurm, &script.name, |view| view.state.ended()).await;
    wait_for("the witness", || script.job_dir.join(WITNESS_FILE).exists()).await;
    assert_eq!(witness(&script), (143, 1));
}

#[tokio::test]
async fn a_controller_that_is_away_is_an_error_and_never_an_empty_listing() {
    let cluster = Cluster::up(&[("MESSAGETIMEOUT", "5")]);
    let slurm = cluster.scheduler();
    let script = job(&cluster, "em-1a2b3c4d-01", agent("sleep 60"));
    cluster.submit(&slurm, &script).await.expect("accepted");

    cluster.end_controller().await;
    let begin = Instant::now();
    let second = job(&cluster, "em-1a2b3c4d-02", agent("true"));
    let (listed, found, submitted, cancelled) =
        tokio::join!(slurm.list("em-"), slurm.find(&script.name), cluster.submit(&slurm, &second), slurm.cancel("1"));
    assert!(begin.elapsed() < Duration::from_secs(15), "{:?}", begin.elapsed());
    assert!(matches!(listed, Err(ReadError::Unreachable { .. })), "{listed:?}");
    assert!(matches!(found, Err(ReadError::Unreachable { .. })), "{found:?}");
    assert!(matches!(submitted, Err(SubmitError::Unreachable { .. })), "{submitted:?}");
    assert!(cancelled.is_err(), "{cancelled:?}");

    cluster.start_controller();
    wait_for("the controller", || !cluster.slurm("squeue", &["-h"]).is_empty()).await;
    assert_eq!(slurm.find(&script.name).await.expect("an answer").len(), 1);
    assert_eq!(slurm.find(&second.name).await.expect("an answer"), [], "Unreachable means: not submitted");
}

#[tokio::test]
async fn a_job_submitted_into_a_hung_controller_is_ambiguous_and_found_afterwards() {
    let cluster = Cluster::up(&[]);
    let slurm = cluster.scheduler_with(Duration::from_secs(2));
    cluster.signal_controller(rustix::process::Signal::STOP);
    let script = job(&cluster, "em-1a2b3c4d-01", agent("true"));
    let begin = Instant::now();
    let (submitted, listed) = tokio::join!(cluster.submit(&slurm, &script), slurm.list("em-"));
    assert!(begin.elapsed() < Duration::from_secs(6), "{:?}", begin.elapsed());
    assert!(matches!(submitted, Err(SubmitError::Ambiguous { .. })), "{submitted:?}");
    assert!(matches!(listed, Err(ReadError::TimedOut { .. })), "{listed:?}");

    cluster.signal_controller(rustix::process::Signal::CONT);
    let slurm = cluster.scheduler();
    let view = cluster.view(&slurm, &script.name, |view| view.state.ended()).await;
    assert_eq!(view.state, JobState::Completed, "the job that sbatch was killed over did run");
    assert_eq!(slurm.find(&script.name).await.expect("an answer").len(), 1);
}

#[tokio::test]
async fn accounting_remembers_what_the_listing_forgot() {
    let cluster = Cluster::up(&[("ACCT", "1"), ("MINJOBAGE", "2")]);
    let slurm = cluster.scheduler();
    let mut script = job(&cluster, "em-1a2b3c4d-01", agent("exit 3"));
    script.comment = "em attempt=1".to_owned();
    let id = cluster.submit(&slurm, &script).await.expect("accepted").id;
    let listed = cluster.view(&slurm, &script.name, |view| view.state.ended()).await;
    let end = Instant::now() + Duration::from_secs(60);
    while !slurm.list("em-").await.expect("an answer").is_empty() {
        assert!(Instant::now() < end, "the listing does not forget");
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let found = slurm.find(&script.name).await.expect("an answer");
    let [view] = &found[..] else { panic!("one job: {found:?}") };
    assert_eq!((&view.id, &view.comment, &view.state), (&id, &script.comment, &JobState::Failed));
    assert_eq!((view.exit, view.submitted_at, view.started_at), (listed.exit, listed.submitted_at, listed.started_at));
    assert_eq!(slurm.find("em-1a2b3c4d-02").await.expect("an answer"), []);
}
