//! Each real backend is started once by `launch`, asked in every form that it speaks, and stopped; the tests look at what was
//! seen. Needs EM_TEST_STORE (a store that `em-agent setup` filled with all three backends) and EM_TEST_AGENT (the agent's binary).

use std::collections::{BTreeMap, HashMap};
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use base64::Engine as _;
use em_api::HumanDuration;
use em_api::measurement::ServiceReport;
use em_api::spec::{Backend, BackendKind, Device, Dtype, Model, ParityGate, Pooling, Wire};
use em_embed::launch::{self, Launch, Service, StopReport, launch, supports};
use em_embed::setup;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

const MODEL: &str = "sentence-transformers/all-MiniLM-L6-v2";
const KINDS: [BackendKind; 3] = [BackendKind::Huggingface, BackendKind::Ort, BackendKind::Vllm];
const TEXTS: usize = 200;
const BATCH: usize = 32;

type Vectors = Vec<Vec<f32>>;

/// What one start of one backend showed.
struct Seen {
    report: ServiceReport,
    embedding_dim: usize,
    /// By the wire's name.
    vectors: HashMap<&'static str, Vectors>,
    processes: usize,
    left_behind: Vec<u32>,
    stop: StopReport,
}

#[test]
fn the_three_backends_agree_on_200_real_texts() {
    let reference = &seen(BackendKind::Huggingface).vectors["openai-float"];
    assert_eq!((reference.len(), reference[0].len()), (TEXTS, 384));
    for kind in KINDS {
        let worst = cosines(reference, &seen(kind).vectors["openai-float"]).fold(f64::INFINITY, f64::min);
        println!("{kind}: smallest cosine to huggingface {worst:.7}");
        assert!(worst >= 0.9999, "{kind} says something else than huggingface: cosine {worst}");
    }
    // The comparison can fail: neighbouring texts differ.
    let shifted: Vectors = reference.iter().skip(1).chain(reference.first()).cloned().collect();
    assert!(cosines(reference, &shifted).fold(0.0, f64::max) < 0.9999);
}

#[test]
fn every_form_of_a_request_gives_the_same_vectors() {
    for kind in KINDS {
        let seen = seen(kind);
        assert_eq!(seen.vectors.len(), if kind == BackendKind::Vllm { 2 } else { 3 }, "{kind}");
        for (form, vectors) in &seen.vectors {
            let worst = cosines(&seen.vectors["openai-float"], vectors).fold(f64::INFINITY, f64::min);
            assert!(worst > 0.999_999, "{kind} {form}: {worst}");
        }
    }
}

#[test]
fn a_report_says_what_ran_and_how_long_it_took() {
    for kind in KINDS {
        let Seen { report, embedding_dim, .. } = seen(kind);
        println!("{kind}: {:?} {:?}", report.cold_start, report.versions);
        assert_eq!((report.kind.as_str(), report.device.as_str(), report.dtype.as_str()), (kind.as_str(), "cpu", "float32"));
        assert_eq!(*embedding_dim, 384);
        assert!(report.cold_start.http_ready_s > 0.0 && report.cold_start.first_vector_s >= report.cold_start.http_ready_s);
        assert_eq!(report.url, format!("http://127.0.0.1:{}", report.port));
        let expected: &[&str] = match kind {
            BackendKind::Ort => &["onnxruntime"],
            BackendKind::Vllm => &["vllm", "torch", "transformers"],
            _ => &["torch", "transformers", "sentence-transformers", "langchain-huggingface"],
        };
        assert!(expected.iter().all(|name| report.versions.contains_key(*name)), "{kind}: {:?}", report.versions);
    }
}

#[test]
fn stopping_leaves_no_process() {
    for kind in KINDS {
        let Seen { processes, left_behind, stop, .. } = seen(kind);
        println!("{kind}: {processes} processes, stopped after {:.1} s", stop.seconds);
        assert!(*processes >= if kind == BackendKind::Vllm { 4 } else { 2 }, "{kind}: {processes}");
        assert_eq!(left_behind, &Vec::<u32>::new(), "{kind}");
        assert!(!stop.killed && stop.seconds < 15.0, "{kind} did not stop by itself: {stop:?}");
    }
}

