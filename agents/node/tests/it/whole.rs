//! Runs that go through, with the server there, away and late.

use std::time::Duration;

use base64::Engine;
use em_api::agent::{AgentPhase, RecordBody};
use em_api::inputs::{EntryKind, key_of, manifest_path};
use em_api::measurement::{Measurement, Outcome};

use crate::control_plane::{ControlPlane, State, free_port};
use crate::job::{Agent, Job, store, wait_until};

fn measured(measurement: &Measurement) -> &em_api::measurement::LoadReport {
    match &measurement.outcome {
        Outcome::Measured { load } => load,
        other => panic!("not measured: {other:?}"),
    }
}

fn ends_well(agent: &mut Agent) {
    let status = agent.wait(Duration::from_secs(40));
    assert!(status.success(), "{status}:\n{}", agent.log());
}

#[test]
fn two_trials_on_ort_arrive_with_vectors_samples_and_a_farewell() {
    let store = store();
    let server = ControlPlane::start();
    let job = Job::new(server.port).service("ort", &[2, 4]).env("SLURM_JOB_ID", "local-1").env("SLURM_JOB_PARTITION", "gpu");
    let mut agent = job.start();
    ends_well(&mut agent);
    agent.assert_nothing_left();

    let state = server.state();
    assert_eq!(state.violations, Vec::<String>::new());
    assert_eq!(state.claims.len(), 1);
    assert_eq!((state.claims[0].attempt, state.claims[0].slurm_job_id.as_str()), (job.plan.attempt, "local-1"));
    assert_eq!(state.measurements.iter().map(|(id, _)| *id).collect::<Vec<_>>(), job.trials());
    let manifest = std::fs::read(manifest_path(&store, EntryKind::Model, &key_of(&job.plan.model))).unwrap();
    let manifest: em_api::inputs::Entry = serde_json::from_slice(&manifest).unwrap();
    for (measurement, batch_size) in state.measured().iter().zip([2, 4]) {
        let load = measured(measurement);
        assert!(load.requests_ok > 0 && load.counts.errors() == 0, "{:?}", load.counts);
        assert_eq!(load.texts_ok, load.requests_ok * batch_size);
        assert_eq!(load.embedding_dim, Some(384));
        assert!(load.generator.headroom_requests_per_s.is_some_and(|most| most > 0.0), "measured once, known from then on");
        assert_eq!(u64::from(measurement.batch_size), batch_size);
        let service = measurement.service.as_ref().expect("a service report");
        assert_eq!(service.kind, "ort");
        let series = measurement.series.as_ref().expect("a series");
        assert_eq!(series.origin, load.window_started_at);
        let window_ms = (load.window_s * 1e3) as i64;
        assert!(series.t_ms.iter().all(|t| (0..=window_ms).contains(t)), "cut to the window: {:?}", series.t_ms);
        assert!(series.t_ms.len() >= 10, "10 Hz over {window_ms} ms: {}", series.t_ms.len());
        let cpu: f64 = series.columns["cpu_cores"].iter().flatten().sum();
        assert!(cpu > 0.0, "the service's own tree is sampled");
        assert_eq!(measurement.environment.slurm_job_id.as_deref(), Some("local-1"));
        assert_eq!(measurement.environment.model_sha256.as_deref(), Some(manifest.sha256.as_str()));
        assert_eq!(measurement.environment.extra["slurm_job_partition"], "gpu");
        assert!(measurement.environment.extra["placement"].contains("cores"));
        assert_eq!(job.spooled(0, measurement.trial).as_ref().map(|spooled| spooled.trial), Some(measurement.trial));
    }
    assert_stream(&state, &job);
}

