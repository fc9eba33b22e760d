//! Directories and the agent's binary.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use super::Check;
use crate::config::network_file_system;

const VERSION_DEADLINE: Duration = Duration::from_secs(20);

pub(super) fn state_dir(path: &Path) -> Check {
    let name = "state directory";
    let existing = path.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(path);
    if let Some(kind) = network_file_system(existing) {
        let detail = format!("{} is on a network file system ({kind}), where databases lose writes", path.display());
        return Check::failed(name, detail, "put it on a local disk with --state-dir; only --job-dir has to be shared");
    }
    match probe(existing) {
        Ok(()) if existing == path => Check::ok(name, format!("{} is on a local disk and writable", path.display())),
        Ok(()) => Check::ok(name, format!("{} will be made at the first start", path.display())),
        Err(error) => Check::failed(
            name,
            format!("{}: {error}", existing.display()),
            "give this account the right to write there, or choose another --state-dir",
        ),
    }
}

pub(super) fn job_dir(path: &Path) -> Check {
    let name = "job directory";
    if let Err(error) = crate::serve::make_job_dir(path).and_then(|()| probe(path)) {
        return Check::failed(
            name,
            format!("{} takes no files: {error}", path.display()),
            "choose a folder of yours that the compute nodes share: --job-dir",
        );
    }
    match network_file_system(path) {
        Some(kind) => Check::ok(name, format!("{} is writable, on {kind}", path.display())),
        None => Check::warning(
            name,
            format!("{} is writable, and on no network file system that we know", path.display()),
            "right if the compute nodes see this very folder; else choose a shared one with --job-dir",
        ),
    }
}

pub(super) async fn agent(path: &Path) -> Check {
    let name = "agent";
    let cure =
        "build or install em-agent beside em-controlplane, or name it with --agent; compute nodes must see it under the same path";
    if !path.is_file() {
        return Check::failed(name, format!("there is no {}", path.display()), cure);
    }
    let mut command = tokio::process::Command::new(path);
    command.arg("--version").stdin(Stdio::null()).kill_on_drop(true);
    match tokio::time::timeout(VERSION_DEADLINE, command.output()).await {
        Ok(Ok(output)) if output.status.success() => {
            Check::ok(name, format!("{} runs ({})", path.display(), String::from_utf8_lossy(&output.stdout).trim()))
        }
        Ok(Ok(output)) => Check::failed(name, format!("{} --version ended with {}", path.display(), output.status), cure),
        Ok(Err(error)) => Check::failed(name, format!("{} does not start: {error}", path.display()), cure),
        Err(_) => Check::failed(name, format!("{} did not end within {} s", path.display(), VERSION_DEADLINE.as_secs()), cure),
    }
}

fn probe(folder: &Path) -> std::io::Result<()> {
    let file = folder.join(format!(".em-doctor-{}", std::process::id()));
    std::fs::write(&file, b"probe")?;
    std::fs::remove_file(&file)
}
