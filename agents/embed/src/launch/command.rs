//! The command line of each backend, as its users write it. Decided here, executed elsewhere.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use em_api::spec::{BackendKind, Device, Dtype, Pooling};

use super::{Launch, inputs};

const HF_SERVICE: &str = include_str!("../../python/hf_service.py");
/// Of a job's environment modules: they would shadow the packages of the store's own environments.
const PYTHON_PATHS: [&str; 2] = ["PYTHONPATH", "PYTHONHOME"];

/// What is executed.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Plan {
    pub(super) program: PathBuf,
    pub(super) args: Vec<String>,
    /// Added to the agent's own environment.
    pub(super) env: BTreeMap<String, String>,
    /// Taken out of it.
    pub(super) unset: Vec<&'static str>,
    /// What the store's manifest knows; the service's own words come on top.
    pub(super) versions: BTreeMap<String, String>,
    /// Whether a compile cache is there; absent: this start compiles nothing.
    pub(super) warm_cache: Option<bool>,
}

/// Errors: the field and the cure, in words.
pub(super) fn plan(launch: &Launch, port: u16) -> Result<Plan, String> {
    let mut plan = match (&launch.backend.command, launch.backend.kind) {
        (Some(command), _) => own_command(launch, command, port)?,
        (None, BackendKind::Ort) => ort(launch, port)?,
        (None, BackendKind::Huggingface) => huggingface(launch, port)?,
        (None, BackendKind::Vllm) => vllm(launch, port)?,
        (None, kind @ (BackendKind::Tei | BackendKind::Openai)) => {
            return Err(format!("{}: a backend of type {kind} needs `url` or `command`", launch.backend.name));
        }
    };
    plan.env.extend(launch.backend.env.clone());
    Ok(plan)
}

impl Plan {
    fn new(program: impl Into<PathBuf>, args: Vec<String>) -> Self {
        let env = BTreeMap::from([("PYTHONUNBUFFERED".to_owned(), "1".to_owned())]);
        Self { program: program.into(), args, env, unset: Vec::new(), versions: BTreeMap::new(), warm_cache: None }
    }

    fn set(&mut self, name: &str, value: impl ToString) {
        self.env.insert(name.to_owned(), value.to_string());
    }

    pub(super) fn command_line(&self) -> Vec<String> {
        std::iter::once(self.program.display().to_string()).chain(self.args.iter().cloned()).collect()
    }
}

fn own_command(launch: &Launch, command: &[String], port: u16) -> Result<Plan, String> {
    let wants_model = command.iter().any(|word| word.contains("{model}"));
    let model = if wants_model { inputs::model_folder(launch)?.display().to_string() } else { String::new() };
    let mut words = command.iter().map(|word| word.replace("{port}", &port.to_string()).replace("{model}", &model));
    let program = words.next().ok_or("command: must name a program")?;
    Ok(Plan::new(program, words.chain(launch.backend.args.iter().cloned()).collect()))
}

fn ort(launch: &Launch, port: u16) -> Result<Plan, String> {
    let folder = inputs::model_folder(launch)?;
    if inputs::dtype(launch) != Dtype::Float32 {
        return Err(format!("dtype: {} computes in float32 only; set `dtype: float32` on this backend", launch.backend.name));
    }
    if launch.backend.batch.is_some() {
        return Err("batch: ort forms batches by tokens; set `args: [--token-budget, \"4096\"]` instead".into());
    }
    let mut args = words(["serve", "--backend", "ort", "--host", "127.0.0.1"]);
    args.extend([
        "--model".into(),
        folder.display().to_string(),
        "--model-name".into(),
        launch.model.id.clone(),
        "--port".into(),
        port.to_string(),
        "--device".into(),
        inputs::device(&launch.backend).into(),
        "--pooling".into(),
        pooling(launch.model.pooling).into(),
    ]);
    let mut versions = BTreeMap::new();
    if !launch.backend.env.contains_key("ORT_DYLIB_PATH") {
        let (entry, library) = inputs::backend_file(launch, "library")?;
        args.extend(["--library".into(), library.display().to_string()]);
        versions.extend(entry.details.get("onnxruntime").map(|version| ("onnxruntime".to_owned(), version.clone())));
    }
    if !launch.model.normalize {
        args.push("--no-normalize".into());
    }
    args.extend(option("--max-length", launch.model.max_length));
    args.extend(launch.backend.args.iter().cloned());
    let mut plan = Plan::new(&launch.agent_exe, args);
    plan.versions = versions;
    Ok(plan)
}

