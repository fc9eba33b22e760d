//! What every transport to a Slurm cluster does.

use std::process::Command;
use std::time::{Duration, Instant};

use em_slurm::{JobOptions, JobState, PendingReason, SubmitError, WITNESS_FILE};

use crate::cluster::{Cluster, bin_dir, wait_for, witness};
use crate::subject::{Subject, Transport};

pub(crate) async fn gpus_are_given(subject: &Subject) {
    let mut script = subject.job("gpus", "env > env");
    script.options.gpus = Some("2".to_owned());
    subject.submit(&script).await.expect("accepted");
    let view = subject.view(&script.name, |view| view.state.ended()).await;
    assert_eq!(view.state, JobState::Completed, "{view:?}");
    let env = std::fs::read_to_string(script.job_dir.join("env")).expect("the agent's environment");
    assert!(env.contains("CUDA_VISIBLE_DEVICES=0,1\n"), "{env}");
}

pub(crate) async fn an_impossible_job_is_refused_and_not_there(subject: &Subject) {
    let mut nowhere = subject.job("nowhere", "true");
    nowhere.options.partition = Some("nope".to_owned());
    let refused = subject.submit(&nowhere).await;
    let said = |text: &str| text.contains("Invalid partition name specified");
    assert!(matches!(&refused, Err(SubmitError::Rejected { stderr }) if said(stderr)), "{refused:?}");
    assert_eq!(subject.slurm.find(&nowhere.name).await.expect("an answer"), []);

    // Slurm keeps a record of this one (BadConstraints).
    let mut huge = subject.job("huge", "true");
    huge.options.memory = Some("900G".to_owned());
    let refused = subject.submit(&huge).await;
    assert!(matches!(refused, Err(SubmitError::Rejected { .. })), "{refused:?}");
    assert_eq!(subject.slurm.find(&huge.name).await.expect("an answer"), []);
}

pub(crate) async fn why_a_job_waits_is_told(subject: &Subject) {
    let mut long = subject.job("long", "true");
    long.options = JobOptions { partition: Some("short".to_owned()), time_minutes: Some(60), ..JobOptions::default() };
    subject.submit(&long).await.expect("accepted, as on many sites");
    // 22.05 says PartitionConfig for the first seconds.
    let view = subject.view(&long.name, |view| view.reason.as_deref() == Some("PartitionTimeLimit")).await;
    assert_eq!(view.pending, Some(PendingReason::NeverStarts("PartitionTimeLimit".to_owned())));

    let mut held = subject.job("held", "true");
    held.options.extra_args = vec!["--hold".to_owned()];
    let id = subject.submit(&held).await.expect("accepted").id;
    let view = subject.view(&held.name, |view| view.pending.is_some()).await;
    assert!(matches!(&view.pending, Some(PendingReason::Waiting(reason)) if reason.starts_with("JobHeld")), "{view:?}");
    assert_eq!((view.state, view.started_at, view.nodes, view.exit), (JobState::Pending, None, None, None));

    subject.slurm.cancel(&id).await.expect("cancelled");
    let view = subject.view(&held.name, |view| view.state.ended()).await;
    assert_eq!((view.state, view.started_at), (JobState::Cancelled, None), "cancelled in the queue, it never started");
}

pub(crate) async fn a_requeue_is_a_restart_of_the_same_job(cluster: &Cluster, subject: &Subject) {
    let mut script = subject.job("requeue", "touch up.${SLURM_RESTART_COUNT:-0}; sleep 60");
    script.options.requeue = true;
    let id = subject.submit(&script).await.expect("accepted").id;
    wait_for("the first run", || script.job_dir.join("up.0").exists()).await;

    cluster.slurm("scontrol", &["requeue", &id]);
    let again = subject.view(&script.name, |view| view.restart_count == Some(1) && view.state == JobState::Pending).await;
    assert_eq!((&again.id, again.started_at, again.exit), (&id, None, None));
    // By itself Slurm waits two minutes. At once would be too soon: within the second of the requeue the node calls the job's new
    // credential revoked, and Slurm ends the job as FAILED 1:0.
    cluster.slurm("scontrol", &["update", &format!("jobid={id}"), "StartTime=now+3seconds"]);
    wait_for("the second run", || script.job_dir.join("up.1").exists()).await;
    subject.slurm.cancel(&id).await.expect("cancelled");
    subject.view(&script.name, |view| view.state.ended()).await;
    wait_for("the witness", || script.job_dir.join(WITNESS_FILE).exists()).await;
    assert_eq!(witness(&script), (143, 1));
}

