//! Rules across fields, and what is allowed but surprises. Also the small sections `checks`, `slo` and `cost`.

use em_api::spec::{Arrival, Checks, Cost, Device, ParityCheck, ShardBy, Slo, Spec};
use serde_json::Value;

use super::metadata::read_label;
use super::reader::{Errors, Node, shorten};
use super::{MOST_TRIALS, estimate, nearest::nearest, slurm};

pub(super) fn read(node: Node<'_>) -> Checks {
    let mut object = node.object();
    let mut parity = object.field("parity").object();
    let reference = parity.field("reference").parsed("the name of a backend", read_label);
    parity.finish();
    object.finish();
    Checks { parity: ParityCheck { reference } }
}

pub(super) fn read_slo(node: Node<'_>) -> Option<Slo> {
    if !node.is_set() {
        return None;
    }
    let mut object = node.object();
    let slo =
        Slo { p99_ms: object.field("p99Ms").number(0.001..=3.6e6), success_rate: object.field("successRate").number(0.0..=1.0) };
    object.finish();
    Some(slo)
}

pub(super) fn read_cost(node: Node<'_>) -> Option<Cost> {
    if !node.is_set() {
        return None;
    }
    let mut object = node.object();
    let per_gpu_hour = object.field("perGpuHour").required().number(0.0..=1e6);
    let currency = object.field("currency").text().unwrap_or_else(|| "USD".to_owned());
    object.finish();
    per_gpu_hour.map(|per_gpu_hour| Cost { per_gpu_hour, currency })
}

/// Each rule is silent when one of its own fields is wrong already.
pub(super) fn check(spec: &Spec, errors: &Errors) {
    let trials = estimate::trials(spec);
    if trials > MOST_TRIALS && errors.none_under("spec.matrix") {
        let message = format!("makes {trials} trials with the backends and repetitions; at most {MOST_TRIALS} are allowed");
        errors.push("spec.matrix", message);
    }
    let largest = spec.matrix.batch_sizes.iter().copied().max().unwrap_or(1);
    if u64::from(largest) > spec.dataset.limit && errors.none_under("spec.matrix.batchSizes") && errors.none_under("spec.dataset") {
        errors.push("spec.dataset.limit", format!("{} texts cannot fill a request of {largest}; raise it", spec.dataset.limit));
    }
    if spec.load.arrival == Arrival::Poisson && spec.matrix.concurrency.is_some() && errors.none_under("spec.matrix") {
        let message = "poisson belongs to open loop: set `matrix.requestRate` or `matrix.textRate` in place of concurrency";
        errors.push("spec.load.arrival", message);
    }
    let trial = estimate::trial_seconds(spec);
    let time = u64::from(spec.slurm.time.minutes) * 60;
    if trial >= time && errors.none_under("spec.load") && errors.none_under("spec.slurm.time") {
        let message = format!("{} is too short for a single trial of {}", spec.slurm.time, estimate::words(trial));
        errors.push("spec.slurm.time", message);
    }
}

/// The reference of parity names a backend. Where backends have errors of their own, the names as they stand in the body must
/// do: a sweep's variants, named after its backend, may then not be known.
pub(super) fn check_reference(body: &Value, spec: Option<&Spec>, errors: &Errors) {
    let reference = body.pointer("/spec/checks/parity/reference").and_then(Value::as_str);
    let Some(reference) = reference.filter(|_| errors.none_under("spec.checks")) else { return };
    let Some(entries) = body.pointer("/spec/backends").and_then(Value::as_array) else { return };
    let written: Vec<&str> = entries.iter().filter_map(|entry| entry.get("name")?.as_str()).collect();
    let whole = spec.filter(|_| errors.none_under("spec.backends"));
    let names = whole.map_or(written.clone(), |spec| spec.backends.iter().map(|backend| backend.name.as_str()).collect());
    let known = match whole {
        Some(_) => names.contains(&reference),
        None => {
            written.len() < entries.len()
                || names.iter().any(|name| reference == *name || reference.starts_with(&format!("{name}-")))
        }
    };
    if !known && !names.is_empty() {
        let hint = nearest(reference, &names).map(|name| format!("did you mean `{name}`? ")).unwrap_or_default();
        let message = format!("no backend is named `{}`; {hint}known: {}", shorten(reference), names.join(", "));
        errors.push("spec.checks.parity.reference", message);
    }
}

/// Things that will work but surprise.
pub(super) fn warnings(spec: &Spec, estimated_seconds: u64) -> Vec<String> {
    let mut warnings = Vec::new();
    warnings.extend(apart(spec));
    if spec.load.repetitions < 3 {
        warnings.push(format!("{} of load.repetitions gives no verdict between backends; 3 or more do", spec.load.repetitions));
    }
    let time = u64::from(spec.slurm.time.minutes) * 60;
    let of_a_job = estimate::longest_job_seconds(spec, estimated_seconds);
    if of_a_job > time {
        let continuations = of_a_job.div_ceil(time) - 1;
        let mut warning = format!(
            "about {} of work are above slurm.time ({}): about {continuations} continuation{} in further jobs",
            estimate::words(of_a_job),
            spec.slurm.time,
            if continuations == 1 { "" } else { "s" },
        );
        if continuations > u64::from(spec.max_continuations) {
            warning.push_str(&format!(", and maxContinuations allows {}: it will not finish", spec.max_continuations));
        }
        warnings.push(warning);
    }
    if spec.backends.len() > 1 && spec.checks.parity.reference.is_none() {
        warnings.push("no checks.parity.reference: whether the backends compute the same vectors stays unknown".to_owned());
    }
    if !slurm::asks_for_gpus(&spec.slurm) {
        let here = |backend: &&em_api::spec::Backend| backend.device == Device::Cuda && backend.url.is_none();
        let cuda: Vec<&str> = spec.backends.iter().filter(here).map(|backend| backend.name.as_str()).collect();
        if !cuda.is_empty() {
            warnings.push(format!(
                "device cuda ({}), but the job asks Slurm for no GPU: set slurm.gres or slurm.gpus",
                cuda.join(", ")
            ));
        }
    }
    warnings
}

/// `slurm.shard` runs backends in jobs of their own: what that costs.
fn apart(spec: &Spec) -> Option<String> {
    let jobs = match spec.slurm.shard {
        ShardBy::Experiment => return None,
        ShardBy::Backend => spec.backends.len() as u64,
        ShardBy::Trial => estimate::trials(spec),
    };
    let where_they_run = if spec.slurm.same_node {
        "on one node, perhaps on different GPUs of it"
    } else {
        "perhaps on different nodes; sameNode keeps them on one"
    };
    (spec.backends.len() > 1 && jobs > 1).then(|| {
        format!(
            "{jobs} jobs, {where_they_run}: backends are compared unpaired, so that more repetitions are needed to tell them apart"
        )
    })
}