fn huggingface(launch: &Launch, port: u16) -> Result<Plan, String> {
    let folder = inputs::model_folder(launch)?;
    let script = launch.work_dir.join("hf_service.py");
    let write = std::fs::create_dir_all(&launch.work_dir).and_then(|()| std::fs::write(&script, HF_SERVICE));
    write.map_err(|error| format!("cannot write {}: {error}", script.display()))?;
    let mut args = vec![
        script.display().to_string(),
        "--model".into(),
        folder.display().to_string(),
        "--model-name".into(),
        launch.model.id.clone(),
        "--host".into(),
        "127.0.0.1".into(),
        "--port".into(),
        port.to_string(),
        "--device".into(),
        inputs::device(&launch.backend).into(),
        "--dtype".into(),
        torch_dtype(launch)?.into(),
        "--pooling".into(),
        pooling(launch.model.pooling).into(),
        if launch.model.normalize { "--normalize" } else { "--no-normalize" }.into(),
    ];
    args.extend(option("--batch-size", launch.backend.batch));
    args.extend(option("--max-length", launch.model.max_length));
    args.extend(launch.backend.args.iter().cloned());
    python(launch, args)
}

fn vllm(launch: &Launch, port: u16) -> Result<Plan, String> {
    let folder = inputs::model_folder(launch)?;
    let pooler = serde_json::json!({
        "pooling_type": pooling(launch.model.pooling).to_uppercase(),
        // For embeddings: whether vectors are normalised.
        "use_activation": launch.model.normalize,
    });
    let mut args = words(["-m", "vllm.entrypoints.cli.main", "serve"]);
    args.push(folder.display().to_string());
    args.extend(words(["--runner", "pooling", "--host", "127.0.0.1"]));
    args.extend([
        "--port".into(),
        port.to_string(),
        "--served-model-name".into(),
        launch.model.id.clone(),
        "--dtype".into(),
        torch_dtype(launch)?.into(),
        "--pooler-config".into(),
        pooler.to_string(),
    ]);
    args.extend(option("--max-model-len", launch.model.max_length));
    args.extend(option("--max-num-seqs", launch.backend.batch));
    args.extend(launch.backend.args.iter().cloned());
    let mut plan = python(launch, args)?;
    plan.set("VLLM_NO_USAGE_STATS", 1);
    if launch.backend.device == Device::Cpu {
        plan.set("VLLM_CPU_KVCACHE_SPACE", 1);
        // Pinning is ours: vLLM would bind to cores that the job does not have.
        plan.set("VLLM_CPU_OMP_THREADS_BIND", "nobind");
        plan.set("OMP_NUM_THREADS", threads(launch));
    }
    let cache = vllm_cache(launch);
    if let Some(cache) = &cache {
        plan.set("VLLM_CACHE_ROOT", cache.display());
    }
    let compiles = !launch.backend.args.iter().any(|arg| arg == "--enforce-eager");
    plan.warm_cache = cache.filter(|_| compiles).map(|cache| cache.join("torch_compile_cache").is_dir());
    Ok(plan)
}

/// A user's own interpreter as it is, or the store's, shielded from the environment modules of the job.
fn python(launch: &Launch, args: Vec<String>) -> Result<Plan, String> {
    let mut plan = match &launch.backend.python {
        Some(python) => Plan::new(python, args),
        None => {
            let (entry, python) = inputs::backend_file(launch, "python")?;
            let mut plan = Plan::new(python, args);
            plan.unset.extend(PYTHON_PATHS);
            let not_versions = ["python", "profile"];
            plan.versions = entry.details.into_iter().filter(|(name, _)| !not_versions.contains(&name.as_str())).collect();
            plan
        }
    };
    plan.set("HF_HUB_OFFLINE", 1);
    Ok(plan)
}

/// In the store, so that one job's compilation serves the next; the user's own choice, or vLLM's default, where that is not writable.
fn vllm_cache(launch: &Launch) -> Option<PathBuf> {
    if let Some(chosen) = launch.backend.env.get("VLLM_CACHE_ROOT") {
        return Some(PathBuf::from(chosen));
    }
    let cache = launch.store_dir.join("cache/vllm");
    std::fs::create_dir_all(&cache).ok()?;
    writable(&cache).then_some(cache)
}

fn writable(folder: &Path) -> bool {
    rustix::fs::access(folder, rustix::fs::Access::WRITE_OK).is_ok()
}

fn threads(launch: &Launch) -> usize {
    let all = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    launch.cores.as_ref().map_or_else(all, Vec::len)
}

fn torch_dtype(launch: &Launch) -> Result<&'static str, String> {
    match inputs::dtype(launch) {
        Dtype::Int8 => Err(format!("dtype: {} cannot compute in int8; choose float32, float16 or bfloat16", launch.backend.kind)),
        dtype => Ok(dtype.as_str()),
    }
}

fn pooling(pooling: Pooling) -> &'static str {
    match pooling {
        Pooling::Mean => "mean",
        Pooling::Cls => "cls",
        Pooling::Last => "last",
    }
}

fn words<const N: usize>(words: [&str; N]) -> Vec<String> {
    words.map(str::to_owned).to_vec()
}

fn option(name: &str, value: Option<u32>) -> Vec<String> {
    value.map(|value| vec![name.to_owned(), value.to_string()]).unwrap_or_default()
}
