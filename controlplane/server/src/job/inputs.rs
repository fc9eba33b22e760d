//! What a job needs from the store before it is submitted: what of it is missing, and the command that brings it.

pub use em_api::inputs::missing;
use em_api::inputs::{EntryKind, commands, own_data};
use em_api::spec::Spec;

use super::JobSettings;

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

/// What a person does about it: the commands that fill the store, complete, to be pasted.
pub fn cure(settings: &JobSettings, spec: &Spec, missing: &[(EntryKind, String)]) -> String {
    let agent = settings.agent.to_string_lossy().into_owned();
    let line =
        |words: Vec<String>| std::iter::once(&agent).chain(&words).map(|word| em_slurm::quote(word)).collect::<Vec<_>>().join(" ");
    let lines: Vec<String> = commands(spec, &settings.store_dir, missing, None, None).into_iter().map(line).collect();
    let yours = |key| format!(" (PATH: your files of {key}; or name them by spec.dataset.path, where compute nodes see them)");
    format!("{}{}", lines.join(" && "), own_data(missing).map(yours).unwrap_or_default())
}
