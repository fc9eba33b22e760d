//! Command lines by literals; starts with small shell commands and with a server inside the test (fakes: no model is loaded).

use std::path::Path;
use std::time::{Duration, Instant};

use actix_web::{App, HttpResponse, HttpServer, web};
use em_api::HumanDuration;
use em_api::spec::{Backend, BackendKind, Device, Dtype, Model, ParityGate, Pooling, Wire};
use tokio_util::sync::CancellationToken;

use super::*;

fn launch_of(kind: BackendKind, folder: &Path) -> Launch {
    Launch {
        backend: Backend {
            name: "b".into(),
            kind,
            device: Device::Cpu,
            dtype: None,
            args: Vec::new(),
            env: Default::default(),
            python: None,
            command: None,
            url: None,
            api_key_file: None,
            api_key_env: None,
            binary: None,
            image: None,
            batch: None,
            start_timeout: HumanDuration::from_secs(20),
            parity: ParityGate::Report,
        },
        model: Model {
            id: "org/model".into(),
            revision: "main".into(),
            path: Some("/".into()),
            pooling: Pooling::Mean,
            normalize: true,
            dtype: Dtype::Float32,
            max_length: None,
        },
        store_dir: folder.join("store"),
        work_dir: folder.to_path_buf(),
        log_path: folder.join("service.log"),
        agent_exe: "/agent".into(),
        cores: None,
        wire: Wire::OpenaiFloat,
    }
}

fn shell(folder: &Path, script: &str) -> Launch {
    let mut launch = launch_of(BackendKind::Openai, folder);
    launch.backend.command = Some(vec!["/bin/sh".into(), "-c".into(), script.into()]);
    launch
}

/// A manifest with the file that it names.
fn store_entry(launch: &Launch, kind: &str, profile: &str) {
    for folder in ["manifests", "lib"] {
        std::fs::create_dir_all(launch.store_dir.join(folder)).expect("store");
    }
    std::fs::write(launch.store_dir.join("lib/file"), "").expect("file");
    let entry = serde_json::json!({
        "kind": "backend", "key": kind, "path": "lib", "sha256": "", "created_at": "2026-11-24T00:00:00Z",
        "details": {"python": "lib/file", "library": "lib/file", "profile": profile, "torch": "2.13.0"},
    });
    std::fs::write(launch.store_dir.join(format!("manifests/backend-{kind}.json")), entry.to_string()).expect("manifest");
}

