//! The script and apptainer. Debian has no apptainer: a stand-in of that name on the PATH notes its arguments and becomes the
//! command behind the image, as the real one becomes (or stays beside, passing on signals) the container's process.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::tests::{ended, script, term, wait_for, witness};
use super::*;

const STAND_IN: &str = r#"#!/bin/bash
printf '%s\0' "$@" > "$NOTES"
[ "$1" = exec ] && shift
while [ "${1#--}" != "$1" ]; do shift; done
shift
exec "$@"
"#;

fn start_with_tools(script: &JobScript, tools: &Path) -> Child {
    std::fs::write(script.job_dir.join(SCRIPT_FILE), script.render()).expect("the script is written");
    let path = format!("{}:/usr/bin:/bin", tools.display());
    let mut command = Command::new("bash");
    command.arg(script.job_dir.join(SCRIPT_FILE)).env("PATH", path).env("NOTES", script.job_dir.join("notes"));
    command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().expect("bash runs")
}

fn provide(tools: &Path, name: &str) {
    std::fs::create_dir_all(tools).expect("a folder");
    std::fs::write(tools.join(name), STAND_IN).expect("written");
    std::fs::set_permissions(tools.join(name), std::fs::Permissions::from_mode(0o755)).expect("executable");
}

#[test]
fn term_reaches_an_agent_in_apptainer_and_its_exit_code_comes_back() {
    for tool in ["apptainer", "singularity"] {
        let dir = tempfile::tempdir().expect("a folder");
        let tools = dir.path().join("tools");
        provide(&tools, tool);
        let agent = "trap 'sleep 0.3; touch farewell; exit 5' TERM; touch up; for i in {1..400}; do sleep 0.05; done";
        let mut script = script(dir.path(), &["bash", "-c", agent]);
        script.options.container = Some("apptainer:/images/$(touch pwned).sif".to_owned());
        script.options.gpus = Some("1".to_owned());
        script.options.container_mounts = vec![PathBuf::from("/shared/my store")];
        assert_eq!(script.validate(), []);
        let child = start_with_tools(&script, &tools);
        wait_for(&dir.path().join("up"));
        term(&child);
        assert_eq!(ended(child).code(), Some(5));
        assert!(dir.path().join("farewell").exists(), "the agent was not told, or not waited for");
        assert_eq!(witness(dir.path()), (5, 0));
        let notes = std::fs::read_to_string(dir.path().join("notes")).expect("the stand-in ran");
        let bind = format!("--bind={}", dir.path().display());
        let words = ["exec", "--nv", &bind, "--bind=/shared/my store", "/images/$(touch pwned).sif", "bash", "-c", agent];
        assert_eq!(notes.split_terminator('\0').collect::<Vec<_>>(), words);
    }
}

#[test]
fn a_node_without_apptainer_is_told_by_name() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut script = script(dir.path(), &["touch", "agent-ran"]);
    script.options.container = Some("/images/em.sif".to_owned());
    let output = start_with_tools(&script, dir.path()).wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(69));
    assert!(String::from_utf8_lossy(&output.stderr).contains("neither apptainer nor singularity"));
    assert!(!dir.path().join("agent-ran").exists());
    assert_eq!(witness(dir.path()), (69, 0));
}
