//! Tells the agent which revision of git it is built from, for the environment capsule: `EM_REVISION` from outside (`make build`
//! sets it), else what git says of the last commit, else nothing. A build without git, or outside of a repository, goes on.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=EM_REVISION");
    if std::env::var_os("EM_REVISION").is_some() {
        return;
    }
    let Some(revision) = git(&["rev-parse", "--short=12", "HEAD"]) else { return };
    println!("cargo::rustc-env=EM_REVISION={revision}");
    // It grows with each commit and each change of branch.
    if let Some(log) = git(&["rev-parse", "--path-format=absolute", "--git-path", "logs/HEAD"])
        && Path::new(&log).is_file()
    {
        println!("cargo::rerun-if-changed={log}");
    }
}

/// `None`: there is no git, or no repository.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned()).filter(|text| !text.is_empty())
}
