//! Which further sbatch options a user may add. Every option of sbatch has its class here, by hand, from the manuals of 22.05 and
//! 26.05: allowed, ours, or a field of its own (two places for one fact contradict each other sooner or later). Options that
//! no list has are the site's own (plugins add some) and allowed.

use crate::options::unwritable;

/// Accepts `--option` and `--option=value`. The message says what to write instead.
pub fn validate_extra_arg(arg: &str) -> Result<(), String> {
    if let Some(message) = unwritable(arg) {
        return Err(message);
    }
    let long = || format!("`{arg}` must be a long option such as --ntasks=1, with its value after `=`");
    let option = arg.strip_prefix("--").ok_or_else(long)?;
    let name = option.split_once('=').map_or(option, |(name, _)| name);
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
        return Err(long());
    }
    if ALLOWED.contains(&name) {
        return Ok(());
    }
    if let Some((_, field)) = FIELDS.iter().find(|(option, _)| *option == name) {
        return Err(format!("--{name} has a field of its own; set `{field}`"));
    }
    if let Some((_, reason)) = OURS.iter().find(|(option, _)| *option == name) {
        return Err(format!("--{name} is not allowed here: {reason}"));
    }
    // sbatch accepts abbreviations (getopt_long): --job-na=x is --job-name=x.
    let refused = OURS.iter().chain(&FIELDS).map(|(option, _)| option);
    if let Some(known) = refused.into_iter().find(|option| option.starts_with(name)) {
        return Err(format!("--{name} may be read as --{known}, which is not allowed here; write options in full"));
    }
    Ok(())
}

const TRACKING: &str = "it is set by us, to keep track of the job";
const OUTPUT: &str = "the logs belong into the job directory";
const IDENTITY: &str = "the job must be of this account and this cluster";
const ENVIRONMENT: &str = "the environment is made by the job script; use `env`";
const ONE_JOB: &str = "it would make something else than one batch job";
const WORDS: &str = "it changes what sbatch answers";
const ENDS: &str = "we decide when a job starts again or ends";
const FILE: &str = "it reads a file on the control plane's machine";

/// Options that would break how a job is tracked, who it is, where its output goes, or that it is one batch job.
const OURS: [(&str, &str); 34] = [
    ("array", ONE_JOB),
    ("autocomplete", ONE_JOB),
    ("bbf", FILE),
    ("chdir", OUTPUT),
    ("cluster", IDENTITY),
    ("cluster-constraint", IDENTITY),
    ("clusters", IDENTITY),
    ("comment", TRACKING),
    ("error", OUTPUT),
    ("export", ENVIRONMENT),
    ("export-file", ENVIRONMENT),
    ("external", ONE_JOB),
    ("get-user-env", ENVIRONMENT),
    ("gid", IDENTITY),
    ("help", ONE_JOB),
    ("ignore-pbs", "there are no #PBS lines"),
    ("input", OUTPUT),
    ("job-name", TRACKING),
    ("kill-on-invalid-dep", ENDS),
    ("no-kill", ENDS),
    ("no-requeue", "the field `requeue` says it"),
    ("open-mode", OUTPUT),
    ("output", OUTPUT),
    ("parsable", WORDS),
    ("quiet", WORDS),
    ("requeue", "the field `requeue` says it"),
    ("signal", ENDS),
    ("test-only", ONE_JOB),
    ("uid", IDENTITY),
    ("usage", ONE_JOB),
    ("verbose", WORDS),
    ("version", ONE_JOB),
    ("wait", WORDS),
    ("wrap", ONE_JOB),
];

/// Options that are fields of `JobOptions`, and the field.
const FIELDS: [(&str, &str); 24] = [
    ("account", "account"),
    ("begin", "begin"),
    ("constraint", "constraint"),
    ("container", "container"),
    ("container-id", "container"),
    ("cpus-per-task", "cpusPerTask"),
    ("dependency", "dependency"),
    ("exclude", "exclude"),
    ("exclusive", "exclusive"),
    ("gpus", "gpus"),
    ("gpus-per-node", "gpusPerNode"),
    ("gres", "gres"),
    ("licenses", "licenses"),
    ("mail-type", "mailType"),
    ("mail-user", "mailUser"),
    ("mem", "memory"),
    ("nice", "nice"),
    ("nodefile", "nodelist"),
    ("nodelist", "nodelist"),
    ("nodes", "nodes"),
    ("partition", "partition"),
    ("qos", "qos"),
    ("reservation", "reservation"),
    ("time", "time"),
];

/// Options that ask for resources or say when and where, and leave the rest alone.
const ALLOWED: [&str; 63] = [
    "acctg-freq",
    "batch",
    "bb",
    "consolidate-segments",
    "container-type",
    "context",
    "contiguous",
    "core-spec",
    "cores-per-socket",
    "cpu-freq",
    "cpus-per-gpu",
    "deadline",
    "delay-boot",
    "distribution",
    "extra",
    "extra-node-info",
    "gpu-bind",
    "gpu-freq",
    "gpus-per-socket",
    "gpus-per-task",
    "gres-flags",
    "hint",
    "hold",
    "mcs-label",
    "mem-bind",
    "mem-per-cpu",
    "mem-per-gpu",
    "mem-update",
    "mincpus",
    "network",
    "ntasks",
    "ntasks-per-core",
    "ntasks-per-gpu",
    "ntasks-per-node",
    "ntasks-per-socket",
    "ntasks-per-tres",
    "oom-kill-step",
    "overcommit",
    "oversubscribe",
    "power",
    "prefer",
    "priority",
    "profile",
    "propagate",
    "reboot",
    "resources",
    "resv-ports",
    "segment",
    "sockets-per-node",
    "spread-job",
    "spread-segments",
    "stepmgr",
    "switches",
    "tasks-per-node",
    "thread-spec",
    "threads-per-core",
    "time-min",
    "tmp",
    "tres-bind",
    "tres-per-task",
    "use-min-nodes",
    "wait-all-nodes",
    "wckey",
];

#[cfg(test)]
mod tests;
