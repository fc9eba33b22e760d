//! Without accounting: what is left of a job that the controller has forgotten.

use std::time::{Duration, Instant};

use em_slurm::Scheduler;

use crate::cluster::{Cluster, agent, job, witness};

#[tokio::test]
async fn the_witness_speaks_for_a_job_that_nobody_remembers() {
    let cluster = Cluster::up(&[("MINJOBAGE", "2")]);
    let slurm = cluster.scheduler();
    let script = job(&cluster, "em-1a2b3c4d-01", agent("exit 137"));
    cluster.submit(&slurm, &script).await.expect("accepted");
    let over = cluster.view(&slurm, &script.name, |view| view.state.ended()).await;
    assert_eq!(over.exit.map(|exit| exit.code), Some(137));
    let end = Instant::now() + Duration::from_secs(90);
    while !slurm.find(&script.name).await.expect("no accounting is no error").is_empty() {
        assert!(Instant::now() < end, "the controller does not forget");
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    assert_eq!(slurm.list("em-").await.expect("an answer"), []);
    assert_eq!(witness(&script), (137, 0));
}
