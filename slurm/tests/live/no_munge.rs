//! The way to the controller is gone, but not the controller.

use std::time::Duration;

use em_slurm::{CancelError, ReadError, Scheduler, SubmitError};
use rustix::process::{Pid, Signal, kill_process};

use crate::cluster::{Cluster, agent, job};

/// Without munge no command can say who it is: nothing is sent, and nothing is known. They try for the better part of a minute.
#[tokio::test]
async fn without_munge_no_controller_is_reached() {
    let cluster = Cluster::up(&[]);
    let slurm = cluster.scheduler_with(Duration::from_secs(300));
    let pid = std::fs::read_to_string(cluster.dir().join("run/munged.pid")).expect("a pid file");
    let pid = pid.trim().parse().ok().and_then(Pid::from_raw).expect("a process id");
    kill_process(pid, Signal::KILL).expect("munged runs");
    let script = job(&cluster, "em-1a2b3c4d-01", agent("true"));
    let (submitted, listed, cancelled) = tokio::join!(cluster.submit(&slurm, &script), slurm.list("em-"), slurm.cancel("1"));
    assert!(matches!(submitted, Err(SubmitError::Unreachable { .. })), "{submitted:?}");
    assert!(matches!(listed, Err(ReadError::Unreachable { .. })), "{listed:?}");
    assert!(matches!(cancelled, Err(CancelError::Unreachable { .. })), "{cancelled:?}");
}