#[test]
fn a_taken_port_moves_the_service_to_another() {
    // `start` holds huggingface's own port while it starts.
    assert_ne!(seen(BackendKind::Huggingface).report.port, BackendKind::Huggingface.default_port());
}

#[test]
fn a_gpu_that_is_not_there_ends_the_start_and_never_becomes_a_cpu() {
    let mut launch_plan = plan(BackendKind::Huggingface, "no-gpu");
    // Past the store's own check of profiles, as with a user's own interpreter.
    launch_plan.backend.args = vec!["--device".into(), "cuda".into()];
    let failed = runtime().block_on(launch(&launch_plan, &CancellationToken::new())).expect_err("there is no GPU here");
    assert_eq!(failed.reason, launch::START_FAILED);
    assert!(failed.message.contains("exit code 1"), "{failed}");
    assert!(failed.log_tail.contains("torch finds no GPU here"), "{}", failed.log_tail);
}

#[test]
fn setting_up_again_changes_nothing_and_is_quick() {
    let store = store();
    let manifests = || {
        let entries = std::fs::read_dir(store.join("manifests")).expect("manifests").flatten();
        entries.map(|entry| (entry.file_name(), std::fs::read(entry.path()).expect("manifest"))).collect::<BTreeMap<_, _>>()
    };
    let before = manifests();
    let args = setup::SetupArgs {
        store: store.clone(),
        backends: KINDS.map(|kind| kind.to_string()).to_vec(),
        profile: "cpu".into(),
        model: MODEL.into(),
        dataset: "wordnet".into(),
        python: "python3".into(),
    };
    let started = Instant::now();
    setup::run(args).expect("setup");
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    assert_eq!(manifests(), before);
}

/// Starts each kind at most once in this process.
fn seen(kind: BackendKind) -> &'static Seen {
    static SEEN: [OnceLock<Seen>; 3] = [OnceLock::new(), OnceLock::new(), OnceLock::new()];
    // One start at a time: two cores.
    static ONE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let index = KINDS.iter().position(|known| *known == kind).expect("one of the three");
    SEEN[index].get_or_init(|| {
        let _one = ONE.lock();
        runtime().block_on(start(kind))
    })
}

async fn start(kind: BackendKind) -> Seen {
    let held = (kind == BackendKind::Huggingface).then(|| TcpListener::bind(("127.0.0.1", kind.default_port())));
    let plan = plan(kind, kind.as_str());
    let mut service =
        launch(&plan, &CancellationToken::new()).await.unwrap_or_else(|failed| panic!("{kind}: {failed}\n{}", failed.log_tail));
    drop(held);
    assert!(service.alive());
    let mut vectors = HashMap::new();
    for (name, wire) in [("openai-float", Wire::OpenaiFloat), ("openai-base64", Wire::OpenaiBase64), ("embed", Wire::Embed)] {
        if supports(kind, wire) {
            vectors.insert(name, embed(&service, wire).await);
        }
    }
    let group = group_of(service.pid.expect("a process of ours"));
    let processes = members(group).len();
    let (report, embedding_dim) = (service.report.clone(), service.embedding_dim);
    let stop = service.stop().await;
    Seen { report, embedding_dim, vectors, processes, left_behind: members(group), stop }
}

