//! Each real backend is started once by `launch`, asked in every form that it speaks, and stopped; the tests look at what was
//! seen, and the conformance suite runs against each. Needs EM_TEST_STORE (a store that `em-agent setup` filled with all three backends) and EM_TEST_AGENT (the agent's binary).

use std::collections::{BTreeMap, HashMap};
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use base64::Engine as _;
use em_api::HumanDuration;
use em_api::measurement::ServiceReport;
use em_api::spec::{Backend, BackendKind, Device, Dtype, Model, ParityGate, Pooling, Wire};
use em_embed::conformance::{self, Difference, Line, Settings, Subject, Verdict};
use em_embed::launch::{self, Launch, Service, StopReport, launch, supports};
use em_embed::{parity, setup};
use em_stats::vectors::{LENGTH_TOLERANCE, agreement, neighbour_overlap};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

const MODEL: &str = "sentence-transformers/all-MiniLM-L6-v2";
const KINDS: [BackendKind; 3] = [BackendKind::Huggingface, BackendKind::Ort, BackendKind::Vllm];
const BATCH: usize = 32;

type Vectors = Vec<Vec<f32>>;

/// What one start of one backend showed.
struct Seen {
    report: ServiceReport,
    embedding_dim: usize,
    /// By the wire's name.
    vectors: HashMap<&'static str, Vectors>,
    conformance: Vec<Line>,
    processes: usize,
    left_behind: Vec<u32>,
    stop: StopReport,
}

#[test]
fn each_pair_of_kinds_gives_the_same_vectors() {
    for (place, one) in KINDS.into_iter().enumerate() {
        for other in &KINDS[place + 1..] {
            let (own, right) = (&seen(one).vectors["openai-float"], &seen(*other).vectors["openai-float"]);
            assert_eq!((own.len(), own[0].len(), right[0].len()), (parity::COUNT, 384, 384));
            let (own, right) = (own.concat(), right.concat());
            let seen = agreement(&own, &right, 384);
            let overlap = neighbour_overlap(&own, &right, 384).expect("200 texts");
            println!("{one} and {other}: {seen:?}, neighbours {overlap:.4}");
            assert!(seen.min_cosine >= 0.9999 && seen.max_length_difference < LENGTH_TOLERANCE, "{one} and {other}: {seen:?}");
            assert!(overlap > 0.995, "{one} and {other}: {overlap}");
        }
    }
}

/// What must be noticed: another pooling, no normalisation, another cut, another tokenizer.
#[test]
fn each_planted_fault_fails_the_comparison() {
    let right = seen(BackendKind::Huggingface).vectors["openai-float"].concat();
    type Plant = fn(&mut Launch);
    let planted: [(&str, Plant); 4] = [
        ("cls in place of mean pooling", |launch| launch.model.pooling = Pooling::Cls),
        ("no normalisation", |launch| launch.model.normalize = false),
        ("cut at 64 tokens", |launch| launch.model.max_length = Some(64)),
        ("a tokenizer that keeps case and accents", |launch| launch.model.path = Some(with_another_tokenizer(launch))),
    ];
    for (fault, plant) in planted {
        let mut faulty = plan(BackendKind::Ort, "faulty");
        plant(&mut faulty);
        let vectors = runtime().block_on(async {
            let service = launch(&faulty, &CancellationToken::new()).await.unwrap_or_else(|failed| panic!("{fault}: {failed}"));
            let vectors = embed(&service, Wire::OpenaiFloat).await;
            service.stop().await;
            vectors
        });
        let seen = agreement(&vectors.concat(), &right, 384);
        println!("{fault}: {seen:?}");
        let noticed = seen.min_cosine < 0.999 || seen.max_length_difference > LENGTH_TOLERANCE;
        assert!(noticed, "{fault} went unnoticed: {seen:?}");
    }
}

