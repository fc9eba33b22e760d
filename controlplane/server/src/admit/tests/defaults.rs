//! What is filled in, what is kept as given, what is warned of.

use em_api::experiment::{Experiment, Metadata};
use em_api::spec::{Arrival, BackendKind, Desired, Device, Dtype, ParityGate, Pooling, ServiceScope, ShardBy, Wire};
use em_api::status::{Phase, Status, TrialCounts};
use em_api::{ExperimentUid, HumanDuration, Timestamp};
use serde_json::json;

use super::super::NameChoice;
use super::{admitted, set, small, with, yaml};

#[test]
fn defaults_are_filled_in_visibly() {
    let spec = admitted(&small()).spec;
    insta::assert_snapshot!(serde_json::to_string(&spec.load).expect("JSON"), @r#"{"duration":"2m","warmup":"20s","repetitions":5,"arrival":"constant","ramp":null,"trace":null,"textTokens":null,"wire":"openai-float","timeout":"30s","minRequests":700,"service":"perRepetition","placement":"sameNode"}"#);
    insta::assert_snapshot!(serde_json::to_string(&spec.matrix).expect("JSON"), @r#"{"batchSizes":[32],"concurrency":[10]}"#);
    insta::assert_snapshot!(serde_json::to_string(&spec.dataset).expect("JSON"), @r#"{"source":"wordnet","path":null,"limit":100000,"seed":42}"#);
    insta::assert_snapshot!(serde_json::to_string(&spec.backends[0]).expect("JSON"), @r#"{"name":"ort","type":"ort","device":"cpu","dtype":null,"args":[],"env":{},"python":null,"command":null,"url":null,"apiKeyFile":null,"batch":null,"startTimeout":"5m","parity":{"minCosine":0.9999}}"#);
    assert_eq!((spec.model.dtype, spec.model.pooling, spec.model.normalize), (Dtype::Float32, Pooling::Mean, true));
    assert_eq!((spec.model.revision.as_str(), spec.slurm.time.minutes, spec.slurm.nodes), ("main", 240, 1));
    assert_eq!((spec.retries, spec.max_continuations, spec.priority, spec.desired), (2, 10, 0, Desired::Run));
    assert_eq!((spec.ttl, spec.logs_ttl, spec.slurm.shard), (None, HumanDuration::from_secs(30 * 86_400), ShardBy::Experiment));
}

#[test]
fn given_values_are_kept() {
    let spec = admitted(&yaml(
        "{apiVersion: em/v1alpha1, kind: Experiment, metadata: {generateName: run-, labels: {team: search}, annotations: {a/b: 'free\ntext'}},
          spec: {desired: Suspended, retries: 0, priority: -5, ttl: 7d, logsTtl: 1d, maxContinuations: 0, retryTrials: true, allowDownload: true,
            model: {id: org/model, revision: refs/pr/1, path: /models/x, pooling: cls, normalize: false, dtype: bfloat16, maxLength: 512},
            dataset: {source: msmarco, path: /data/collection.tsv, limit: 100K, seed: 0},
            backends: [{name: v, type: vllm, device: cpu, dtype: float32, args: [--a, b], env: {X: 1, Y: ''}, batch: 8, startTimeout: 1h, parity: report}],
            matrix: {batchSizes: 8, requestRate: [0.5, 250]},
            load: {duration: 90s, warmup: 0s, repetitions: 100, arrival: poisson, textTokens: {min: 3, max: 9}, wire: openai-base64, timeout: 250ms, minRequests: 0, service: perTrial},
            slo: {p99Ms: 50, successRate: 0.999}, cost: {perGpuHour: 1.2},
            slurm: {gres: 'gpu:l40s:1', gpus: 1, cpusPerTask: 8, memory: 32GiB, time: 90, nice: -3, exclusive: true, modules: [cuda/12.1],
              setup: ['export A=\"b\"'], env: {A: b}, extraArgs: ['--ntasks=1'], requeue: true, partition: gpu}}}",
    ))
    .spec;
    assert_eq!(spec.desired, Desired::Suspended);
    assert_eq!(
        (spec.retries, spec.priority, spec.max_continuations, spec.retry_trials, spec.allow_download),
        (0, -5, 0, true, true)
    );
    assert_eq!((spec.dataset.limit, spec.dataset.seed, spec.model.pooling), (100_000, 0, Pooling::Cls));
    let backend = &spec.backends[0];
    assert_eq!(
        (backend.kind, backend.device, backend.dtype, backend.batch),
        (BackendKind::Vllm, Device::Cpu, Some(Dtype::Float32), Some(8))
    );
    assert_eq!((backend.env["X"].as_str(), backend.env["Y"].as_str(), backend.parity), ("1", "", ParityGate::Report));
    assert_eq!(
        (spec.matrix.batch_sizes, spec.matrix.concurrency, spec.matrix.request_rate),
        (vec![8], None, Some(vec![0.5, 250.0]))
    );
    let load = &spec.load;
    assert_eq!((load.arrival, load.wire, load.service), (Arrival::Poisson, Wire::OpenaiBase64, ServiceScope::PerTrial));
    assert_eq!((load.warmup.0.as_secs(), load.timeout.0.as_millis(), load.repetitions, load.min_requests), (0, 250, 100, 0));
    assert_eq!(spec.cost.map(|cost| cost.currency), Some("USD".to_owned()));
    let slurm = &spec.slurm;
    assert_eq!((slurm.time.minutes, slurm.memory.as_deref(), slurm.gpus.as_deref()), (90, Some("32G"), Some("1")));
}

#[test]
fn slurm_sizes_and_times_are_read_in_their_usual_spellings() {
    for (written, stored) in [
        (json!("32G"), "32G"),
        (json!("32GB"), "32G"),
        (json!("1.5G"), ""),
        (json!(4096), "4096M"),
        (json!("512 mb"), "512M"),
        (json!("2TiB"), "2T"),
        (json!("32X"), ""),
        (json!(0), ""),
        (json!(-1), ""),
    ] {
        let found = super::admit(&with("/spec/slurm/memory", written.clone())).ok().and_then(|admitted| admitted.spec.slurm.memory);
        assert_eq!(found.unwrap_or_default(), stored, "{written}");
    }
    for (written, minutes) in [
        (json!("4h"), 240),
        (json!(90), 90),
        (json!("04:00:00"), 240),
        (json!("1-12:30"), 2190),
        (json!("2-0"), 2880),
        (json!(4.5), 0),
        (json!("0"), 0),
        (json!("x"), 0),
    ] {
        let found = super::admit(&with("/spec/slurm/time", written.clone())).ok().map(|admitted| admitted.spec.slurm.time.minutes);
        assert_eq!(found.unwrap_or_default(), minutes, "{written}");
    }
}

#[test]
fn a_job_with_gpus_uses_them_unless_told_otherwise() {
    for (slurm, device) in [
        (json!({"gres": "gpu:l40s:1"}), Device::Cuda),
        (json!({"gpus": "1"}), Device::Cuda),
        (json!({"gpusPerNode": 2}), Device::Cuda),
        (json!({"gres": "nvme:1"}), Device::Cpu),
        (json!({}), Device::Cpu),
    ] {
        assert_eq!(admitted(&with("/spec/slurm", slurm.clone())).spec.backends[0].device, device, "{slurm}");
    }
}

#[test]
fn the_parity_gate_follows_the_coarser_number_format() {
    let gates = |model: &str, hf: Option<&str>, reference: Option<&str>| {
        let mut body = with("/spec/model/dtype", json!(model));
        set(&mut body, "/spec/backends/0/dtype", json!("float32"));
        set(&mut body, "/spec/backends/1/dtype", json!(hf));
        set(&mut body, "/spec/checks/parity/reference", json!(reference));
        admitted(&body).spec.backends.iter().map(|backend| backend.parity).collect::<Vec<_>>()
    };
    let least = |min_cosine| ParityGate::MinCosine { min_cosine };
    assert_eq!(gates("float32", None, Some("hf")), [least(0.9999), least(0.9999)]);
    assert_eq!(gates("float16", None, None), [least(0.9999), least(0.999)], "the model's format holds where a backend has none");
    assert_eq!(gates("float32", Some("bfloat16"), Some("hf")), [least(0.999), least(0.999)], "the reference is coarse itself");
    let mut int8 = with("/spec/backends/0", json!({"name": "any", "type": "openai", "url": "http://host:1", "dtype": "int8"}));
    assert_eq!(admitted(&int8).spec.backends[0].parity, ParityGate::Report);
    set(&mut int8, "/spec/backends/0/parity", json!({"minCosine": 0.95}));
    assert_eq!(admitted(&int8).spec.backends[0].parity, least(0.95));
}

#[test]
fn a_sweep_makes_a_named_variant_of_each_combination() {
    let body = with(
        "/spec/backends/0",
        json!({"name": "vllm", "type": "vllm", "args": ["--enforce-eager"],
        "sweep": {"api-server-count": [1, 4], "dtype": ["float32", "float16"]}}),
    );
    let spec = admitted(&body).spec;
    let shown: Vec<String> =
        spec.backends.iter().map(|backend| format!("{} {:?} {}", backend.name, backend.dtype, backend.args.join(" "))).collect();
    insta::assert_snapshot!(shown.join("\n"), @"
    vllm-api-server-count-1-dtype-float32 Some(Float32) --enforce-eager --api-server-count 1
    vllm-api-server-count-1-dtype-float16 Some(Float16) --enforce-eager --api-server-count 1
    vllm-api-server-count-4-dtype-float32 Some(Float32) --enforce-eager --api-server-count 4
    vllm-api-server-count-4-dtype-float16 Some(Float16) --enforce-eager --api-server-count 4
    hf None 
    ");
}

#[test]
fn what_get_returns_is_admitted_again_and_is_the_same() {
    let body = with("/spec/backends/0", json!({"name": "vllm", "type": "vllm", "sweep": {"max-num-seqs": [64, 256]}}));
    let first = admitted(&body);
    let shown = Experiment {
        api_version: "em/v1alpha1".to_owned(),
        kind: "Experiment".to_owned(),
        metadata: Metadata {
            name: "small".to_owned(),
            labels: first.labels.clone(),
            annotations: first.annotations.clone(),
            uid: ExperimentUid::generate(),
            owner: "someone".to_owned(),
            resource_version: 7,
            generation: 1,
            created_at: Timestamp::UNIX_EPOCH,
            deleted_at: None,
        },
        spec: first.spec.clone(),
        status: Status {
            phase: Phase::Running,
            observed_generation: 1,
            message: None,
            conditions: Vec::new(),
            trials: TrialCounts::default(),
            jobs: Vec::new(),
            live: None,
            estimated_seconds: None,
            started_at: None,
            finished_at: None,
        },
    };
    let again = admitted(&serde_json::to_value(&shown).expect("JSON"));
    assert_eq!((again.name, again.spec), (NameChoice::Given("small".to_owned()), first.spec));
}

#[test]
fn the_estimate_counts_trials_and_starts_and_warns_above_the_limit() {
    // 2 backends × 5 repetitions × 140 s, and 5 starts each of ort (3 s) and huggingface (20 s).
    let plain = admitted(&small());
    assert_eq!(plain.estimated_seconds, 10 * 140 + 5 * 23);
    assert_eq!(plain.warnings, ["no checks.parity.reference: whether the backends compute the same vectors stays unknown"]);
    let mut body = with("/spec/slurm/time", json!("10m"));
    set(&mut body, "/spec/checks/parity/reference", json!("hf"));
    set(&mut body, "/spec/backends/0/device", json!("cuda"));
    assert_eq!(
        admitted(&body).warnings,
        [
            "about 26 min of work are above slurm.time (00:10:00): about 2 continuations in further jobs",
            "device cuda (ort), but the job asks Slurm for no GPU: set slurm.gres or slurm.gpus",
        ]
    );
    set(&mut body, "/spec/load/repetitions", json!(2));
    assert!(admitted(&body).warnings[0].starts_with("2 of load.repetitions gives no verdict"));
}