fn plan(kind: BackendKind, name: &str) -> Launch {
    let work_dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("services");
    let log_path = work_dir.join(format!("service-{name}-rep1.log"));
    let _ = std::fs::remove_file(&log_path);
    Launch {
        backend: Backend {
            name: name.into(),
            kind,
            device: Device::Cpu,
            dtype: None,
            args: if kind == BackendKind::Vllm { vec!["--enforce-eager".into()] } else { Vec::new() },
            env: Default::default(),
            python: None,
            command: None,
            url: None,
            api_key_file: None,
            api_key_env: None,
            binary: None,
            image: None,
            batch: None,
            start_timeout: HumanDuration::from_secs(300),
            parity: ParityGate::MinCosine { min_cosine: 0.9999 },
        },
        model: Model {
            id: MODEL.into(),
            revision: "main".into(),
            path: None,
            pooling: Pooling::Mean,
            normalize: true,
            dtype: Dtype::Float32,
            max_length: None,
        },
        store_dir: store(),
        work_dir,
        log_path,
        agent_exe: required("EM_TEST_AGENT", "the path of the em-agent binary"),
        cores: None,
        wire: Wire::OpenaiFloat,
    }
}

async fn embed(service: &Service, wire: Wire) -> Vectors {
    let client = reqwest::Client::new();
    let mut vectors = Vec::new();
    for batch in texts().chunks(BATCH) {
        let body = match wire {
            Wire::Embed => json!({"texts": batch}),
            Wire::OpenaiBase64 => json!({"model": service.model_name, "input": batch, "encoding_format": "base64"}),
            _ => json!({"model": service.model_name, "input": batch}),
        };
        let answer = client.post(service.endpoint(wire)).json(&body).send().await.expect("answer");
        let status = answer.status();
        let answer: Value = answer.json().await.expect("JSON");
        assert!(status.is_success(), "{status}: {answer}");
        let found = if wire == Wire::Embed { &answer["embeddings"] } else { &answer["data"] };
        vectors.extend(found.as_array().expect("vectors").iter().map(|one| vector(one, wire)));
    }
    vectors
}

fn vector(value: &Value, wire: Wire) -> Vec<f32> {
    let value = if wire == Wire::Embed { value } else { &value["embedding"] };
    match value {
        Value::String(text) => {
            let bytes = base64::engine::general_purpose::STANDARD.decode(text).expect("base64");
            bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
        }
        list => serde_json::from_value(list.clone()).expect("numbers"),
    }
}

/// Spread over the whole data set, so short and long ones.
fn texts() -> Vec<String> {
    let folder = std::fs::read_dir(store().join("datasets")).expect("datasets").flatten();
    let folder = folder.map(|entry| entry.path()).find(|path| path.join("texts.txt").is_file()).expect("the wordnet data set");
    let all = std::fs::read_to_string(folder.join("texts.txt")).expect("texts");
    let all: Vec<&str> = all.lines().collect();
    all.iter().step_by(all.len() / TEXTS).take(TEXTS).map(|text| (*text).to_owned()).collect()
}

fn cosines<'a>(left: &'a Vectors, right: &'a Vectors) -> impl Iterator<Item = f64> + 'a {
    assert_eq!(left.len(), right.len());
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    left.iter().zip(right).map(move |(a, b)| dot(a, b) / (dot(a, a) * dot(b, b)).sqrt())
}

fn group_of(pid: u32) -> i32 {
    stat_fields(&pid.to_string()).expect("a living process")[2].parse().expect("a number")
}

/// Living processes of a group; the shell that guards it is one of them.
fn members(group: i32) -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").expect("/proc").flatten();
    entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| stat_fields(name).is_some_and(|fields| fields[0] != "Z" && fields[2] == group.to_string()))
        .filter_map(|name| name.parse().ok())
        .collect()
}

/// `state ppid pgrp …` (proc(5)).
fn stat_fields(pid: &str) -> Option<Vec<String>> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(stat.rsplit_once(") ")?.1.split(' ').map(str::to_owned).collect())
}

fn store() -> PathBuf {
    required("EM_TEST_STORE", "an input store that `em-agent setup --backends ort,huggingface,vllm` has filled")
}

fn required(variable: &str, what: &str) -> PathBuf {
    let value = std::env::var_os(variable).unwrap_or_else(|| panic!("set {variable} to {what}; `make test` does"));
    let path = PathBuf::from(value);
    assert!(path.exists(), "{variable} names {}, which does not exist; it must be {what}", path.display());
    path
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime")
}
