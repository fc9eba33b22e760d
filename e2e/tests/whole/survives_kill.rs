//! The control plane dies by kill -9 while its job runs, and comes back: nothing is lost, nothing is doubled.

use std::time::Duration;

use em_api::status::{JobList, Phase};
use em_e2e::{Cluster, ControlPlane};

const EXPERIMENT: &str = r#"
apiVersion: em/v1alpha1
kind: Experiment
metadata: {name: survivor}
spec:
  model: {id: sentence-transformers/all-MiniLM-L6-v2, dtype: float32}
  dataset: {source: wordnet, limit: 20000, seed: 1}
  backends: [{name: ort, type: ort, device: cpu}]
  matrix: {batchSizes: [2, 4], concurrency: [2]}
  load: {duration: 3s, warmup: 1s, repetitions: 3, minRequests: 3}
  slurm: {partition: main, cpusPerTask: 2, time: 10m}
"#;

#[test]
fn a_killed_control_plane_finds_its_job_and_all_measurements() {
    let cluster = Cluster::up();
    let mut plane = ControlPlane::start(&cluster);
    let file = plane.file("experiment.yaml", EXPERIMENT);
    plane.emctl_ok(&["submit", "-f", file.to_str().unwrap()]);
    plane.wait_for("survivor", "one trial is done", Duration::from_secs(90), |experiment| experiment.status.trials.succeeded >= 1);

    plane.kill();
    // Long enough for the agent to finish trials that it can tell nobody of.
    std::thread::sleep(Duration::from_secs(8));
    plane.restart();

    let experiment = plane.wait_for_end("survivor", Duration::from_secs(120));
    assert_eq!(experiment.status.phase, Phase::Succeeded, "{}", plane.log());
    assert_eq!(experiment.status.trials.succeeded, 6);
    let results = plane.results("survivor");
    assert!(results.cells.iter().all(|cell| cell.repetitions + cell.inconclusive + cell.invalid == 3), "{:?}", results.cells);
    assert_eq!(cluster.job_names().len(), 1, "{:?}", cluster.job_names());
    let jobs: JobList = plane.get("/experiments/survivor/jobs");
    assert_eq!(jobs.items.len(), 1);
    assert_eq!(jobs.items[0].epoch, 0);
}

#[test]
fn a_control_plane_killed_during_submission_adopts_the_job() {
    let cluster = Cluster::up();
    adopts(&cluster, ControlPlane::start(&cluster));
}

#[test]
fn through_slurmrestd_it_adopts_the_job_as_well() {
    let cluster = Cluster::up_with(&[("REST", "1")]);
    let url = cluster.variable("SLURMRESTD_URL");
    let rest = ["--scheduler", "rest", "--slurmrestd", &url, "--slurmrestd-token-command", "scontrol token lifespan=3600"];
    let settings = ["--poll-interval", "1s", "--fast-poll-interval", "1s", "--settle-time", "2s"];
    adopts(&cluster, ControlPlane::start_with(&cluster, &[rest.as_slice(), &settings].concat()));
}

fn adopts(cluster: &Cluster, mut plane: ControlPlane) {
    let file =
        plane.file("experiment.yaml", &EXPERIMENT.replace("survivor", "adopted").replace("repetitions: 3", "repetitions: 1"));
    plane.emctl_ok(&["submit", "-f", file.to_str().unwrap()]);
    // As close to sbatch as can be: the job exists for Slurm, the server has had no time to do anything with it.
    em_e2e::wait_until("the job is known to Slurm", Duration::from_secs(20), || (!cluster.job_names().is_empty()).then_some(()));
    plane.kill();
    plane.restart();

    let experiment = plane.wait_for_end("adopted", Duration::from_secs(120));
    assert_eq!(experiment.status.phase, Phase::Succeeded, "{}", plane.log());
    assert_eq!(cluster.job_names().len(), 1, "{:?}", cluster.job_names());
}
