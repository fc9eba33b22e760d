//! The body of `POST /job/submit`. slurmrestd does not read `#SBATCH` lines, so all that the script's header asks for is said again, in
//! the words of the version; what those cannot say is refused by name rather than left out.

mod described;
mod extra;
mod options;
mod units;

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::settings::RestSettings;
use super::version::Version;
use crate::JobScript;
use crate::environment::inherited;
use crate::second_key::stamp;

/// What this version cannot be asked for, in words for the user.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unsupported(pub(super) String);

/// `ourselves`: the job's user is the account that we run as.
pub(super) fn body(job: &JobScript, settings: &RestSettings, ourselves: bool, version: Version) -> Result<Value, Unsupported> {
    let environment = environment(job, settings, ourselves);
    let fields = match version.describes_by_options() {
        true => options::fields(job, environment, version)?,
        false => described::fields(job, environment, version)?,
    };
    Ok(json!({ "script": job.render(), "job": fields }))
}

/// What all versions are told in the same words.
fn alike(job: &JobScript) -> Map<String, Value> {
    let options = &job.options;
    let texts = [
        ("name", Some(job.name.clone())),
        ("comment", Some(stamp(&job.comment, &job.name))),
        ("current_working_directory", Some(job.job_dir.to_string_lossy().into_owned())),
        ("standard_output", Some("slurm_%j.out".to_owned())),
        ("standard_error", Some("slurm_%j.err".to_owned())),
        ("partition", options.partition.clone()),
        ("account", options.account.clone()),
        ("qos", options.qos.clone()),
        ("reservation", options.reservation.clone()),
        ("constraints", options.constraint.clone()),
        ("licenses", options.licenses.clone()),
        ("dependency", options.dependency.clone()),
        ("mail_user", options.mail_user.clone()),
        ("container", options.oci_bundle()),
        ("nodes", options.nodes.map(|nodes| nodes.to_string())),
    ];
    let mut fields: Map<String, Value> =
        texts.into_iter().filter_map(|(key, value)| Some((key.to_owned(), json!(value?)))).collect();
    let numbers = [("cpus_per_task", options.cpus_per_task.map(i64::from)), ("nice", options.nice)];
    fields.extend(numbers.into_iter().filter_map(|(key, value)| Some((key.to_owned(), json!(value?)))));
    fields
}

/// The environment that sbatch would give the job. Names and homes of another account than ours are not passed on.
fn environment(job: &JobScript, settings: &RestSettings, ourselves: bool) -> BTreeMap<String, String> {
    let mut environment: BTreeMap<String, String> = inherited(&settings.pass_env)
        .filter_map(|(name, value)| value.into_string().ok().map(|value| (name.to_owned(), value)))
        .collect();
    if !ourselves {
        environment.remove("HOME");
        environment.remove("SHELL");
    }
    for name in ["USER", "LOGNAME"] {
        environment.insert(name.to_owned(), settings.user.clone());
    }
    // slurmrestd refuses an empty environment.
    environment.entry("PATH".to_owned()).or_insert_with(|| "/usr/local/bin:/usr/bin:/bin".to_owned());
    environment.insert("SLURM_SUBMIT_DIR".to_owned(), job.job_dir.to_string_lossy().into_owned());
    if let Some(cpus) = job.options.cpus_per_task {
        environment.insert("SLURM_CPUS_PER_TASK".to_owned(), cpus.to_string());
    }
    environment
}

/// `option` is as sbatch calls it.
fn unsupported(option: &str, version: Version, why: &str) -> Unsupported {
    Unsupported(format!("--{option} cannot be asked for through slurmrestd {version}: {why}"))
}

#[cfg(test)]
mod tests;
