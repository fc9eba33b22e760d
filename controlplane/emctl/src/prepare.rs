//! `emctl prepare`: fills the input store for an experiment, here, by `em-agent setup`. The server says where the store is and what
//! the experiment needs of it; nothing is posted. Models and packages are pinned and verified there; what is there is left alone.

use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;
use em_api::client::Client;
use em_api::inputs::{EntryKind, manifest_path, required};
use em_api::spec::{Device, Spec};

use crate::failure::Failure;
use crate::output::{complain, print};
use crate::submit;

const EXAMPLES: &str = "\
Examples:
  emctl prepare -f examples/demo.yaml                      on a machine that has the store and a network
  emctl prepare -f examples/modernbert-l40s.yaml --profile cuda12
  emctl prepare -f examples/demo.yaml --dry-run            the command that would run";

#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct PrepareArgs {
    /// Experiment in YAML or JSON; `-` reads standard input
    #[arg(short, long, value_name = "FILE")]
    file: PathBuf,
    /// Builds of the backends: cpu, cuda12, cuda13, or gpu for the one that this machine's driver runs [default: gpu where the
    /// experiment computes on GPUs, else cpu]
    #[arg(long, value_parser = ["cpu", "gpu", "cuda12", "cuda13"])]
    profile: Option<String>,
    /// Folder of the store [default: the server's]
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
    /// The em-agent program [default: the one beside emctl, else in the PATH]
    #[arg(long, value_name = "FILE")]
    agent: Option<PathBuf>,
    /// Print the command and run nothing
    #[arg(long)]
    dry_run: bool,
}

pub(crate) async fn run(client: &Client, args: PrepareArgs) -> Result<(), Failure> {
    // A folder is only named in the plan; nothing is made there.
    let answer = client.standalone(submit::of_file(&args.file)?, "/nonexistent").await?;
    complain(&answer.warnings.iter().map(|warning| format!("warning: {warning}")).collect::<Vec<_>>());
    let too_old = || Failure::Usage("this control plane is too old: it does not say where its store is".to_owned());
    let store = match args.store {
        Some(store) => store,
        None => PathBuf::from(answer.plan.ok_or_else(too_old)?.store_dir),
    };
    let spec = &answer.experiment.spec;
    let missing: Vec<(EntryKind, String)> =
        required(spec).into_iter().filter(|(kind, key)| !manifest_path(&store, *kind, key).is_file()).collect();
    if missing.is_empty() {
        return print(&format!("{} has all that {} needs: nothing to do", store.display(), answer.experiment.metadata.name));
    }
    let agent = args.agent.unwrap_or_else(beside_us);
    let words = setup(spec, &store, &missing, args.profile.as_deref()).map_err(Failure::Usage)?;
    if args.dry_run {
        return print(&shown(&agent, &words));
    }
    let status = Command::new(&agent).args(&words).status();
    let status = status
        .map_err(|source| Failure::Usage(format!("{} does not start ({source}); name em-agent with --agent", agent.display())))?;
    if status.success() { Ok(()) } else { Err(Failure::Usage(format!("`{}` ended with {status}", shown(&agent, &words)))) }
}

/// The words of `em-agent setup` for what is missing. Errors: what cannot be fetched, with the cure.
fn setup(spec: &Spec, store: &Path, missing: &[(EntryKind, String)], profile: Option<&str>) -> Result<Vec<String>, String> {
    let of = |wanted: EntryKind| missing.iter().filter(move |(kind, _)| *kind == wanted).map(|(_, key)| key.clone());
    let dataset: Vec<String> = of(EntryKind::Dataset).collect();
    if let Some(other) = dataset.iter().find(|key| *key != "wordnet") {
        return Err(format!(
            "the data set {other} is not built in: put its file where compute nodes see it and name it by dataset.path"
        ));
    }
    let computes_on_gpus = spec.backends.iter().any(|backend| backend.device == Device::Cuda);
    let profile = profile.unwrap_or(if computes_on_gpus { "gpu" } else { "cpu" });
    let model = if of(EntryKind::Model).next().is_some() { spec.model.id.as_str() } else { "" };
    let backends = of(EntryKind::Backend).collect::<Vec<_>>().join(",");
    let words = [
        ("--store", store.display().to_string()),
        ("--backends", backends),
        ("--profile", profile.to_owned()),
        ("--model", model.to_owned()),
        ("--revision", spec.model.revision.clone()),
        ("--dataset", dataset.join("")),
    ];
    Ok(std::iter::once("setup".to_owned()).chain(words.into_iter().map(|(name, value)| format!("{name}={value}"))).collect())
}

fn beside_us() -> PathBuf {
    let here = std::env::current_exe().ok().and_then(|exe| Some(exe.parent()?.join("em-agent")));
    here.filter(|agent| agent.is_file()).unwrap_or_else(|| PathBuf::from("em-agent"))
}

fn shown(agent: &Path, words: &[String]) -> String {
    let plain = |word: &str| word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_=./@:,".contains(&byte));
    let word = |word: &String| if plain(word) { word.clone() } else { format!("'{}'", word.replace('\'', "'\\''")) };
    std::iter::once(agent.display().to_string()).chain(words.iter().map(word)).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(device: &str) -> Spec {
        serde_json::from_value(serde_json::json!({
            "desired": "Run",
            "model": {"id": "org/model", "revision": "v1", "pooling": "mean", "normalize": true, "dtype": "float32"},
            "dataset": {"source": "wordnet", "limit": 100, "seed": 1},
            "backends": [{"name": "ort", "type": "ort", "device": device, "args": [], "env": {}, "startTimeout": "5m", "parity": "report"}],
            "matrix": {"batchSizes": [1], "concurrency": [1]},
            "load": {"duration": "10s", "warmup": "1s", "repetitions": 1, "arrival": "constant", "wire": "openai-float", "timeout": "30s",
                     "minRequests": 1, "service": "perRepetition", "placement": "sameNode"},
            "checks": {"parity": {}},
            "slurm": {"nodes": 1, "exclusive": false, "time": "1h", "requeue": false, "modules": [], "setup": [], "env": {}, "extraArgs": [],
                      "shard": "experiment", "sameNode": false},
            "retries": 0, "maxContinuations": 0, "retryTrials": false, "priority": 0, "logsTtl": "30d", "allowDownload": false
        }))
        .expect("a spec")
    }

    #[test]
    fn only_what_is_missing_is_asked_for() {
        let missing = [(EntryKind::Model, "org--model@v1".to_owned()), (EntryKind::Backend, "ort".to_owned())];
        let words = setup(&spec("cuda"), Path::new("/srv/my store"), &missing, None).expect("a command");
        insta::assert_snapshot!(shown(Path::new("em-agent"), &words), @"em-agent setup '--store=/srv/my store' --backends=ort --profile=gpu --model=org/model --revision=v1 --dataset=");
        let words =
            setup(&spec("cpu"), Path::new("/s"), &[(EntryKind::Dataset, "wordnet".to_owned())], Some("cuda12")).expect("a command");
        insta::assert_snapshot!(shown(Path::new("em-agent"), &words), @"em-agent setup --store=/s --backends= --profile=cuda12 --model= --revision=v1 --dataset=wordnet");
        let own = setup(&spec("cpu"), Path::new("/s"), &[(EntryKind::Dataset, "msmarco".to_owned())], None);
        assert!(own.expect_err("not built in").contains("dataset.path"));
    }
}
