//! The command line of each backend, as its users write it. Decided here, executed elsewhere.

use std::collections::BTreeMap;
use std::path::PathBuf;

use em_api::spec::{BackendKind, Device, Dtype, Pooling};
use serde_json::{Map, Value, json};

use super::python::{huggingface, vllm};
use super::tei::tei;
use super::{Launch, inputs};

/// What is executed.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Plan {
    pub(super) program: PathBuf,
    pub(super) args: Vec<String>,
    /// Added to the agent's own environment.
    pub(super) env: BTreeMap<String, String>,
    /// Taken out of it.
    pub(super) unset: Vec<&'static str>,
    /// Whether `program` is a Python interpreter: then its packages can be asked for.
    pub(super) python: bool,
    /// What the store's manifest knows; what the interpreter has and the service's own words come on top.
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
        (None, BackendKind::Tei) => tei(launch, port)?,
        (None, kind @ BackendKind::Openai) => {
            return Err(format!("{}: a backend of type {kind} needs `url` or `command`", launch.backend.name));
        }
    };
    plan.env.extend(launch.backend.env.clone());
    Ok(plan)
}

impl Plan {
    pub(super) fn new(program: impl Into<PathBuf>, args: Vec<String>) -> Self {
        let env = BTreeMap::from([("PYTHONUNBUFFERED".to_owned(), "1".to_owned())]);
        let (unset, versions) = (Vec::new(), BTreeMap::new());
        Self { program: program.into(), args, env, unset, python: false, versions, warm_cache: None }
    }

    pub(super) fn set(&mut self, name: &str, value: impl ToString) {
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
    let dtype = inputs::dtype(launch);
    if dtype != Dtype::Float32 && (dtype, launch.backend.device) != (Dtype::Float16, Device::Cuda) {
        let name = &launch.backend.name;
        return Err(format!("dtype: {name} computes in float32, and on cuda in float16; set `dtype: float32` on this backend"));
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
    let mut cuda = Vec::new();
    if !launch.backend.env.contains_key("ORT_DYLIB_PATH") {
        let (entry, library) = inputs::backend_file(launch, "library")?;
        args.extend(["--library".into(), library.display().to_string()]);
        versions.extend(entry.details.get("onnxruntime").map(|version| ("onnxruntime".to_owned(), version.clone())));
        cuda = inputs::cuda_libraries(launch, &entry);
    }
    if dtype != Dtype::Float32 {
        args.extend(["--dtype".into(), dtype.as_str().into()]);
    }
    if !launch.model.normalize {
        args.push("--no-normalize".into());
    }
    args.extend(option("--max-length", launch.model.max_length));
    args.extend(launch.backend.args.iter().cloned());
    let mut plan = Plan::new(&launch.agent_exe, args);
    plan.versions = versions;
    if launch.backend.device == Device::Cuda && !cuda.is_empty() {
        let own = std::env::var("LD_LIBRARY_PATH").ok().filter(|paths| !paths.is_empty());
        plan.set("LD_LIBRARY_PATH", cuda.into_iter().chain(own).collect::<Vec<_>>().join(":"));
    }
    Ok(plan)
}

/// Fields beside the texts that each request carries, so that all kinds do the same with a text that is too long: cut it.
pub(crate) fn request_fields(kind: BackendKind) -> Map<String, Value> {
    let fields = match kind {
        BackendKind::Vllm => json!({"truncate_prompt_tokens": -1}),
        BackendKind::Ort => json!({"truncate": true}),
        // huggingface and tei (as started here) cut by themselves; of a server elsewhere nothing is known.
        BackendKind::Huggingface | BackendKind::Tei | BackendKind::Openai => json!({}),
    };
    fields.as_object().cloned().unwrap_or_default()
}

pub(super) fn threads(launch: &Launch) -> usize {
    let all = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    launch.cores.as_ref().map_or_else(all, Vec::len)
}

pub(super) fn torch_dtype(launch: &Launch) -> Result<&'static str, String> {
    match inputs::dtype(launch) {
        Dtype::Int8 => Err(format!("dtype: {} cannot compute in int8; choose float32, float16 or bfloat16", launch.backend.kind)),
        dtype => Ok(dtype.as_str()),
    }
}

pub(super) fn pooling(pooling: Pooling) -> &'static str {
    match pooling {
        Pooling::Mean => "mean",
        Pooling::Cls => "cls",
        Pooling::Last => "last",
    }
}

pub(super) fn words<const N: usize>(words: [&str; N]) -> Vec<String> {
    words.map(str::to_owned).to_vec()
}

pub(super) fn option(name: &str, value: Option<u32>) -> Vec<String> {
    value.map(|value| vec![name.to_owned(), value.to_string()]).unwrap_or_default()
}