/// What the records of a whole run hold.
fn assert_stream(state: &State, job: &Job) {
    let bodies = state.bodies();
    let seqs: Vec<u64> = state.records.keys().map(|(_, seq)| *seq).collect();
    assert_eq!(seqs, (0..seqs.len() as u64).collect::<Vec<_>>(), "no record is missing");
    let vectors: Vec<_> =
        bodies.iter().filter_map(|body| if let RecordBody::Parity(vectors) = body { Some(vectors) } else { None }).collect();
    assert_eq!(vectors.len(), 1, "once a start");
    assert_eq!((vectors[0].count, vectors[0].dim, vectors[0].backend.as_str()), (200, 384, "ort"));
    let bytes = base64::engine::general_purpose::STANDARD.decode(&vectors[0].vectors).unwrap();
    let values: Vec<f32> = bytes.chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect();
    assert_eq!(values.len(), 200 * 384);
    let norm: f32 = values[..384].iter().map(|value| value * value).sum();
    assert!((norm - 1.0).abs() < 1e-3, "normalised rows, row-major: {norm}");
    for trial in job.trials() {
        let samples = bodies
            .iter()
            .filter(|body| matches!(body, RecordBody::Sample(sample) if sample.trial == trial && sample.texts_per_s > 0.0));
        assert!(samples.count() >= 1, "live samples of {trial}");
        for wanted in [AgentPhase::WarmUp, AgentPhase::Measuring] {
            let entered = |body: &&RecordBody| matches!(body, RecordBody::Phase { phase, trial: Some(id), .. } if *phase == wanted && *id == trial);
            assert_eq!(bodies.iter().filter(entered).count(), 1, "{wanted:?} of {trial}");
        }
    }
    let expositions: Vec<_> =
        bodies.iter().filter_map(|body| if let RecordBody::Exposition { text } = body { Some(text) } else { None }).collect();
    let last = expositions.last().expect("an exposition");
    assert!(last.contains("em_load_texts_total{backend=\"ort\",batch_size=\"4\",experiment=\"agent-test\"}"), "{last}");
    assert!(last.contains("em_agent_info{"), "{last}");
    assert!(expositions.iter().any(|text| text.contains("em_process_cpu_cores ")), "the service's own processes");
    assert!(bodies.iter().any(|body| matches!(body, RecordBody::Log { stream, .. } if stream == "service")), "the service's log");
    assert!(matches!(bodies.last(), Some(RecordBody::Farewell { message }) if message.contains("2 of 2")), "{:?}", bodies.last());
}

#[test]
fn a_server_that_is_away_leaves_everything_in_the_spool() {
    store();
    let mut job = Job::new(free_port()).service("ort", &[2]).duration(1);
    job.plan.server.as_mut().unwrap().claim_timeout = em_api::HumanDuration::from_secs(1);
    let mut agent = job.start();
    // It waits for the server to come back before it leaves.
    let farewell = || job.spooled_records(0).iter().any(|record| matches!(record.body, RecordBody::Farewell { .. }));
    wait_until("a farewell in the spool", Duration::from_secs(30), farewell);
    measured(&job.spooled(0, job.trials()[0]).expect("in the spool"));
    assert!(job.path().join("claims/0").is_dir(), "the claim was decided in the job directory");
    agent.terminate();
    ends_well(&mut agent);
    agent.assert_nothing_left();
}

#[test]
fn a_server_that_comes_late_gets_everything_once() {
    store();
    let port = free_port();
    let mut job = Job::new(port).service("ort", &[2]).duration(3);
    job.plan.server.as_mut().unwrap().claim_timeout = em_api::HumanDuration::from_secs(1);
    let mut agent = job.start();
    let measuring = || job.spooled_records(0).iter().any(|record| matches!(record.body, RecordBody::Sample(_)));
    wait_until("the trial is measured", Duration::from_secs(30), measuring);
    let server = ControlPlane::start_on(port, State::default());
    ends_well(&mut agent);

    let state = server.state();
    assert_eq!(state.violations, Vec::<String>::new());
    assert_eq!(state.claims.len(), 1, "the claim was confirmed");
    assert_eq!(state.measurements.len(), 1);
    measured(&state.measured()[0]);
    let delivered: Vec<_> = state.records.values().cloned().collect();
    assert_eq!(delivered, job.spooled_records(0), "the stream is the spool's");
    assert!(matches!(delivered.last().map(|record| &record.body), Some(RecordBody::Farewell { .. })));
}
