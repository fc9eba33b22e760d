//! Ends by time, the shortest limit being one minute.

use em_slurm::{JobOptions, JobState, PendingReason};

use crate::cluster::{agent, job, witness};
use crate::stage::{Stage, status};

#[tokio::test(flavor = "multi_thread")]
async fn a_job_out_of_time_is_told_before_and_ends_as_its_state_says() {
    let stage = &Stage::up(&[("ACCT", "1"), ("NODES", "2"), ("CPUS", "8"), ("KILLWAIT", "5"), ("MINJOBAGE", "20")], "");
    stage.sbatch("timeout", &["-t", "1"], "#!/bin/bash\nsleep 300\n");
    stage.sbatch("in-time", &["-t", "1", "--signal=B:TERM@30"], "#!/bin/bash\ntrap 'exit 0' TERM\nsleep 300 & wait\n");
    stage.sbatch("fills", &["-t", "30", "-w", "node2", "-c", "8"], "#!/bin/bash\nsleep 300\n");
    stage.until("fills", "running", |view| view.state == JobState::Running).await;
    // A deadline nearer than the time limit would be refused at once.
    stage.sbatch("deadline", &["-t", "1", "-w", "node2", "--deadline=now+65seconds"], "#!/bin/bash\n");
    let minute = JobOptions { time_minutes: Some(1), ..JobOptions::default() };
    let mut polite = job(&stage.cluster, "polite", agent("trap ': > told; exit 5' TERM; sleep 300 & wait"));
    polite.options = minute.clone();
    let mut deaf = job(&stage.cluster, "deaf", agent("trap ': > told' TERM; while :; do sleep 1; done"));
    deaf.options = minute;
    for script in [&polite, &deaf] {
        stage.cluster.submit(&stage.slurm, script).await.expect("accepted");
    }

    let view = stage.ended("in-time").await;
    assert_eq!((&view.state, view.exit, view.reason.as_deref()), (&JobState::Completed, status(0, 0), None), "{view:?}");
    let view = stage.ended("polite").await;
    assert_eq!((&view.state, view.exit), (&JobState::Failed, status(5, 0)), "{view:?}");
    assert_eq!(witness(&polite), (5, 0));

    let view = stage.ended("timeout").await;
    assert_eq!(
        (&view.state, view.exit, view.reason.as_deref()),
        (&JobState::Timeout, status(0, 15), Some("TimeLimit")),
        "{view:?}"
    );
    let view = stage.ended("deaf").await;
    assert_eq!((&view.state, view.pending.as_ref()), (&JobState::Timeout, None::<&PendingReason>), "{view:?}");
    for script in [&polite, &deaf] {
        assert!(script.job_dir.join("told").exists(), "TERM did not reach the agent of {}", script.name);
    }
    assert_eq!(em_slurm::Witness::read(&deaf.job_dir).expect("readable"), None, "killed by -9: no witness");

    let view = stage.ended("deadline").await;
    assert_eq!((&view.state, view.exit, view.started_at), (&JobState::Deadline, status(0, 1), None), "{view:?}");
    for (name, state) in [("timeout", JobState::Timeout), ("in-time", JobState::Completed), ("deadline", JobState::Deadline)] {
        assert_eq!(stage.accounted(name).await.state, state);
    }
}
