//! Two jobs of one submission, and the one with the higher id starts first: it holds the claim, so it is kept.

use std::time::Duration;

use em_api::status::{EventList, JobList, Phase};
use em_e2e::{Cluster, EmbeddingServer, Fault, FaultySbatch};

use super::{experiment, jobs, plane};

#[test]
fn the_duplicate_that_starts_first_is_kept_and_the_lower_id_is_cancelled() {
    let cluster = Cluster::up();
    let sbatch = FaultySbatch::new(&[Fault::HigherIdFirst]);
    let plane = plane(&cluster, &sbatch);
    let server = EmbeddingServer::start();
    let file = plane.file("experiment.yaml", &experiment("doubled", 1, &server));
    plane.emctl_ok(&["submit", "-f", &file.to_string_lossy()]);

    let done = plane.wait_for_end("doubled", Duration::from_secs(90));

    assert_eq!((done.status.phase, done.status.trials.succeeded), (Phase::Succeeded, 1), "{}", plane.log());
    assert_eq!(sbatch.calls(), 1, "what was found is not submitted again");
    let records = cluster.slurm("squeue", &["-h", "-t", "all", "-o", "%i|%T"]);
    let mut records: Vec<(u64, &str)> =
        records.lines().filter_map(|line| line.split_once('|')).map(|(id, state)| (id.parse().expect("an id"), state)).collect();
    records.sort_unstable();
    let [(_, lower), (higher_id, higher)] = records[..] else { panic!("two jobs: {records:?}") };
    assert_eq!((lower, higher), ("CANCELLED", "COMPLETED"));
    let kept: JobList = plane.get("/experiments/doubled/jobs");
    assert_eq!(kept.items.iter().map(|job| job.id.clone()).collect::<Vec<_>>(), [Some(higher_id.to_string())]);
    let attempts = jobs::attempts(&plane.job_dir());
    let claims: Vec<_> = attempts.values().flatten().flat_map(|attempt| attempt.claims.clone()).collect();
    assert_eq!(claims, [(0, higher_id.to_string())]);
    let events: EventList = plane.get("/experiments/doubled/events");
    assert!(events.items.iter().any(|event| event.reason == "DuplicateCancelled"), "{events:?}");
}
