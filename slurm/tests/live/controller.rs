//! The controller loses its last seconds when it is killed: a job that was accepted is unknown afterwards, and its id goes to another.

use em_slurm::Scheduler;
use rustix::process::Signal;

use crate::cluster::{Cluster, agent, job, wait_for};

/// State is saved every few seconds, so the second job is submitted and lost within the same second. Name and submit time tell the
/// two owners of an id apart.
#[tokio::test]
async fn an_id_given_twice_is_told_apart_by_name_and_submit_time() {
    let cluster = Cluster::up(&[]);
    let slurm = cluster.scheduler();
    // A save takes place some seconds after a change: after the one for this job nothing else is due.
    let kept = job(&cluster, "em-1a2b3c4d-kept", agent("sleep 300"));
    let kept_id = cluster.submit(&slurm, &kept).await.expect("accepted").id;
    let state = cluster.dir().join("state/job_state");
    wait_for("the first job to be saved", || {
        std::fs::read(&state).is_ok_and(|bytes| bytes.windows(kept.name.len()).any(|part| part == kept.name.as_bytes()))
    })
    .await;

    let lost = job(&cluster, "em-1a2b3c4d-lost", agent("touch up; sleep 300"));
    let lost_id = cluster.submit(&slurm, &lost).await.expect("accepted").id;
    let seen = slurm.find(&lost.name).await.expect("an answer").pop().expect("just accepted");
    cluster.end_controller_by(Signal::KILL).await;
    // Submit times are whole seconds.
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    cluster.start_controller();
    wait_for("the controller", || !cluster.slurm("squeue", &["-h"]).is_empty()).await;

    assert_eq!(slurm.find(&lost.name).await.expect("an answer"), [], "Slurm now saves at once: this case can go");
    let next = job(&cluster, "em-1a2b3c4d-next", agent("sleep 300"));
    let next_id = cluster.submit(&slurm, &next).await.expect("accepted").id;
    assert_eq!(next_id, lost_id, "Slurm no longer reuses the id: this case can go");

    let listed = slurm.list("em-1a2b3c4d-").await.expect("an answer");
    let owner = listed.iter().find(|view| view.id == lost_id).expect("listed");
    assert_eq!(owner.name, next.name);
    assert!(owner.submitted_at > seen.submitted_at, "{owner:?} {seen:?}");
    assert!(listed.iter().any(|view| view.id == kept_id && view.name == kept.name));
}
