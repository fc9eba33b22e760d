//! Versions of the packages that a service in Python really runs with, from its own interpreter. A manifest says what was installed
//! once; an interpreter says what is there now.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use tracing::warn;

use super::command::Plan;

/// Packages that change speed or vectors. Only their metadata is read: importing torch takes seconds.
const SCRIPT: &str = r#"
import json, platform
from importlib.metadata import PackageNotFoundError, version
found = {"python": platform.python_version()}
for name in ("vllm", "torch", "transformers", "tokenizers", "sentence-transformers", "langchain-huggingface", "numpy", "triton",
             "flash-attn", "flashinfer-python", "xformers", "intel-extension-for-pytorch"):
    try:
        found[name] = version(name)
    except PackageNotFoundError:
        pass
print(json.dumps(found))
"#;
const WITHIN: Duration = Duration::from_secs(20);

/// Asked once a start, when the service is up: its start is timed. Empty where `plan` runs no Python, or where it does not answer.
pub(super) async fn of_python(plan: &Plan) -> BTreeMap<String, String> {
    if !plan.python {
        return BTreeMap::new();
    }
    let mut command = tokio::process::Command::new(&plan.program);
    plan.unset.iter().for_each(|name| {
        command.env_remove(name);
    });
    command.args(["-c", SCRIPT]).envs(&plan.env).stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    let answer = match tokio::time::timeout(WITHIN, command.output()).await {
        Ok(Ok(output)) => serde_json::from_slice(&output.stdout).map_err(|error| error.to_string()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {} s", WITHIN.as_secs())),
    };
    answer.unwrap_or_else(|problem| {
        warn!("{} did not tell the versions of its packages: {problem}", plan.program.display());
        BTreeMap::new()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_interpreter_tells_its_own_packages_and_others_nothing() {
        let folder = tempfile::tempdir().expect("folder");
        let package = folder.path().join("vllm-9.8.7.dist-info");
        std::fs::create_dir(&package).expect("folder");
        std::fs::write(package.join("METADATA"), "Metadata-Version: 2.1\nName: vllm\nVersion: 9.8.7\n").expect("file");
        let mut plan = Plan::new("python3", Vec::new());
        plan.set("PYTHONPATH", folder.path().display());
        assert_eq!(of_python(&plan).await, BTreeMap::new(), "it was not said to be Python");
        plan.python = true;
        let found = of_python(&plan).await;
        assert_eq!(found.get("vllm").map(String::as_str), Some("9.8.7"), "{found:?}");
        assert!(found["python"].starts_with("3."), "{found:?}");
        plan.program = "/bin/false".into();
        assert_eq!(of_python(&plan).await, BTreeMap::new());
    }
}
