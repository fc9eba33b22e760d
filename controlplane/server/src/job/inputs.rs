//! What a job needs from the store before it is submitted: what of it is missing, and the command that brings it.

pub use em_api::inputs::missing;
use em_api::inputs::{EntryKind, not_built_in, setup_words};
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

/// What a person does about it: the command that fills the store, complete, to be pasted.
pub fn cure(settings: &JobSettings, spec: &Spec, missing: &[(EntryKind, String)]) -> String {
    let words = setup_words(spec, &settings.store_dir, missing, None);
    let agent = settings.agent.to_string_lossy().into_owned();
    let command: Vec<String> = std::iter::once(&agent).chain(&words).map(|word| em_slurm::quote(word)).collect();
    let own = not_built_in(missing).map(|told| format!(". But {told}")).unwrap_or_default();
    format!("{}{own}", command.join(" "))
}
