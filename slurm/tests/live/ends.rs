//! How jobs end: each end in the listing, then in accounting when the controller has forgotten it (`MinJobAge`).

use em_slurm::JobState::{Cancelled, Completed, Completing, Failed, NodeFail, Preempted};
use em_slurm::{ExitStatus, JobState, JobView, PendingReason, Scheduler};

use crate::stage::{Stage, status};

/// One line of the table: name, sbatch arguments, script, then what is seen.
struct End {
    name: &'static str,
    args: &'static [&'static str],
    script: &'static str,
    state: JobState,
    reason: Option<&'static str>,
    exit: Option<ExitStatus>,
    /// The worst of its steps.
    derived: Option<ExitStatus>,
}

fn ends() -> Vec<End> {
    let end = |name, args, script, state, reason, exit, derived| End { name, args, script, state, reason, exit, derived };
    let nothing = status(0, 0);
    vec![
        end("exit-0", &[], "#!/bin/bash\nexit 0\n", Completed, None, nothing, nothing),
        end("exit-3", &[], "#!/bin/bash\nexit 3\n", Failed, Some("NonZeroExitCode"), status(3, 0), nothing),
        end("exit-137", &[], "#!/bin/bash\nexit 137\n", Failed, Some("NonZeroExitCode"), status(137, 0), nothing),
        end("segv", &[], "#!/bin/bash\nkill -SEGV $$\n", Failed, Some("JobLaunchFailure"), status(0, 11), nothing),
        end("kill", &[], "#!/bin/bash\nkill -KILL $$\n", Failed, Some("JobLaunchFailure"), status(0, 9), nothing),
        end("no-interpreter", &[], "#!/nope/bash\n", Failed, Some("NonZeroExitCode"), status(2, 0), nothing),
        // Nothing runs and nothing is written: `0:53` is all that a user sees. (Missing folders are made since 23.02.)
        end("no-output", &["--output=/dev/null/x"], "#!/bin/bash\n", Failed, Some("JobLaunchFailure"), status(0, 53), nothing),
        // Runs in /tmp.
        end(
            "no-chdir",
            &["--chdir=/nope", "--output=/dev/null"],
            "#!/bin/bash\n[ $PWD = /tmp ]\n",
            Completed,
            None,
            nothing,
            nothing,
        ),
        // The pause lets the controller hear of the step before it tells accounting of the job: it tells it once.
        end("step-7", &[], "#!/bin/bash\nsrun bash -c 'exit 7'\nsleep 1\nexit 0\n", Completed, None, nothing, status(7, 0)),
        end(
            "step-killed",
            &[],
            "#!/bin/bash\nsrun bash -c 'kill -9 $$'\nsleep 1\nexit 0\n",
            Completed,
            None,
            nothing,
            status(0, 9),
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn each_end_is_read_from_the_listing_and_from_accounting() {
    let knobs = [("ACCT", "1"), ("MINJOBAGE", "8"), ("NODES", "3"), ("CPUS", "16"), ("KILLWAIT", "2")];
    let stage = &Stage::up(&knobs, "");
    let table = ends();
    for end in &table {
        stage.sbatch(end.name, end.args, end.script);
    }
    let (_, waiting, trapped, deaf, down, low) = tokio::join!(
        listed(stage, &table),
        cancelled_in_the_queue(stage),
        cancelled_and_trapped(stage),
        cancelled_and_deaf(stage),
        node_down(stage),
        preempted(stage),
    );
    for end in &table {
        let view = stage.accounted(end.name).await;
        assert_eq!((&view.state, view.derived_exit), (&end.state, end.derived), "{view:?}");
        // Before 25.11 sacct takes 128 off.
        let exit = if end.name == "exit-137" && stage.version() < (25, 11) { status(9, 0) } else { end.exit };
        assert_eq!(view.exit, exit, "{view:?}");
        assert!(view.ends_at.is_some() && view.started_at.is_some() && view.nodes.is_some(), "{view:?}");
    }
    for view in [waiting, trapped, deaf, down, low] {
        let found = stage.accounted(&view.name).await;
        assert_eq!((&found.id, &found.state, found.submitted_at), (&view.id, &view.state, view.submitted_at), "{found:?}");
        assert_eq!(found.raw_state.starts_with("CANCELLED by "), view.state == Cancelled, "{found:?}");
    }
}

async fn listed(stage: &Stage, table: &[End]) {
    for end in table {
        let view = stage.ended(end.name).await;
        assert_eq!((&view.state, view.exit, view.derived_exit), (&end.state, end.exit, end.derived), "{view:?}");
        // 26.05 has a better word for a signal.
        let reason = view.reason.as_deref();
        let signal = end.reason == Some("JobLaunchFailure") && reason.is_some_and(|reason| reason.starts_with("RaisedSignal:"));
        assert!(reason == end.reason || signal, "{view:?}");
        assert_eq!((view.restart_count, view.pending), (Some(0), None));
    }
}

async fn cancelled_in_the_queue(stage: &Stage) -> JobView {
    let id = stage.sbatch("cancelled-in-queue", &["--begin=now+1hour"], "#!/bin/bash\n");
    let waits = stage.until("cancelled-in-queue", "waiting", |view| view.pending.is_some()).await;
    assert_eq!(waits.pending, Some(PendingReason::Waiting("BeginTime".to_owned())));
    stage.slurm.cancel(&id).await.expect("cancelled");
    let view = stage.ended("cancelled-in-queue").await;
    assert_eq!((&view.state, view.exit, view.started_at, &view.nodes), (&Cancelled, status(0, 0), None, &None), "{view:?}");
    view
}

/// A state of its own however well the script takes it.
async fn cancelled_and_trapped(stage: &Stage) -> JobView {
    let script = "#!/bin/bash\ntrap 'exit 0' TERM\ntouch trapped.up\nsleep 300 & wait\n";
    let id = stage.sbatch("trapped", &[], script);
    crate::cluster::wait_for("the trap", || stage.folder().join("trapped.up").exists()).await;
    stage.slurm.cancel(&id).await.expect("cancelled");
    let view = stage.ended("trapped").await;
    assert_eq!((&view.state, view.exit), (&Cancelled, status(0, 0)), "{view:?}");
    view
}

async fn cancelled_and_deaf(stage: &Stage) -> JobView {
    let script = "#!/bin/bash\ntrap '' TERM\ntouch deaf.up\nwhile :; do sleep 1; done\n";
    let id = stage.sbatch("deaf", &[], script);
    crate::cluster::wait_for("the script", || stage.folder().join("deaf.up").exists()).await;
    stage.slurm.cancel(&id).await.expect("cancelled");
    let ending = stage.until("deaf", "ending", |view| view.state == Completing).await;
    assert_eq!(ending.exit, None, "not over: {ending:?}");
    let view = stage.ended("deaf").await;
    assert_eq!((&view.state, view.exit), (&Cancelled, status(0, 9)), "{view:?}");
    view
}

async fn node_down(stage: &Stage) -> JobView {
    let script = "#!/bin/bash\ntouch $SLURM_JOB_NAME.up\nsleep 300\n";
    stage.sbatch("node-down", &["-w", "node2"], script);
    let requeued = stage.sbatch("node-down-requeued", &["-w", "node2", "--requeue"], script);
    for name in ["node-down", "node-down-requeued"] {
        stage.until(name, "running", |view| view.state == JobState::Running).await;
    }
    stage.scontrol(&["update", "nodename=node2", "state=down", "reason=test"]);
    let again = stage.until("node-down-requeued", "in the queue again", |view| view.restart_count == Some(1)).await;
    assert_eq!((&again.id, again.exit), (&requeued, None), "the same job lives on: {again:?}");
    let view = stage.ended("node-down").await;
    assert_eq!((&view.state, view.reason.as_deref()), (&NodeFail, Some("NodeDown")));
    let waits =
        stage.until("node-down-requeued", "pending", |view| view.state == JobState::Pending && view.pending.is_some()).await;
    assert!(matches!(waits.pending, Some(PendingReason::Waiting(_))), "{waits:?}");

    stage.slurm.cancel(&requeued).await.expect("cancelled");
    view
}

async fn preempted(stage: &Stage) -> JobView {
    let script = "#!/bin/bash\nsleep 300\n";
    let requeued = stage.sbatch("preempted-requeued", &["-p", "low", "-w", "node3", "-c", "8", "--requeue"], script);
    stage.sbatch("preempted", &["-p", "lowc", "-w", "node3", "-c", "8"], script);
    for name in ["preempted-requeued", "preempted"] {
        stage.until(name, "running", |view| view.state == JobState::Running).await;
    }
    stage.sbatch("high", &["-p", "high", "-w", "node3", "-c", "16"], "#!/bin/bash\nsleep 3\n");
    let again = stage.until("preempted-requeued", "in the queue again", |view| view.restart_count == Some(1)).await;
    assert_eq!((&again.id, again.exit), (&requeued, None), "the same job lives on: {again:?}");
    let view = stage.ended("preempted").await;
    assert_eq!((&view.state, view.pending.as_ref()), (&Preempted, None), "{view:?}");
    stage.ended("high").await;
    stage.slurm.cancel(&requeued).await.expect("cancelled");
    view
}
