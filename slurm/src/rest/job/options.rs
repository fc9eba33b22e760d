//! v0.0.36 to v0.0.38: a job is a dictionary of sbatch's options. slurmrestd reads each value as sbatch reads the option's, so texts
//! go in as they are.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::extra::{EXTRAS, Extra, split};
use super::{Unsupported, Version, unsupported};
use crate::JobScript;
use crate::second_key::stamp;

pub(super) fn fields(
    job: &JobScript,
    environment: BTreeMap<String, String>,
    version: Version,
) -> Result<Map<String, Value>, Unsupported> {
    let options = &job.options;
    let mut fields = Map::new();
    let mut add = |key: &str, value: Value| {
        fields.insert(key.to_owned(), value);
    };
    add("name", json!(job.name));
    add("comment", json!(stamp(&job.comment, &job.name)));
    add("current_working_directory", json!(job.job_dir.to_string_lossy()));
    add("standard_output", json!("slurm_%j.out"));
    add("standard_error", json!("slurm_%j.err"));
    add("open_mode", json!("append"));
    // Not `signal`: `B:` is read only by a program called sbatch (`get_signal_opts`, 22.05), and without it the shell gets none. So TERM
    // comes with the time limit, `KillWait` before KILL.
    add("environment", json!(environment));
    add(if options.requeue { "requeue" } else { "no_requeue" }, json!(true));

    let oci_bundle = options.oci_bundle();
    let texts = [
        ("partition", &options.partition),
        ("account", &options.account),
        ("qos", &options.qos),
        ("reservation", &options.reservation),
        ("gres", &options.gres),
        ("gpus", &options.gpus),
        ("gpus_per_node", &options.gpus_per_node),
        ("memory_per_node", &options.memory),
        ("constraints", &options.constraint),
        ("nodelist", &options.nodelist),
        ("exclude_nodes", &options.exclude),
        ("licenses", &options.licenses),
        ("dependency", &options.dependency),
        ("begin_time", &options.begin),
        ("mail_type", &options.mail_type),
        ("mail_user", &options.mail_user),
        ("container", &oci_bundle),
    ];
    for (key, value) in texts {
        if let Some(value) = value {
            if key == "container" && version.number() < 38 {
                return Err(unsupported("container", version, "it came with v0.0.38"));
            }
            add(key, json!(value));
        }
    }
    let numbers = [("cpus_per_task", options.cpus_per_task), ("time_limit", options.time_minutes)];
    for (key, value) in numbers {
        if let Some(value) = value {
            add(key, json!(value));
        }
    }
    if let Some(nodes) = options.nodes {
        add("nodes", json!(nodes.to_string()));
    }
    if let Some(nice) = options.nice {
        add("nice", json!(nice));
    }
    if options.exclusive {
        add("exclusive", json!("exclusive"));
    }
    for arg in &options.extra_args {
        let (option, value) = split(arg);
        let Some((key, since)) = EXTRAS.iter().find(|extra| extra.option == option).and_then(Extra::as_option) else {
            return Err(unsupported(option, version, "it has no field for it; sbatch has (transport `cli`)"));
        };
        if version.number() < since {
            return Err(unsupported(option, version, &format!("it came with v0.0.{since}")));
        }
        // Before v0.0.38 one key was spelled with a blank.
        let key = if key == "time_minimum" && version.number() < 38 { "time minimum" } else { key };
        add(key, value.map_or(json!(true), |value| json!(value)));
    }
    Ok(fields)
}
