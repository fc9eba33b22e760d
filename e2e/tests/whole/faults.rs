//! Bad input and faults that a user meets on the first day.

use std::time::Duration;

use em_api::experiment::ExperimentList;
use em_api::status::{ConditionStatus, ConditionType, Phase, TrialList, TrialPhase};
use em_e2e::{Cluster, ControlPlane};

const SMALL: &str = r#"
apiVersion: em/v1alpha1
kind: Experiment
metadata: {name: small}
spec:
  model: {id: sentence-transformers/all-MiniLM-L6-v2, dtype: float32}
  dataset: {source: wordnet, limit: 5000}
  backends: [{name: ort, type: ort, device: cpu}]
  matrix: {batchSizes: [4], concurrency: [1]}
  load: {duration: 3s, warmup: 1s, repetitions: 1, minRequests: 3}
  slurm: {partition: main, cpusPerTask: 1, time: 10m}
"#;

#[test]
fn three_mistakes_are_told_at_once_and_nothing_is_stored() {
    let cluster = Cluster::up();
    let plane = ControlPlane::start(&cluster);
    let spec = SMALL
        .replace("batchSizes: [4]", "batchSizes: [0]")
        .replace("duration: 3s", "durration: 3s")
        .replace("type: ort", "type: onnx");
    let file = plane.file("wrong.yaml", &spec);

    let output = plane.emctl(&["submit", "-f", file.to_str().unwrap()]);

    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    for part in ["spec.matrix.batchSizes[0]", "spec.load.durration", "`duration`", "spec.backends[0].type"] {
        assert!(said.contains(part), "{part} is not in: {said}");
    }
    let list: ExperimentList = plane.get("/experiments");
    assert!(list.items.is_empty());
    assert!(cluster.job_names().is_empty());
}

#[test]
fn an_experiment_waits_for_slurm_and_goes_on_when_it_is_back() {
    let cluster = Cluster::up();
    let plane = ControlPlane::start(&cluster);
    cluster.kill_controller();
    let file = plane.file("experiment.yaml", SMALL);
    plane.emctl_ok(&["submit", "-f", file.to_str().unwrap()]);
    plane.wait_for("small", "the condition tells that Slurm is away", Duration::from_secs(60), |experiment| {
        experiment
            .status
            .conditions
            .iter()
            .any(|condition| condition.kind == ConditionType::SchedulerReachable && condition.status == ConditionStatus::False)
    });

    cluster.start_controller();

    let experiment = plane.wait_for_end("small", Duration::from_secs(120));
    assert_eq!(experiment.status.phase, Phase::Succeeded, "{}", plane.log());
    assert_eq!(cluster.job_names().len(), 1);
}

#[test]
fn a_service_that_does_not_start_fails_its_trials_with_its_log_and_no_others() {
    let cluster = Cluster::up();
    let plane = ControlPlane::start(&cluster);
    let spec = SMALL.replace(
        "backends: [{name: ort, type: ort, device: cpu}]",
        "backends: [{name: ort, type: ort, device: cpu}, {name: broken, type: huggingface, device: cpu, command: [sh, -c, 'echo the weights are gone; exit 3']}]",
    );
    let file = plane.file("experiment.yaml", &spec);

    let output = plane.emctl(&["submit", "-f", file.to_str().unwrap(), "--wait"]);

    assert_eq!(output.status.code(), Some(1), "{}", plane.log());
    let experiment = plane.experiment("small");
    assert_eq!(experiment.status.phase, Phase::Failed);
    let trials: TrialList = plane.get("/experiments/small/trials");
    let broken = trials.items.iter().find(|trial| trial.backend == "broken").unwrap();
    assert_eq!((broken.phase, broken.reason.as_deref()), (TrialPhase::Failed, Some("ServiceStartFailed")));
    assert!(broken.log_tail.as_deref().is_some_and(|log| log.contains("the weights are gone")), "{broken:?}");
    let ort = trials.items.iter().find(|trial| trial.backend == "ort").unwrap();
    assert_eq!(ort.phase, TrialPhase::Succeeded, "{ort:?}");
}

#[test]
fn a_cancelled_experiment_leaves_no_job_and_no_process() {
    let cluster = Cluster::up();
    let plane = ControlPlane::start(&cluster);
    let file = plane.file("experiment.yaml", &SMALL.replace("duration: 3s", "duration: 2m"));
    plane.emctl_ok(&["submit", "-f", file.to_str().unwrap()]);
    plane.wait_for("small", "a trial is measured", Duration::from_secs(90), |experiment| {
        experiment.status.live.as_ref().is_some_and(|live| live.texts_per_second.is_some())
    });

    plane.emctl_ok(&["cancel", "small"]);

    let experiment = plane.wait_for_end("small", Duration::from_secs(60));
    assert_eq!(experiment.status.phase, Phase::Cancelled);
    assert!(cluster.slurm("squeue", &["-h"]).is_empty());
    let left = processes_that_mention(plane.job_dir().to_str().unwrap());
    assert!(left.is_empty(), "still running: {left:?}");
}

fn processes_that_mention(text: &str) -> Vec<String> {
    std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| std::fs::read(entry.ok()?.path().join("cmdline")).ok())
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .filter(|line| line.contains(text) && !line.contains("em-controlplane"))
        .collect()
}
