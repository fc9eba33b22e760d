//! What it takes to run the same again.

use em_api::AttemptId;
use em_api::status::Job;

use super::*;
use crate::results::capsule::gather;

fn job(waited_s: i64) -> Job {
    let submitted_at = em_api::Timestamp::from_second(fixture::START).expect("in range");
    Job {
        id: Some("4711".to_owned()),
        name: "em-job".to_owned(),
        cluster: None,
        node: Some("node1".to_owned()),
        state: "RUNNING".to_owned(),
        attempt_id: AttemptId(fixture::id(&[1])),
        attempt: 1,
        epoch: 0,
        reason: None,
        expected_start: None,
        submitted_at: Some(submitted_at),
        started_at: Some(submitted_at + jiff::SignedDuration::from_secs(waited_s)),
        finished_at: None,
        exit_code: None,
    }
}

#[test]
fn like_nodes_services_and_texts_are_told_once_with_their_trials() {
    let mut input = small();
    input.measurements[0].environment.node = "node2".to_owned();
    let service = input.measurements[1].service.as_mut().expect("started");
    service.versions.insert("vllm".to_owned(), "0.32.0".to_owned());
    let capsule = gather(&input.experiment, &input.measurements, &[job(95), job(-2)]);
    let nodes: Vec<_> = capsule.nodes.iter().map(|one| (one.environment.node.as_str(), one.trials.len())).collect();
    assert_eq!(nodes, [("node2", 1), ("node1", input.measurements.len() - 1)]);
    assert_eq!(capsule.datasets.len(), 1);
    assert_eq!(capsule.datasets[0].seed, 42);
    // One of each backend, and the one that has another version.
    assert_eq!(capsule.services.len(), 3, "{:?}", capsule.services);
    assert_eq!(capsule.services.iter().map(|one| one.trials.len()).sum::<usize>(), input.measurements.len());
    assert_eq!(capsule.jobs.iter().map(|one| one.queue_seconds).collect::<Vec<_>>(), [Some(95.0), Some(0.0)]);
    assert_eq!(capsule.spec, input.experiment.spec);
}