/// A copy of the model's folder whose tokenizer does not fold case.
fn with_another_tokenizer(launch: &Launch) -> String {
    let original = store().join("models/sentence-transformers--all-MiniLM-L6-v2@main");
    let folder = launch.work_dir.join("another-tokenizer");
    std::fs::create_dir_all(&folder).expect("folder");
    for entry in std::fs::read_dir(&original).expect("the model").flatten() {
        let link = folder.join(entry.file_name());
        if !link.exists() && entry.file_name() != "tokenizer.json" && entry.file_name() != "onnx" {
            std::os::unix::fs::symlink(entry.path(), link).expect("link");
        }
    }
    let mut tokenizer: Value =
        serde_json::from_slice(&std::fs::read(original.join("tokenizer.json")).expect("tokenizer")).expect("JSON");
    tokenizer["normalizer"]["lowercase"] = json!(false);
    tokenizer["normalizer"]["strip_accents"] = json!(false);
    std::fs::write(folder.join("tokenizer.json"), tokenizer.to_string()).expect("write");
    folder.display().to_string()
}

#[test]
fn each_kind_conforms_and_differs_only_as_it_is_known_to() {
    for kind in KINDS {
        let lines = &seen(kind).conformance;
        println!("{kind}\n{}", conformance::table(lines));
        let failed: Vec<&Line> = lines.iter().filter(|line| line.verdict == Verdict::Failed).collect();
        assert!(failed.is_empty(), "{kind}: {failed:#?}");
        let done = lines.iter().filter(|line| line.verdict != Verdict::Skipped).count();
        assert!(done >= 50, "{kind}: {done} checks were done");
        let mut met: Vec<&str> = lines.iter().filter_map(|line| line.difference).collect();
        met.sort_unstable();
        met.dedup();
        let mut known: Vec<&str> = conformance::known(kind).iter().copied().map(Difference::name).collect();
        // vLLM's end takes long, see `start`.
        known.retain(|name| kind != BackendKind::Vllm || *name != Difference::DropsOpenRequests.name());
        known.sort_unstable();
        assert_eq!(met, known, "{kind}: what is written of it in conformance/profile.rs is what it does");
    }
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
            BackendKind::Vllm => &["python", "vllm", "torch", "transformers"],
            _ => &["python", "torch", "transformers", "sentence-transformers", "langchain-huggingface"],
        };
        assert!(expected.iter().all(|name| report.versions.contains_key(*name)), "{kind}: {:?}", report.versions);
        assert!(!report.versions.contains_key("python_version"), "told once: {:?}", report.versions);
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
        revision: "main".into(),
        dataset: "wordnet".into(),
        python: "python3".into(),
    };
    let started = Instant::now();
    setup::run(args).expect("setup");
    assert!(started.elapsed() < Duration::from_secs(60), "it made something again: {:?}", started.elapsed());
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
    // How vLLM ends with a request open takes it 12 s and more; `em-agent conformance --pid` looks at that.
    let conformance = conform(&service, kind, service.pid.filter(|_| kind != BackendKind::Vllm)).await;
    let (report, embedding_dim) = (service.report.clone(), service.embedding_dim);
    let stop = service.stop().await;
    Seen { report, embedding_dim, vectors, conformance, processes, left_behind: members(group), stop }
}

async fn conform(service: &Service, kind: BackendKind, pid: Option<u32>) -> Vec<Line> {
    let settings = Settings {
        min_cosine: 0.9999,
        long_words: 1_000,
        max_texts: 128,
        normalized: true,
        tokenizer: Some(store().join("models/sentence-transformers--all-MiniLM-L6-v2@main/tokenizer.json")),
        pid,
    };
    let model = Some(service.model_name.clone());
    let subject = Subject::new(service.base_url.clone(), kind, model, None, settings).await.expect("a subject");
    conformance::examine(&subject).await
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
    for batch in parity::texts().chunks(BATCH) {
        let mut body = match wire {
            Wire::Embed => json!({"texts": batch}),
            Wire::OpenaiBase64 => json!({"model": service.model_name, "input": batch, "encoding_format": "base64"}),
            _ => json!({"model": service.model_name, "input": batch}),
        };
        body.as_object_mut().expect("an object").extend(service.request_fields.clone());
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
