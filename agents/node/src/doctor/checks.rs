//! The checks of the doctor. Each does the real thing in small: reads a manifest, starts an interpreter, loads the library.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use em_api::inputs::{Entry, EntryKind, key_of};
use em_api::plan::Plan;
use em_api::spec::{Backend, BackendKind, Device, Dtype};
use em_embed::engine::{Engine, EngineOptions};
use tokio::process::Command;

use super::{Check, DoctorArgs, backends};
use crate::{chain, inputs};

/// Importing torch from a cold network file system takes its time.
const IMPORT_DEADLINE: Duration = Duration::from_secs(120);
const SERVER_DEADLINE: Duration = Duration::from_secs(10);

pub(super) async fn all(args: &DoctorArgs) -> Vec<Check> {
    let mut checks = Vec::new();
    let plan = args.plan.as_deref().map(read_plan);
    let plan = match plan {
        Some(Err(problem)) => {
            checks.push(Check::of("plan", Err(problem)));
            None
        }
        Some(Ok(plan)) => Some(plan),
        None => None,
    };
    let store = args.store.clone().or_else(|| plan.as_ref().map(|plan| PathBuf::from(&plan.store_dir)));
    match &store {
        Some(store) => {
            checks.extend(store_checks(store, plan.as_ref(), &args.backends).await);
            if store.is_dir() {
                checks.push(Check::of("space", backends::space(store)));
            }
        }
        None => checks.push(Check::of("store", Err("not looked at: name it with --store, EM_STORE or --plan".to_owned()))),
    }
    if let Some(folder) = args.job_dir.as_deref().or_else(|| args.plan.as_deref().and_then(Path::parent)) {
        checks.push(Check::of("job directory", writable(folder)));
    }
    if let Some(plan) = &plan {
        checks.extend(backends::of_plan(&plan.backends).await);
    }
    if let Some(python) = &args.python {
        for kind in if args.backends.is_empty() { vec![BackendKind::Huggingface] } else { args.backends.clone() } {
            checks.push(Check::of(format!("{} for {kind}", python.display()), backends::own_python(python, kind).await));
        }
    }
    checks.push(Check::of("gpus", gpus(args.gpus, plan.as_ref())));
    if let Some(to) = plan.as_ref().and_then(|plan| plan.server.as_ref()) {
        checks.push(Check::of("server", server(&to.url).await));
    }
    checks
}

fn read_plan(path: &Path) -> Result<Plan, String> {
    let json = std::fs::read(path).map_err(|problem| format!("{}: {problem}", path.display()))?;
    serde_json::from_slice(&json).map_err(|problem| format!("{} is no plan of this version: {problem}", path.display()))
}

/// Every part that the manifests name must be there; the environments must work.
async fn store_checks(store: &Path, plan: Option<&Plan>, asked: &[BackendKind]) -> Vec<Check> {
    let mut checks = Vec::new();
    let mut wanted = Vec::new();
    match manifests(store) {
        Ok(manifests) => {
            for manifest in manifests {
                match manifest {
                    Ok(entry) => wanted.push((entry.kind, entry.key)),
                    Err(problem) => checks.push(Check::of("manifest", Err(problem))),
                }
            }
        }
        Err(problem) => return vec![Check::of("store", Err(problem))],
    }
    if let Some(plan) = plan {
        if plan.model.path.is_none() {
            wanted.push((EntryKind::Model, key_of(&plan.model)));
        }
        if plan.dataset.path.is_none() {
            wanted.push((EntryKind::Dataset, em_api::inputs::dataset_key(plan.dataset.source)));
        }
        wanted.extend(plan.backends.iter().filter(|backend| needs_store(backend)).map(|backend| environment_of(backend.kind)));
    }
    wanted.extend(asked.iter().copied().map(environment_of));
    wanted.sort_by(|a, b| (a.0 as u8, &a.1).cmp(&(b.0 as u8, &b.1)));
    wanted.dedup();
    for (kind, key) in wanted {
        let name = match kind {
            EntryKind::Model => format!("model {key}"),
            EntryKind::Dataset => format!("data set {key}"),
            EntryKind::Backend => format!("backend {key}"),
        };
        let found = match inputs::find(store, kind, &key) {
            Ok((entry, path)) => works(store, &entry, &path).await,
            Err(problem) => Err(chain(&problem)),
        };
        checks.push(Check::of(name, found));
    }
    checks
}

fn needs_store(backend: &Backend) -> bool {
    let ours = matches!(backend.kind, BackendKind::Ort | BackendKind::Vllm | BackendKind::Huggingface);
    ours && backend.python.is_none() && backend.command.is_none() && backend.url.is_none()
}

fn environment_of(kind: BackendKind) -> (EntryKind, String) {
    (EntryKind::Backend, kind.as_str().to_owned())
}

/// Errors, outer: there are none at all; inner: one is unreadable.
fn manifests(store: &Path) -> Result<Vec<Result<Entry, String>>, String> {
    let folder = store.join("manifests");
    let entries = std::fs::read_dir(&folder).map_err(|problem| {
        format!("{}: {problem}; fill the store with `em-agent setup --store {}`", folder.display(), store.display())
    })?;
    let read = |path: PathBuf| {
        let json = std::fs::read(&path).map_err(|problem| format!("{}: {problem}", path.display()))?;
        serde_json::from_slice(&json)
            .map_err(|problem| format!("{}: {problem}; remove it and fill the store again", path.display()))
    };
    let paths = entries.flatten().map(|entry| entry.path());
    Ok(paths.filter(|path| path.extension().is_some_and(|extension| extension == "json")).map(read).collect())
}

