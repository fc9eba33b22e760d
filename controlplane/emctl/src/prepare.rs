//! `emctl prepare`: fills the input store for an experiment, here, by `em-agent setup` and, for texts of the user, `em-agent data
//! prepare`. The server says where the store is and what the experiment needs of it; nothing is posted. Models and packages are pinned and verified there; what is there is left alone.

use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;
use em_api::client::Client;
use em_api::inputs::{commands, missing, own_data};

use crate::failure::Failure;
use crate::output::{complain, print};
use crate::submit;

const EXAMPLES: &str = "\
Examples:
  emctl prepare -f examples/demo.yaml                      on a machine that has the store and a network
  emctl prepare -f examples/modernbert-l40s.yaml --profile cuda12
  emctl prepare -f msmarco.yaml --from collection.tsv      texts of your own, for a data set without a path
  emctl prepare -f examples/demo.yaml --dry-run            the commands that would run";

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
    /// Your files, where the experiment names a data set that is not built in and no path to it: a file, a folder, or a pattern
    /// with `*` in its last part
    #[arg(long, value_name = "PATH")]
    from: Option<String>,
    /// Folder of the store [default: the server's]
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
    /// The em-agent program [default: the one beside emctl, else in the PATH]
    #[arg(long, value_name = "FILE")]
    agent: Option<PathBuf>,
    /// Print the commands and run nothing
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
    let missing = missing(&store, spec);
    if missing.is_empty() {
        return print(&format!("{} has all that {} needs: nothing to do", store.display(), answer.experiment.metadata.name));
    }
    let agent = args.agent.unwrap_or_else(beside_us);
    match (own_data(&missing), &args.from) {
        (Some(key), None) => return Err(Failure::Usage(yours(key))),
        (None, Some(_)) => complain(&["--from: no data set of yours is missing; nothing is taken from there".to_owned()]),
        _ => {}
    }
    for words in commands(spec, &store, &missing, args.profile.as_deref(), args.from.as_deref()) {
        if args.dry_run {
            print(&shown(&agent, &words))?;
            continue;
        }
        let status = Command::new(&agent).args(&words).status();
        let status = status.map_err(|source| {
            Failure::Usage(format!("{} does not start ({source}); name em-agent with --agent", agent.display()))
        })?;
        if !status.success() {
            return Err(Failure::Usage(format!("`{}` ended with {status}", shown(&agent, &words))));
        }
    }
    Ok(())
}

fn yours(key: &str) -> String {
    format!(
        "the data set {key} is yours to bring: name its file or folder by --from PATH, which puts it into the store; \
         or by spec.dataset.path of the experiment, where compute nodes see it"
    )
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

    #[test]
    fn a_command_can_be_pasted() {
        let words = ["setup", "--store", "/srv/my store", "--model", "org/it's"].map(str::to_owned);
        assert_eq!(shown(Path::new("em-agent"), &words), r"em-agent setup --store '/srv/my store' --model 'org/it'\''s'");
    }
}
