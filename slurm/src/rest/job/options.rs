//! v0.0.36 to v0.0.38: a job is a dictionary of sbatch's options. slurmrestd reads each value as sbatch reads the option's, so texts
//! go in as they are.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::extra::{EXTRAS, Extra, split};
use super::{Unsupported, Version, alike, unsupported};
use crate::JobScript;

pub(super) fn fields(
    job: &JobScript,
    environment: BTreeMap<String, String>,
    version: Version,
) -> Result<Map<String, Value>, Unsupported> {
    let options = &job.options;
    let mut fields = alike(job);
    if fields.contains_key("container") && version.number() < 38 {
        return Err(unsupported("container", version, "it came with v0.0.38"));
    }
    let mut add = |key: &str, value: Value| {
        fields.insert(key.to_owned(), value);
    };
    add("open_mode", json!("append"));
    // Not `signal`: `B:` is read only by a program called sbatch (`get_signal_opts`, 22.05), and without it the shell gets none. So TERM
    // comes with the time limit, `KillWait` before KILL.
    add("environment", json!(environment));
    add(if options.requeue { "requeue" } else { "no_requeue" }, json!(true));

    let texts = [
        ("gres", &options.gres),
        ("gpus", &options.gpus),
        ("gpus_per_node", &options.gpus_per_node),
        ("memory_per_node", &options.memory),
        ("nodelist", &options.nodelist),
        ("exclude_nodes", &options.exclude),
        ("begin_time", &options.begin),
        ("mail_type", &options.mail_type),
    ];
    for (key, value) in texts {
        if let Some(value) = value {
            add(key, json!(value));
        }
    }
    if let Some(minutes) = options.time_minutes {
        add("time_limit", json!(minutes));
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
