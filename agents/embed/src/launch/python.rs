//! The servers that run in Python: vLLM as its users start it, and LangChain's HuggingFaceEmbeddings behind FastAPI.

use std::path::PathBuf;

use em_api::spec::Device;

use super::command::{Plan, option, pooling, threads, torch_dtype, words};
use super::{Launch, inputs};

const HF_SERVICE: &str = include_str!("../../python/hf_service.py");
/// Of a job's environment modules: they would shadow the packages of the store's own environments.
const PYTHON_PATHS: [&str; 2] = ["PYTHONPATH", "PYTHONHOME"];

pub(super) fn huggingface(launch: &Launch, port: u16) -> Result<Plan, String> {
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

pub(super) fn vllm(launch: &Launch, port: u16) -> Result<Plan, String> {
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
    rust_front_end(launch, &mut plan)?;
    if launch.backend.device == Device::Cpu {
        plan.set("VLLM_CPU_KVCACHE_SPACE", 1);
        // Pinning is ours: vLLM would bind to cores that the job does not have.
        plan.set("VLLM_CPU_OMP_THREADS_BIND", "nobind");
        plan.set("OMP_NUM_THREADS", threads(launch));
    } else if inputs::package(&plan.program, "flashinfer").is_none() {
        // Else the engine dies while it looks for a module that embeddings do not need.
        plan.set("VLLM_USE_FLASHINFER_SAMPLER", 0);
    }
    let cache = vllm_cache(launch);
    plan.set("VLLM_CACHE_ROOT", cache.display());
    let compiles = !launch.backend.args.iter().any(|arg| arg == "--enforce-eager");
    plan.warm_cache = compiles.then(|| cache.join("torch_compile_cache").is_dir());
    Ok(plan)
}

/// vLLM's HTTP front end in Rust, a variant that `env` asks for: `VLLM_USE_RUST_FRONTEND: "1"`, or `VLLM_RUST_FRONTEND_PATH`.
/// vLLM itself only warns where it cannot be had as asked; then another server than the one named would be measured.
fn rust_front_end(launch: &Launch, plan: &mut Plan) -> Result<(), String> {
    let env = &launch.backend.env;
    let path = env.get("VLLM_RUST_FRONTEND_PATH").filter(|path| *path != "auto");
    let asked = path.is_some() || env.get("VLLM_USE_RUST_FRONTEND").is_some_and(|value| value != "0");
    if !asked {
        return Ok(());
    }
    let program = path.map(PathBuf::from).or_else(|| Some(inputs::package(&plan.program, "vllm")?.join("vllm-rs")));
    if !program.as_ref().is_some_and(|program| program.is_file()) {
        let place = program.map_or_else(|| "beside the package vllm".to_owned(), |program| program.display().to_string());
        return Err(format!(
            "env.VLLM_USE_RUST_FRONTEND: this vLLM has no vllm-rs ({place}); take a wheel that holds it, or leave it out"
        ));
    }
    if launch.backend.args.iter().any(|arg| arg.starts_with("--api-server-count")) {
        return Err("args: --api-server-count has no effect on the Rust front end; leave one of the two out".to_owned());
    }
    plan.set("VLLM_USE_RUST_FRONTEND", 1);
    Ok(())
}

/// A user's own interpreter as it is, or the store's, shielded from the environment modules of the job.
fn python(launch: &Launch, args: Vec<String>) -> Result<Plan, String> {
    let mut plan = match &launch.backend.python {
        Some(python) => Plan::new(python, args),
        None => {
            let (entry, python) = inputs::backend_file(launch, "python")?;
            let mut plan = Plan::new(python, args);
            plan.unset.extend(PYTHON_PATHS);
            let mut versions = entry.details;
            // The path of the interpreter; its version has the name that the interpreter itself gives it.
            for not_a_version in ["python", "profile"] {
                versions.remove(not_a_version);
            }
            if let Some(version) = versions.remove("python_version") {
                versions.insert("python".to_owned(), version);
            }
            plan.versions = versions;
            plan
        }
    };
    plan.python = true;
    plan.set("HF_HUB_OFFLINE", 1);
    Ok(plan)
}

/// In the job's scratch: the starts of one job share it, and no other job can have written to it. Or the user's own choice.
fn vllm_cache(launch: &Launch) -> PathBuf {
    match launch.backend.env.get("VLLM_CACHE_ROOT") {
        Some(chosen) => PathBuf::from(chosen),
        None => launch.work_dir.parent().unwrap_or(&launch.work_dir).join("vllm-cache"),
    }
}