/// Our own jobs only, although Slurm shows everybody's.
pub(crate) async fn jobs_of_others_are_not_ours(cluster: &Cluster, subject: &Subject) {
    if cluster.user() != "root" {
        // Only root can submit as someone else.
        return;
    }
    let name = subject.job_name("foreign");
    let sbatch = bin_dir().map_or_else(|| "sbatch".to_owned(), |dir| dir.join("sbatch").display().to_string());
    let mut words =
        vec![sbatch, "--hold".to_owned(), "--output=/dev/null".to_owned(), format!("--job-name={name}"), "--wrap=true".to_owned()];
    let other = if subject.user == "root" { "nobody" } else { "root" };
    if other == "nobody" {
        words.splice(0..0, ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"].map(str::to_owned));
    }
    let output = Command::new(&words[0]).args(&words[1..]).env("SLURM_CONF", cluster.conf()).current_dir("/tmp").output();
    assert!(output.as_ref().is_ok_and(|output| output.status.success()), "{output:?}");
    let all = cluster.slurm("squeue", &["-h", "-o", "%j %u", &format!("--name={name}")]);
    assert_eq!(all.trim(), format!("{name} {other}"), "it is there");
    assert_eq!(subject.slurm.list(&name).await.expect("an answer"), []);
    assert_eq!(subject.slurm.find(&name).await.expect("an answer"), []);
}

pub(crate) async fn the_cluster_is_seen(subject: &Subject) {
    let view = subject.slurm.cluster().await.expect("an answer");
    // v0.0.39 to v0.0.44 do not tell.
    assert!(view.default_partition().is_none_or(|partition| partition.name == "main"));
    let main = view.partition("main").expect("main");
    assert_eq!((main.up(), main.max_time_minutes), (true, Some(24 * 60)));
    // v0.0.36 does not tell the default.
    assert!(main.default_time_minutes.is_none_or(|minutes| minutes == 10), "{main:?}");
    assert_eq!(main.nodes, ["node1", "node2", "node3"]);
    let node = view.nodes.iter().find(|node| node.name == "node1").expect("node1");
    assert_eq!((node.cpus, node.memory_mb, node.usable()), (16, 16_384, true));
    let [gpus] = &node.gres[..] else { panic!("{node:?}") };
    assert_eq!((gpus.kind.as_str(), gpus.model.as_deref(), gpus.count), ("gpu", None, 2));
    assert!(view.version.is_some_and(|version| version.starts_with('2')));
}

/// Not for root, who is exempt: of these only slurmrestd by its socket has another user.
pub(crate) async fn a_limit_on_submitted_jobs_passes(cluster: &Cluster) {
    let subject = Subject::of(cluster, Transport::Socket, Duration::from_secs(30));
    if cluster.user() != "root" {
        return;
    }
    cluster.slurm("sacctmgr", &["-i", "add", "user", &subject.user, "Account=research", "DefaultAccount=research"]);
    let job = |what: &str| {
        let mut job = subject.job(what, "true");
        job.options.extra_args = vec!["--hold".to_owned()];
        job
    };
    // slurmdbd tells slurmctld a moment later.
    let end = Instant::now() + Duration::from_secs(30);
    let first = loop {
        match subject.submit(&job("limit-1")).await {
            Ok(submitted) => break submitted.id,
            refused => assert!(Instant::now() < end, "{refused:?}"),
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    };
    cluster.slurm("sacctmgr", &["-i", "modify", "user", &subject.user, "set", "MaxSubmitJobs=1"]);
    let limited = loop {
        match subject.submit(&job("limit-2")).await {
            Ok(submitted) => subject.slurm.cancel(&submitted.id).await.expect("cancelled"),
            limited => break limited,
        }
        assert!(Instant::now() < end, "no limit");
        tokio::time::sleep(Duration::from_millis(300)).await;
    };
    assert!(matches!(limited, Err(SubmitError::Limited { .. })), "{limited:?}");
    subject.slurm.cancel(&first).await.expect("cancelled");
    subject.view(&job("limit-1").name, |view| view.state.ended()).await;
    cluster.slurm("sacctmgr", &["-i", "modify", "user", &subject.user, "set", "MaxSubmitJobs=0"]);
    // With nothing in the queue there is nothing to wait for.
    let refused = loop {
        match subject.submit(&job("limit-3")).await {
            Ok(submitted) => subject.slurm.cancel(&submitted.id).await.expect("cancelled"),
            Err(SubmitError::Rejected { stderr }) => break stderr,
            Err(error) => assert!(Instant::now() < end, "{error:?}"),
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    };
    assert!(refused.contains("violates accounting/QOS policy"), "{refused}");
    cluster.slurm("sacctmgr", &["-i", "modify", "user", &subject.user, "set", "MaxSubmitJobs=-1"]);
}