#[test]
fn vllm_is_started_as_its_users_do() {
    let folder = tempfile::tempdir().expect("folder");
    let mut launch = launch_of(BackendKind::Vllm, folder.path());
    store_entry(&launch, "vllm", "cpu");
    launch.cores = Some(vec![0, 1, 2]);
    launch.backend.args = vec!["--enforce-eager".into()];
    launch.backend.env.insert("OMP_NUM_THREADS".into(), "1".into());
    launch.model.max_length = Some(128);
    let plan = command::plan(&launch, 8001).expect("plan");
    insta::assert_snapshot!(plan.args.join(" "), @r#"-m vllm.entrypoints.cli.main serve / --runner pooling --host 127.0.0.1 --port 8001 --served-model-name org/model --dtype float32 --pooler-config {"pooling_type":"MEAN","use_activation":true} --max-model-len 128 --enforce-eager"#);
    assert_eq!(plan.env["OMP_NUM_THREADS"], "1", "the user's own word wins");
    assert_eq!(plan.env["VLLM_CPU_OMP_THREADS_BIND"], "nobind");
    assert_eq!(plan.versions.get("torch").map(String::as_str), Some("2.13.0"));
    assert_eq!(plan.warm_cache, None, "eager compiles nothing");
    launch.backend.args.clear();
    launch.backend.env.clear();
    let plan = command::plan(&launch, 8001).expect("plan");
    assert_eq!((plan.env["OMP_NUM_THREADS"].as_str(), plan.warm_cache), ("3", Some(false)));
}

#[test]
fn a_gpu_start_carries_no_cpu_settings_and_needs_the_gpu_build() {
    let folder = tempfile::tempdir().expect("folder");
    let mut launch = launch_of(BackendKind::Vllm, folder.path());
    launch.backend.device = Device::Cuda;
    store_entry(&launch, "vllm", "cpu");
    let refused = command::plan(&launch, 1).expect_err("the CPU build has no CUDA");
    assert!(refused.contains("em-agent setup --profile gpu"), "{refused}");
    store_entry(&launch, "vllm", "gpu");
    let plan = command::plan(&launch, 1).expect("plan");
    assert!(!plan.env.contains_key("VLLM_CPU_KVCACHE_SPACE") && !plan.env.contains_key("OMP_NUM_THREADS"), "{:?}", plan.env);
    assert_eq!(plan.env["VLLM_USE_FLASHINFER_SAMPLER"], "0", "this environment has no flashinfer");
    assert_eq!(plan.env["VLLM_CACHE_ROOT"], folder.path().parent().expect("parent").join("vllm-cache").display().to_string());
    // A package is known by its folder beside the interpreter.
    let site = folder.path().join("venv/lib/python3.11/site-packages");
    std::fs::create_dir_all(site.join("flashinfer")).expect("folder");
    launch.backend.python = Some(folder.path().join("venv/bin/python").display().to_string());
    let plan = command::plan(&launch, 1).expect("plan");
    assert!(!plan.env.contains_key("VLLM_USE_FLASHINFER_SAMPLER"), "{:?}", plan.env);
}

#[test]
fn the_rust_front_end_is_the_one_asked_for_or_none() {
    let folder = tempfile::tempdir().expect("folder");
    let mut launch = launch_of(BackendKind::Vllm, folder.path());
    let package = folder.path().join("venv/lib/python3.12/site-packages/vllm");
    std::fs::create_dir_all(&package).expect("folder");
    launch.backend.python = Some(folder.path().join("venv/bin/python").display().to_string());
    launch.backend.env.insert("VLLM_USE_RUST_FRONTEND".into(), "1".into());
    let refused = command::plan(&launch, 1).expect_err("this wheel has none");
    assert!(refused.contains("vllm-rs"), "{refused}");
    std::fs::write(package.join("vllm-rs"), "").expect("file");
    assert_eq!(command::plan(&launch, 1).expect("plan").env["VLLM_USE_RUST_FRONTEND"], "1");
    launch.backend.args = vec!["--api-server-count=4".into()];
    assert!(command::plan(&launch, 1).expect_err("ignored by vLLM").starts_with("args"));
    launch.backend.env.insert("VLLM_USE_RUST_FRONTEND".into(), "0".into());
    assert!(command::plan(&launch, 1).is_ok());
    launch.backend.env = [("VLLM_RUST_FRONTEND_PATH".to_owned(), "/no/such/program".to_owned())].into();
    assert!(command::plan(&launch, 1).expect_err("not there").contains("/no/such/program"));
}

#[test]
fn tei_is_its_own_program_with_limits_that_take_what_the_others_take() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().expect("folder");
    let program = folder.path().join("router");
    std::fs::write(&program, "").expect("file");
    let mut launch = launch_of(BackendKind::Tei, folder.path());
    launch.backend.binary = Some(program.display().to_string());
    assert!(command::plan(&launch, 1).expect_err("no right to run it").starts_with("binary"));
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("mode");
    launch.backend.args = vec!["--max-client-batch-size=64".into()];
    launch.model.pooling = Pooling::Last;
    let plan = command::plan(&launch, 8003).expect("plan");
    assert_eq!(plan.program, program);
    insta::assert_snapshot!(plan.args.join(" "), @"--model-id / --served-model-name org/model --hostname 127.0.0.1 --port 8003 --dtype float32 --pooling last-token --prometheus-port 0 --auto-truncate true --payload-limit 67108864 --max-concurrent-requests 65536 --max-client-batch-size=64");
    launch.backend.dtype = Some(Dtype::Bfloat16);
    assert!(command::plan(&launch, 1).expect_err("unknown to tei").starts_with("dtype"));
    launch.backend.dtype = None;
    launch.backend.binary = None;
    let refused = command::plan(&launch, 1).expect_err("not on this machine");
    assert!(refused.contains("`binary`") && refused.contains("`image`") && refused.contains("`url`"), "{refused}");
    launch.backend.image = Some("/no/such.sif".into());
    assert!(command::plan(&launch, 1).expect_err("no apptainer or no image").starts_with("image"));
}

#[test]
fn huggingface_gets_its_script_and_every_setting_explicitly() {
    let folder = tempfile::tempdir().expect("folder");
    let mut launch = launch_of(BackendKind::Huggingface, folder.path());
    launch.backend.python = Some("/conda/bin/python".into());
    launch.backend.batch = Some(64);
    launch.backend.dtype = Some(Dtype::Bfloat16);
    launch.model.normalize = false;
    let plan = command::plan(&launch, 8000).expect("plan");
    assert_eq!(plan.program, Path::new("/conda/bin/python"));
    assert!(plan.unset.is_empty(), "a user's own interpreter keeps the user's environment");
    insta::assert_snapshot!(plan.args[1..].join(" "), @"--model / --model-name org/model --host 127.0.0.1 --port 8000 --device cpu --dtype bfloat16 --pooling mean --no-normalize --batch-size 64");
    assert!(std::fs::read_to_string(&plan.args[0]).expect("script").contains("HuggingFaceEmbeddings"));
}

