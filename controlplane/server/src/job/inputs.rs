//! What a job needs from the store before it is submitted: what of it is missing, and the command that brings it.

use std::path::Path;

use em_api::inputs::{EntryKind, manifest_path, required};
use em_api::spec::{Device, Spec};

use super::JobSettings;

/// Reads the disk.
pub fn missing(store_dir: &Path, spec: &Spec) -> Vec<(EntryKind, String)> {
    let lacks = |(kind, key): &(EntryKind, String)| !manifest_path(store_dir, *kind, key).is_file();
    required(spec).into_iter().filter(lacks).collect()
}

/// One line for people.
pub fn told(missing: &[(EntryKind, String)], cure: &str) -> String {
    let list: Vec<String> = missing
        .iter()
        .map(|(kind, key)| match kind {
            EntryKind::Model => format!("model {key}"),
            EntryKind::Dataset => format!("data set {key}"),
            EntryKind::Backend => format!("backend {key}"),
        })
        .collect();
    format!("missing in the store: {}. Run: {cure}", list.join(", "))
}

/// What a person does about it: the command that fills the store, complete, to be pasted.
pub fn cure(settings: &JobSettings, spec: &Spec, missing: &[(EntryKind, String)]) -> String {
    let keys = |wanted: EntryKind| -> Vec<&str> {
        missing.iter().filter(|(kind, _)| *kind == wanted).map(|(_, key)| key.as_str()).collect()
    };
    let (agent, store_dir) = (settings.agent.to_string_lossy(), settings.store_dir.to_string_lossy());
    let mut command = format!("{} setup --store {}", em_slurm::quote(&agent), em_slurm::quote(&store_dir));
    let backends = keys(EntryKind::Backend);
    if !backends.is_empty() {
        command.push_str(&format!(" --backends {}", backends.join(",")));
        if spec.backends.iter().any(|backend| backend.device == Device::Cuda) {
            command.push_str(" --profile gpu");
        }
    }
    if !keys(EntryKind::Model).is_empty() {
        command.push_str(&format!(" --model {}", em_slurm::quote(&spec.model.id)));
        if spec.model.revision != "main" {
            command.push_str(&format!(" --revision {}", em_slurm::quote(&spec.model.revision)));
        }
    }
    match keys(EntryKind::Dataset).first() {
        Some(&BUILT_IN) => command.push_str(&format!(" --dataset {BUILT_IN}")),
        Some(other) => {
            command.push_str(&format!(". The data set {other} is yours to bring: say where it is with spec.dataset.path"))
        }
        None => {}
    }
    command
}

/// The data set that `setup` can fetch.
const BUILT_IN: &str = "wordnet";
