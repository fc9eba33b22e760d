//! Jobs that come back: the same id, a higher restart count, and never an end in between; and jobs that stand still for a while.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

use em_slurm::{JobOptions, JobState, PendingReason, Scheduler, Witness};

use crate::cluster::{agent, job, wait_for};
use crate::stage::{Stage, status};

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_comes_back_keeps_its_id_and_counts_its_starts() {
    // The prolog of one partition fails, on a node of its own: Slurm drains it.
    let folder = tempfile::tempdir().expect("a temporary folder");
    let prolog = folder.path().join("prolog");
    std::fs::write(&prolog, "#!/bin/sh\n[ \"$SLURM_JOB_PARTITION\" != broken ]\n").expect("written");
    std::fs::set_permissions(&prolog, Permissions::from_mode(0o755)).expect("executable");
    let extra = format!("Prolog={}\nPartitionName=broken Nodes=node2\n", prolog.display());
    let stage = &Stage::up(&[("NODES", "2"), ("CPUS", "8"), ("KILLWAIT", "2")], &extra);
    tokio::join!(
        requeued_while_running(stage),
        requeued_after_its_end(stage),
        requeued_and_held(stage),
        suspended(stage),
        held_while_running(stage),
        prolog_failed(stage),
    );
}

/// TERM reaches the agent, as it does by scancel; the witness of the first run does not speak for the second.
async fn requeued_while_running(stage: &Stage) {
    // Without a program of its own, which a second TERM to all processes would end.
    let farewell =
        "trap ': > farewell.${SLURM_RESTART_COUNT:-0}; exit 0' TERM; touch up.${SLURM_RESTART_COUNT:-0}; sleep 300 & wait";
    let mut script = job(&stage.cluster, "requeued", agent(farewell));
    script.options = JobOptions { requeue: true, ..JobOptions::default() };
    let id = stage.cluster.submit(&stage.slurm, &script).await.expect("accepted").id;
    wait_for("the first run", || script.job_dir.join("up.0").exists()).await;
    stage.scontrol(&["requeue", &id]);
    let again = stage.until("requeued", "pending again", |view| view.restart_count == Some(1) && view.pending.is_some()).await;
    assert_eq!((&again.id, &again.state, again.exit, again.started_at), (&id, &JobState::Pending, None, None));
    assert_eq!(again.pending, Some(PendingReason::Waiting("BeginTime".to_owned())), "Slurm waits two minutes");
    assert!(again.expected_start.is_some(), "{again:?}");
    assert!(script.job_dir.join("farewell.0").exists(), "the agent was not told of the requeue");
    stage.scontrol(&["update", &format!("jobid={id}"), "StartTime=now"]);
    wait_for("the second run", || script.job_dir.join("up.1").exists()).await;
    assert_eq!(Witness::read(&script.job_dir).expect("readable"), None, "a witness of the first run is left");
    stage.slurm.cancel(&id).await.expect("cancelled");
    stage.ended("requeued").await;
    assert!(stage.shown("requeued").iter().rev().skip(1).all(|view| !view.state.ended()), "{:?}", stage.shown("requeued"));
}

/// An end is not for ever: anyone entitled may bring the job back.
async fn requeued_after_its_end(stage: &Stage) {
    let id = stage.sbatch("back-from-the-end", &["--requeue"], "#!/bin/bash\nexit 4\n");
    let over = stage.ended("back-from-the-end").await;
    assert_eq!(over.exit, status(4, 0));
    // Times are whole seconds.
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    stage.scontrol(&["requeue", &id]);
    let again = stage.until("back-from-the-end", "back", |view| view.restart_count == Some(1)).await;
    assert_eq!((&again.id, again.exit), (&id, None), "{again:?}");
    assert!(again.submitted_at > over.submitted_at, "a requeue is a submission: {again:?}");
    stage.slurm.cancel(&id).await.expect("cancelled");
}

async fn requeued_and_held(stage: &Stage) {
    let id = stage.sbatch("requeued-held", &["--requeue"], "#!/bin/bash\nsleep 300\n");
    stage.until("requeued-held", "running", |view| view.state == JobState::Running).await;
    stage.scontrol(&["requeuehold", &id]);
    let held = stage.until("requeued-held", "held", |view| view.restart_count == Some(1) && view.pending.is_some()).await;
    assert_eq!(held.pending, Some(PendingReason::Waiting("job requeued in held state".to_owned())), "{held:?}");
    stage.slurm.cancel(&id).await.expect("cancelled");
}

async fn suspended(stage: &Stage) {
    let id = stage.sbatch("suspended", &[], "#!/bin/bash\nsleep 300\n");
    stage.until("suspended", "running", |view| view.state == JobState::Running).await;
    stage.scontrol(&["suspend", &id]);
    let still = stage.until("suspended", "suspended", |view| view.state == JobState::Suspended).await;
    assert_eq!((still.exit, still.pending.as_ref()), (None, None), "{still:?}");
    stage.scontrol(&["resume", &id]);
    stage.slurm.cancel(&id).await.expect("cancelled");
    assert_eq!(stage.ended("suspended").await.state, JobState::Cancelled);
}

/// It goes on, with a reason that only a pending job should have.
async fn held_while_running(stage: &Stage) {
    let id = stage.sbatch("held-running", &[], "#!/bin/bash\nsleep 300\n");
    stage.until("held-running", "running", |view| view.state == JobState::Running).await;
    stage.scontrol(&["hold", &id]);
    let held = stage.until("held-running", "held", |view| view.started_at.is_some() && view.reason.is_some()).await;
    assert_eq!((&held.state, held.pending.as_ref()), (&JobState::Running, None), "{held:?}");
    stage.slurm.cancel(&id).await.expect("cancelled");
}

async fn prolog_failed(stage: &Stage) {
    let id = stage.sbatch("prolog-failed", &["-p", "broken", "--requeue"], "#!/bin/bash\n");
    let held = stage
        .until("prolog-failed", "held", |view| {
            view.pending.is_some() && view.reason.as_deref() == Some("launch failed requeued held")
        })
        .await;
    assert!(matches!(held.pending, Some(PendingReason::Waiting(_))), "{held:?}");
    assert!(!held.state.ended() && held.restart_count.is_some_and(|count| count >= 1), "{held:?}");
    assert!(stage.scontrol(&["show", "node", "node2"]).contains("DRAIN"));
    stage.slurm.cancel(&id).await.expect("cancelled");
}