#[test]
fn ort_is_this_very_agent() {
    let folder = tempfile::tempdir().expect("folder");
    let mut launch = launch_of(BackendKind::Ort, folder.path());
    store_entry(&launch, "ort", "cpu");
    let plan = command::plan(&launch, 8002).expect("plan");
    assert_eq!(plan.program, Path::new("/agent"));
    let line = plan.args.join(" ").replace(&folder.path().display().to_string(), "DIR");
    insta::assert_snapshot!(line, @"serve --backend ort --host 127.0.0.1 --model / --model-name org/model --port 8002 --device cpu --pooling mean --library DIR/store/lib/file");
    launch.backend.dtype = Some(Dtype::Float16);
    let refused = command::plan(&launch, 8002).expect_err("another dtype is never substituted");
    assert!(refused.contains("float32"), "{refused}");
}

#[test]
fn what_the_store_lacks_names_the_cure() {
    let folder = tempfile::tempdir().expect("folder");
    let mut launch = launch_of(BackendKind::Huggingface, folder.path());
    let refused = command::plan(&launch, 1).expect_err("no environment");
    assert!(refused.contains("em-agent setup") && refused.contains("--backends huggingface"), "{refused}");
    launch.model.path = None;
    let refused = command::plan(&launch, 1).expect_err("no model");
    assert!(refused.contains("--model org/model"), "{refused}");
    launch.model.path = Some("/no/such/folder".into());
    assert!(command::plan(&launch, 1).expect_err("no folder").starts_with("model.path"));
}

#[test]
fn an_own_command_gets_port_and_model() {
    let folder = tempfile::tempdir().expect("folder");
    let mut launch = launch_of(BackendKind::Openai, folder.path());
    assert!(command::plan(&launch, 1).expect_err("nothing to start").contains("`url` or `command`"));
    launch.backend.command = Some(vec!["router".into(), "--port={port}".into(), "--model-id".into(), "{model}".into()]);
    assert_eq!(command::plan(&launch, 4711).expect("plan").command_line().join(" "), "router --port=4711 --model-id /");
}

#[tokio::test]
async fn a_service_that_dies_at_start_is_reported_at_once_with_the_end_of_its_log() {
    let folder = tempfile::tempdir().expect("folder");
    let started = Instant::now();
    let failed = launch(&shell(folder.path(), "echo no GPU here; exit 3"), &CancellationToken::new()).await.expect_err("dies");
    assert_eq!((failed.reason.as_str(), failed.log_tail.as_str()), (START_FAILED, "no GPU here"));
    assert!(failed.message.contains("exit code 3"), "{failed}");
    let hungry = shell(folder.path(), "echo 'torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB'; exit 1");
    let failed = launch(&hungry, &CancellationToken::new()).await.expect_err("dies");
    assert!(failed.message.contains("the GPU's memory ran out") && failed.message.contains("lower "), "{failed}");
    assert!(started.elapsed() < Duration::from_secs(5));
    let mut missing = shell(folder.path(), "");
    missing.backend.command = Some(vec!["/no/such/program".into()]);
    let failed = launch(&missing, &CancellationToken::new()).await.expect_err("no program");
    assert!(failed.message.contains("/no/such/program"), "{failed}");
}

#[tokio::test]
async fn a_silent_service_ends_with_its_time_and_a_cancelled_one_at_once() {
    let folder = tempfile::tempdir().expect("folder");
    let mut silent = shell(folder.path(), "echo loading; exec sleep 100");
    silent.backend.start_timeout = HumanDuration::from_secs(1);
    let failed = launch(&silent, &CancellationToken::new()).await.expect_err("silent");
    assert!(failed.message.contains("startTimeout of 1s") && failed.log_tail == "loading", "{failed:?}");

    silent.backend.start_timeout = HumanDuration::from_secs(60);
    let (cancel, started) = (CancellationToken::new(), Instant::now());
    let (failed, ()) = tokio::join!(launch(&silent, &cancel), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        cancel.cancel();
    });
    assert_eq!(failed.expect_err("cancelled").reason, INTERRUPTED);
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn a_port_that_others_took_is_left_for_a_free_one_and_not_for_ever() {
    let folder = tempfile::tempdir().expect("folder");
    let taken = shell(folder.path(), "echo port {port}; echo 'OSError: [Errno 98] Address already in use'; exit 1");
    let failed = launch(&taken, &CancellationToken::new()).await.expect_err("always taken");
    let ports: std::collections::BTreeSet<&str> = failed.log_tail.lines().filter(|line| line.starts_with("port ")).collect();
    assert_eq!(ports.len(), PORT_TRIES as usize, "{}", failed.log_tail);
}