/// Does the part do what it is for?
async fn works(store: &Path, entry: &Entry, path: &Path) -> Result<String, String> {
    let place = path.display();
    match entry.kind {
        EntryKind::Model if !path.join("config.json").exists() => Err(format!("{place} has no config.json; fill the store again")),
        EntryKind::Model | EntryKind::Dataset => Ok(format!("{place}")),
        EntryKind::Backend => {
            backends::fits_driver(entry, em_embed::launch::cuda_major()).map_err(|problem| format!("{place} {problem}"))?;
            if let Some(library) = entry.details.get("library") {
                return loads(store, &store.join(library)).await;
            }
            match entry.details.get("python") {
                Some(python) => imports(&store.join(python), &entry.key, "fill the store again").await,
                None => Ok(format!("{place}")),
            }
        }
    }
}

/// ONNX Runtime has one version check, and only loading a graph makes it. Without a model the file must do.
async fn loads(store: &Path, library: &Path) -> Result<String, String> {
    let models = manifests(store)?.into_iter().flatten().filter(|entry| entry.kind == EntryKind::Model);
    let Some((_, model_dir)) = models.filter_map(|entry| inputs::find(store, entry.kind, &entry.key).ok()).next() else {
        return if library.is_file() {
            Ok(format!("{} is there; without a model in the store it was not loaded", library.display()))
        } else {
            Err(format!("{} is gone; fill the store again", library.display()))
        };
    };
    let options = EngineOptions {
        model_dir,
        library: Some(library.to_owned()),
        device: Device::Cpu,
        dtype: Dtype::Float32,
        sessions: None,
        threads: None,
        tokenizer_threads: None,
        max_length: None,
        token_budget: None,
        max_queue: 1,
        pooling: None,
        normalize: true,
    };
    let load = tokio::task::spawn_blocking(move || Engine::load(options).map(|engine| engine.info().runtime.clone())).await;
    match load {
        Ok(Ok(runtime)) => Ok(format!("ONNX Runtime {runtime} loads and embeds")),
        Ok(Err(problem)) => Err(format!("{} does not work: {}", library.display(), chain(&problem))),
        Err(panic) => Err(format!("{}: {panic}", library.display())),
    }
}

pub(super) async fn imports(python: &Path, backend: &str, cure: &str) -> Result<String, String> {
    let module = match backend {
        "vllm" => "vllm",
        "huggingface" => "langchain_huggingface",
        _ => "sys",
    };
    let mut command = Command::new(python);
    command.args(["-c", &format!("import {module}")]).stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(IMPORT_DEADLINE, command.output())
        .await
        .map_err(|_| format!("{} did not import {module} within {} s", python.display(), IMPORT_DEADLINE.as_secs()))?
        .map_err(|problem| format!("{}: {problem}; {cure}", python.display()))?;
    if output.status.success() {
        return Ok(format!("{} imports {module}", python.display()));
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    let last = stderr.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("no message").to_owned();
    Err(format!("{} cannot import {module}: {last}; {cure}", python.display()))
}

fn writable(folder: &Path) -> Result<String, String> {
    let probe = folder.join(format!(".em-doctor-{}", std::process::id()));
    std::fs::write(&probe, b"probe")
        .and_then(|()| std::fs::remove_file(&probe))
        .map(|()| format!("{} is writable", folder.display()))
        .map_err(|problem| format!("{} takes no files: {problem}; make it and give this user the right to write", folder.display()))
}

/// GPUs are only a failure where they are asked for.
fn gpus(asked: Option<usize>, plan: Option<&Plan>) -> Result<String, String> {
    let needed = asked.unwrap_or_else(|| usize::from(plan.is_some_and(|plan| plan.gpus_expected)));
    match em_telemetry::visible_gpus() {
        Ok(gpus) if gpus.len() >= needed => Ok(format!("{} visible", gpus.len())),
        Ok(gpus) => Err(format!("{} visible, {needed} asked for; ask Slurm for them with slurm.gres or slurm.gpus", gpus.len())),
        Err(problem) if needed == 0 => Ok(format!("none asked for, none to be seen ({problem})")),
        Err(problem) => Err(format!("{needed} asked for, none to be seen: {problem}")),
    }
}

/// Any HTTP answer proves the way; `/healthz` needs no token.
async fn server(url: &str) -> Result<String, String> {
    let client = reqwest::Client::builder().timeout(SERVER_DEADLINE).build().map_err(|problem| chain(&problem))?;
    let address = format!("{}/healthz", url.trim_end_matches('/'));
    match client.get(&address).send().await {
        Ok(answer) => Ok(format!("{url} answers {}", answer.status())),
        Err(problem) => Err(format!(
            "{url} does not answer from this node: {}; see that it runs and that --advertise can be reached",
            chain(&problem)
        )),
    }
}
