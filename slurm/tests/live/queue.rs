//! Why jobs wait, whether that can help, and when they are expected to start.

use em_slurm::{JobState, PendingReason};

use crate::stage::Stage;

#[tokio::test(flavor = "multi_thread")]
async fn reasons_that_pass_are_told_from_those_that_never_do() {
    let extra = "PartitionName=down Nodes=ALL State=DOWN\nPartitionName=one Nodes=ALL MaxNodes=1\n";
    let stage = &Stage::up(&[("NODES", "3"), ("CPUS", "4")], extra);
    let script = "#!/bin/bash\nsleep 300\n";
    let failed = stage.sbatch("fails", &[], "#!/bin/bash\nexit 1\n");
    stage.ended("fails").await;
    stage.scontrol(&["update", "nodename=node3", "state=drain", "reason=test"]);
    // Nearly fills the other nodes, so that the rest waits.
    let full = stage.sbatch("full-1", &["-c", "3", "-t", "30"], script);
    stage.sbatch("full-2", &["-c", "3", "-t", "30"], script);
    for name in ["full-1", "full-2"] {
        stage.until(name, "running", |view| view.state == JobState::Running).await;
    }
    for (name, args) in [
        ("resources", &["-c", "4", "-t", "20"] as &[&str]),
        ("begin", &["--begin=now+1hour"]),
        ("down", &["-p", "down"]),
        ("held", &["--hold"]),
        ("dependency", &["-d", &format!("afterok:{full}")]),
        ("impossible", &["-d", &format!("afterok:{failed}")]),
        ("impossible-cancelled", &["-d", &format!("afterok:{failed}"), "--kill-on-invalid-dep=yes"]),
        ("drained", &["-w", "node3"]),
        ("time", &["-p", "short", "-t", "60"]),
        ("nodes", &["-p", "one", "-N", "2"]),
        ("array", &["--array=0-5%1", "-t", "1"]),
    ] {
        stage.sbatch(name, args, script);
    }
    for (name, reason) in
        [("resources", "Resources"), ("begin", "BeginTime"), ("down", "PartitionDown"), ("dependency", "Dependency")]
    {
        let view = stage.until(name, reason, |view| view.reason.as_deref() == Some(reason)).await;
        assert_eq!(view.pending, Some(PendingReason::Waiting(reason.to_owned())));
        assert_eq!((view.started_at, view.ends_at, view.exit, &view.nodes), (None, None, None, &None), "{view:?}");
    }
    let held = stage.until("held", "held", |view| view.reason.as_deref().is_some_and(|reason| reason.starts_with("JobHeld"))).await;
    assert!(matches!(held.pending, Some(PendingReason::Waiting(_))), "{held:?}");
    for (name, reason) in [("time", "PartitionTimeLimit"), ("nodes", "PartitionNodeLimit")] {
        let view = stage.until(name, reason, |view| view.reason.as_deref() == Some(reason)).await;
        assert_eq!(view.pending, Some(PendingReason::NeverStarts(reason.to_owned())));
    }

    // The scheduler's guess: squeue --start, which is the start time of the listing.
    let guess = stage.until("resources", "with a guess", |view| view.expected_start.is_some()).await;
    let first = stage.shown("full-1").iter().find_map(|view| view.ends_at).expect("a running job has an end");
    let expected = guess.expected_start.expect("just seen");
    assert!((expected.as_second() - first.as_second()).abs() < 120, "it starts when a node is free: {guess:?}");
    let told = stage.cluster.slurm("squeue", &["--start", "-h", "-o", "%S", "--name=resources"]);
    assert_ne!(told.trim(), "N/A", "squeue --start knows it too");

    // Arrays are not ours, but somebody's may stand in the same listing: the tasks that wait are one line.
    let array = stage.until("array", "throttled", |view| view.reason.as_deref() == Some("JobArrayTaskLimit")).await;
    assert_eq!(array.pending, Some(PendingReason::Waiting("JobArrayTaskLimit".to_owned())));
    assert!(array.id.parse::<u64>().is_ok(), "{array:?}");

    // A dependency that cannot be met: it waits for ever, or ends where that is asked for.
    let reason = "DependencyNeverSatisfied";
    let never = stage.until("impossible", reason, |view| view.reason.as_deref() == Some(reason)).await;
    assert_eq!((&never.state, never.pending), (&JobState::Pending, Some(PendingReason::NeverStarts(reason.to_owned()))));
    let over = stage.ended("impossible-cancelled").await;
    assert_eq!((&over.state, over.started_at, over.pending), (&JobState::Cancelled, None, None));
}