async fn serve(answer: &'static str) -> (String, actix_web::dev::ServerHandle) {
    let server = HttpServer::new(move || {
        App::new()
            .route("/v1/models", web::get().to(HttpResponse::Ok))
            .route("/v1/embeddings", web::post().to(move || async move { HttpResponse::Ok().body(answer) }))
    })
    .workers(1)
    .disable_signals()
    .bind(("127.0.0.1", 0))
    .expect("bind");
    let url = format!("http://{}/v1", server.addrs()[0]);
    let server = server.run();
    let handle = server.handle();
    tokio::spawn(server);
    (url, handle)
}

#[tokio::test]
async fn a_server_that_already_runs_is_checked_and_not_stopped() {
    let folder = tempfile::tempdir().expect("folder");
    let (url, server) = serve(r#"{"data":[{"embedding":[0.6,-0.8]}]}"#).await;
    let mut attached = launch_of(BackendKind::Openai, folder.path());
    attached.backend.url = Some(url.clone());
    let mut service = launch(&attached, &CancellationToken::new()).await.expect("attach");
    assert_eq!((service.embedding_dim, service.pid), (2, None));
    assert_eq!(service.endpoint(Wire::OpenaiFloat), format!("{url}/embeddings"));
    assert!(service.alive());
    assert_eq!(service.stop().await, StopReport::default());
    server.stop(false).await;

    let (url, server) = serve(r#"{"data":[{"embedding":[0.6,null]}]}"#).await;
    attached.backend.url = Some(url);
    let failed = launch(&attached, &CancellationToken::new()).await.expect_err("NaN is no vector");
    assert!(failed.message.contains("no vector"), "{failed}");
    server.stop(false).await;
}

#[tokio::test]
async fn a_protected_server_is_asked_with_its_key_and_the_key_is_in_no_message() {
    let folder = tempfile::tempdir().expect("folder");
    let server = HttpServer::new(|| {
        let guarded = |request: actix_web::HttpRequest| async move {
            let carried =
                request.headers().get("authorization").and_then(|value| value.to_str().ok()).unwrap_or("nothing").to_owned();
            match carried.as_str() {
                "Bearer sk-right" => HttpResponse::Ok().body(r#"{"data":[{"embedding":[0.6,-0.8]}]}"#),
                _ => HttpResponse::Unauthorized().body(format!("you sent {carried}")),
            }
        };
        App::new().default_service(web::to(guarded))
    });
    let server = server.workers(1).disable_signals().bind(("127.0.0.1", 0)).expect("bind");
    let url = format!("http://{}/v1", server.addrs()[0]);
    let server = server.run();
    let handle = server.handle();
    tokio::spawn(server);
    let key = folder.path().join("key");
    let mut protected = launch_of(BackendKind::Openai, folder.path());
    protected.backend.url = Some(url);
    let failed = launch(&protected, &CancellationToken::new()).await.expect_err("no key");
    assert!(failed.message.contains("401") && failed.message.contains("apiKeyFile"), "{failed}");
    protected.backend.api_key_file = Some(key.display().to_string());
    std::fs::write(&key, "sk-wrong\n").expect("write");
    let failed = launch(&protected, &CancellationToken::new()).await.expect_err("wrong key");
    assert!(failed.message.contains("not the right one") && !format!("{failed:?}").contains("sk-wrong"), "{failed:?}");
    std::fs::write(&key, "sk-right\n").expect("write");
    let service = launch(&protected, &CancellationToken::new()).await.expect("the right key");
    assert!(!format!("{service:?}").contains("sk-right") && service.key.read().expect("readable").is_some());
    handle.stop(false).await;
}

#[tokio::test]
async fn a_form_that_a_server_does_not_speak_is_refused_before_any_start() {
    let folder = tempfile::tempdir().expect("folder");
    let mut wrong = launch_of(BackendKind::Vllm, folder.path());
    wrong.wire = Wire::Embed;
    let failed = launch(&wrong, &CancellationToken::new()).await.expect_err("vLLM has no /embed");
    assert!(failed.message.contains("load.wire"), "{failed}");
}
