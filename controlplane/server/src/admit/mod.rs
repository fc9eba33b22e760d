//! Admission: what a user posted → [`Admitted`], or all field errors at once, each with its path. Pure: no clock, no files, no
//! database. `body` turns bytes into a value, `reader` walks it, one file a section of the spec reads that section, and
//! [`expand`] makes the trials of what was admitted.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use em_api::HumanDuration;
use em_api::experiment::{API_VERSION, KIND};
use em_api::problem::FieldError;
use em_api::spec::{Desired, Dtype, Spec};
use serde_json::Value;

mod backends;
mod body;
mod checks;
mod cluster;
mod estimate;
pub mod expand;
mod load;
mod metadata;
mod model;
mod nearest;
mod reader;
mod slurm;
mod sweep;
#[cfg(test)]
mod tests;

pub use body::parse_body;
pub use cluster::cluster_warnings;
pub use metadata::{annotation_error, label_error, name_error};
pub(crate) use nearest::unknown_field;

use reader::{Errors, Node, words};

/// More trials than this are a mistake in the matrix, and a table that nobody reads.
pub const MOST_TRIALS: u64 = 10_000;

/// Seconds that results or logs may be kept for.
const LIFETIME: RangeInclusive<f64> = 60.0..=reader::TEN_YEARS;

/// An experiment that may be stored: complete, consistent, within bounds. Only [`admit`] makes one.
#[derive(Clone, Debug)]
pub struct Admitted {
    pub name: NameChoice,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    pub spec: Spec,
    pub warnings: Vec<String>,
    /// Expected run time of all trials, services included.
    pub estimated_seconds: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NameChoice {
    Given(String),
    /// `generateName`: the store appends five random characters.
    Generate(String),
}

/// Reads a posted body (see [`parse_body`]). What `GET` returns is admitted again and gives the same spec: the server's own
/// fields (`status`, `metadata.uid`, …) are passed over, as Kubernetes does.
pub fn admit(body: &Value) -> Result<Admitted, Vec<FieldError>> {
    let errors = Errors::default();
    if !body.is_object() {
        return Err(vec![FieldError::new("", "expected an experiment: an object with apiVersion, kind, metadata and spec")]);
    }
    let mut object = Node::root(body, &errors).object();
    object.field("apiVersion").required().word("known API version", &words(&[API_VERSION]));
    object.field("kind").required().word("kind", &words(&[KIND]));
    let metadata = metadata::read(object.field("metadata"));
    let spec = read_spec(object.field("spec").required());
    object.ignore("status");
    object.finish();
    if let Some(spec) = &spec {
        checks::check(spec, &errors);
    }
    checks::check_reference(body, spec.as_ref(), &errors);
    let (Some((name, labels, annotations)), Some(spec), true) = (metadata, spec, errors.is_empty()) else {
        return Err(errors.into_list());
    };
    let estimated_seconds = estimate::seconds(&spec);
    let warnings = checks::warnings(&spec, estimated_seconds);
    Ok(Admitted { name, labels, annotations, spec, warnings, estimated_seconds })
}

/// A new `ttl` or `logsTtl`, as a patch gives it. Errors: what is wrong, as a sentence.
pub fn lifetime(value: &Value) -> Result<HumanDuration, String> {
    let errors = Errors::default();
    let read = Node::root(value, &errors).duration(LIFETIME);
    read.ok_or_else(|| {
        let first = errors.into_list().into_iter().next();
        first.map_or_else(|| "expected a duration such as 30d".to_owned(), |error| error.message)
    })
}

/// `None`: a field that cannot be left out is missing or wrong, and its error is recorded.
fn read_spec(node: Node<'_>) -> Option<Spec> {
    if !node.is_set() {
        return None;
    }
    let mut object = node.object();
    let desired = [("Run", Desired::Run), ("Suspended", Desired::Suspended)];
    let desired = object.field("desired").word("state to start in", &desired).unwrap_or(Desired::Run);
    let model = model::read_model(object.field("model").required());
    let dataset = model::read_dataset(object.field("dataset"));
    let matrix = load::read_matrix(object.field("matrix"));
    let load = load::read_load(object.field("load"), &matrix);
    let slurm = slurm::read(object.field("slurm"));
    let checks = checks::read(object.field("checks"));
    let dtype = model.as_ref().map_or(Dtype::Float32, |model| model.dtype);
    let context = backends::Context { dtype, wire: load.wire, gpus_asked: slurm::asks_for_gpus(&slurm) };
    let mut backends = backends::read(object.field("backends").required(), &context);
    backends::fill_gates(&mut backends, dtype, checks.parity.reference.as_deref());
    let retries = object.field("retries").whole(0..=100);
    let max_continuations = object.field("maxContinuations").whole(0..=1_000);
    let retry_trials = object.field("retryTrials").boolean();
    let priority = object.field("priority").signed(-1_000_000..=1_000_000);
    let ttl = object.field("ttl").duration(LIFETIME);
    let logs_ttl = object.field("logsTtl").duration(LIFETIME);
    let allow_download = object.field("allowDownload").boolean();
    let slo = checks::read_slo(object.field("slo"));
    let cost = checks::read_cost(object.field("cost"));
    object.finish();
    Some(Spec {
        desired,
        model: model?,
        dataset,
        backends,
        matrix,
        load,
        checks,
        slo,
        cost,
        slurm,
        retries: retries.unwrap_or(2) as u32,
        max_continuations: max_continuations.unwrap_or(10) as u32,
        retry_trials: retry_trials.unwrap_or(false),
        priority: priority.unwrap_or(0),
        ttl,
        logs_ttl: logs_ttl.unwrap_or(HumanDuration::from_secs(30 * 86_400)),
        allow_download: allow_download.unwrap_or(false),
    })
}
