//! What a job asks of the machine, read from sbatch's options. What cannot be had here, or would measure something else if it were
//! left out, is refused with the field's name; what only says where to queue on a cluster is left out.

use serde::{Deserialize, Serialize};

use super::machine::Machine;
use crate::{Container, JobOptions};

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Request {
    /// Absent: not asked for; counts as one and is bound to none.
    pub(super) cpus: Option<u32>,
    pub(super) memory_mb: u64,
    pub(super) gpus: u32,
    /// Nothing else runs meanwhile.
    pub(super) exclusive: bool,
    /// Absent: no limit.
    pub(super) minutes: Option<u32>,
}

impl Request {
    /// Errors: one sentence with the field's name.
    pub(super) fn of(options: &JobOptions, machine: &Machine) -> Result<Self, String> {
        if let Some(error) = options.validate().into_iter().next() {
            return Err(format!("{}: {}", error.field, error.message));
        }
        nothing_that_only_slurm_has(options)?;
        this_machine(options, machine)?;
        let request = Self {
            cpus: options.cpus_per_task,
            memory_mb: options.memory.as_deref().map(megabytes).transpose()?.unwrap_or(0),
            gpus: gpus(options, machine)?,
            exclusive: options.exclusive,
            minutes: options.time_minutes,
        };
        let most = |field: &str, asked: u64, there: u64, unit: &str| {
            if asked <= there {
                Ok(())
            } else {
                Err(format!("{field}: the job asks for {asked}{unit}, this machine has {there}{unit}"))
            }
        };
        most("cpus_per_task", request.cpus.unwrap_or(1).into(), machine.cpus.len() as u64, " CPUs")?;
        most("memory", request.memory_mb, machine.memory_mb, " MB")?;
        most("gpus", request.gpus.into(), machine.gpus.devices.len() as u64, " GPUs")
            .map_err(|error| if machine.gpus.devices.is_empty() { format!("{error}: the settings name none") } else { error })?;
        Ok(request)
    }

    /// Whether the machine as it is now could run it with nothing else running.
    pub(super) fn fits_empty(&self, machine: &Machine) -> bool {
        let cpus = self.cpus.unwrap_or(1) as usize;
        cpus <= machine.cpus.len() && self.memory_mb <= machine.memory_mb && self.gpus as usize <= machine.gpus.devices.len()
    }
}

/// Apptainer needs no Slurm; pyxis and OCI bundles do.
fn only_slurm_opens(container: &str) -> bool {
    !matches!(Container::parse(container), Ok(Container::Apptainer { .. }))
}

/// They change when or in what a job runs, and mean nothing without Slurm.
fn nothing_that_only_slurm_has(options: &JobOptions) -> Result<(), String> {
    let set = [
        ("dependency", options.dependency.is_some()),
        ("begin", options.begin.is_some()),
        ("licenses", options.licenses.is_some()),
        ("container", options.container.as_deref().is_some_and(only_slurm_opens)),
        ("constraint", options.constraint.is_some()),
        ("extra_args", !options.extra_args.is_empty()),
    ];
    match set.iter().find(|(_, set)| *set) {
        Some((field, _)) => Err(format!("{field}: this needs Slurm; leave it out for jobs on this machine alone")),
        None => Ok(()),
    }
}

fn this_machine(options: &JobOptions, machine: &Machine) -> Result<(), String> {
    let host = &machine.host;
    if options.nodes.is_some_and(|nodes| nodes > 1) {
        return Err(format!("nodes: the job asks for {} nodes, there is one, {host}", options.nodes.unwrap_or(1)));
    }
    if let Some(list) = &options.nodelist
        && !list.split(',').all(|name| machine.is_called(name.trim()))
    {
        return Err(format!("nodelist: there is one node, {host}, and not {list}"));
    }
    if options.exclude.as_deref().is_some_and(|list| list.split(',').any(|name| machine.is_called(name.trim()))) {
        return Err(format!("exclude: there is no node but {host}"));
    }
    Ok(())
}

/// sbatch's `--mem`: megabytes, or with K, M, G or T; 0 is all of a node.
fn megabytes(text: &str) -> Result<u64, String> {
    let wrong = || format!("memory: `{text}` is no amount; write 32G or 500M");
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let kilobytes_each: u64 = match unit.to_ascii_uppercase().as_str() {
        "K" | "KB" => 1,
        "" | "M" | "MB" => 1 << 10,
        "G" | "GB" => 1 << 20,
        "T" | "TB" => 1 << 30,
        _ => return Err(wrong()),
    };
    Ok(number.checked_mul(kilobytes_each).ok_or_else(wrong)?.div_ceil(1024))
}

/// `gres`, `gpus` and `gpus_per_node` say the same on one node, so they must agree.
fn gpus(options: &JobOptions, machine: &Machine) -> Result<u32, String> {
    let mut asked: Option<u32> = None;
    for (field, value) in [("gres", &options.gres), ("gpus", &options.gpus), ("gpus_per_node", &options.gpus_per_node)] {
        let Some(value) = value else { continue };
        let count = if field == "gres" { gres(value, machine)? } else { typed(field, value, machine)? };
        if asked.is_some_and(|before| before != count) {
            return Err(format!("{field}: {count} GPUs, but another field says {}", asked.unwrap_or(0)));
        }
        asked = Some(count);
    }
    Ok(asked.unwrap_or(0))
}

/// `gpu`, `gpu:2`, `gpu:l40s:2`, `gres/gpu:2`, several joined by commas.
fn gres(value: &str, machine: &Machine) -> Result<u32, String> {
    let mut sum = 0;
    for entry in value.split(',').map(str::trim) {
        let entry = entry.strip_prefix("gres/").unwrap_or(entry);
        if entry == "none" {
            continue;
        }
        let (kind, rest) = entry.split_once([':', '=']).unwrap_or((entry, "1"));
        if kind != "gpu" {
            return Err(format!("gres: `{entry}` is no GPU; this machine has nothing else to give out"));
        }
        sum += typed("gres", rest, machine)?;
    }
    Ok(sum)
}

/// `2`, `l40s`, `l40s:2`.
fn typed(field: &str, value: &str, machine: &Machine) -> Result<u32, String> {
    let (model, count) = match value.split_once([':', '=']) {
        Some((model, count)) => (Some(model), count),
        None if value.starts_with(|c: char| c.is_ascii_digit()) => (None, value),
        None => (Some(value), "1"),
    };
    if let Some(model) = model
        && !machine.gpus.model.as_ref().is_some_and(|ours| ours.eq_ignore_ascii_case(model))
    {
        let ours =
            machine.gpus.model.as_deref().map_or("of no type that the settings name".to_owned(), |ours| format!("{ours} ones"));
        return Err(format!("{field}: `{model}` GPUs are asked for, this machine's are {ours}; ask for a number alone"));
    }
    count.parse().ok().filter(|count| *count <= 1024).ok_or_else(|| format!("{field}: `{value}` is no number of GPUs"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(gpus: &str) -> Machine {
        Machine {
            host: "box".to_owned(),
            cpus: (0..8).collect(),
            memory_mb: 16_000,
            gpus: gpus.parse().expect("GPUs"),
            boot_id: String::new(),
            user: String::new(),
        }
    }

    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn a_request_is_read_in_every_spelling() {
        let of = |options: JobOptions| Request::of(&options, &machine("l40s:4")).expect("can be had");
        for gres in ["gpu:2", "gpu:l40s:2", "gpu:L40S:2", "gres/gpu:2", "gpu,gpu:1", "gpu:l40s,gpu"] {
            assert_eq!(of(JobOptions { gres: some(gres), ..JobOptions::default() }).gpus, 2, "{gres}");
        }
        for gpus in ["2", "l40s:2"] {
            assert_eq!(of(JobOptions { gpus: some(gpus), gpus_per_node: some("2"), ..JobOptions::default() }).gpus, 2);
        }
        for (memory, mb) in [("500", 500), ("500M", 500), ("2G", 2048), ("1T", 1 << 20), ("1K", 1), ("0", 0)] {
            assert_eq!(megabytes(memory), Ok(mb), "{memory}");
        }
        let whole = JobOptions { cpus_per_task: Some(8), time_minutes: Some(30), exclusive: true, ..JobOptions::default() };
        assert_eq!(of(whole), Request { cpus: Some(8), memory_mb: 0, gpus: 0, exclusive: true, minutes: Some(30) });
    }

    #[test]
    fn what_a_queue_of_a_cluster_is_told_changes_nothing_here() {
        let options = JobOptions {
            partition: some("gpu"),
            account: some("lab"),
            qos: some("high"),
            reservation: some("week"),
            nodelist: some("box.example.org"),
            exclude: some("node7"),
            nice: Some(10),
            requeue: true,
            mail_type: some("END"),
            mail_user: some("me"),
            nodes: Some(1),
            ..JobOptions::default()
        };
        assert_eq!(Request::of(&options, &machine("0")), Ok(Request::default()));
    }

    #[test]
    fn what_cannot_be_had_is_refused_with_field_and_figures() {
        let base = JobOptions::default;
        for (options, words) in [
            (JobOptions { gres: some("gpu:3"), ..base() }, "gpus: the job asks for 3 GPUs, this machine has 2 GPUs"),
            (JobOptions { gres: some("gpu:a100:1"), ..base() }, "gres: `a100` GPUs are asked for"),
            (JobOptions { gres: some("shard:1"), ..base() }, "gres: `shard:1` is no GPU"),
            (JobOptions { gres: some("gpu:1"), gpus: some("2"), ..base() }, "gpus: 2 GPUs, but another field says 1"),
            (JobOptions { gpus: some("2x"), ..base() }, "gpus: `2x` is not a number of GPUs"),
            (JobOptions { cpus_per_task: Some(9), ..base() }, "cpus_per_task: the job asks for 9 CPUs, this machine has 8 CPUs"),
            (JobOptions { memory: some("900G"), ..base() }, "memory: the job asks for 921600 MB, this machine has 16000 MB"),
            (JobOptions { memory: some("much"), ..base() }, "memory: `much`"),
            (JobOptions { nodes: Some(2), ..base() }, "nodes: "),
            (JobOptions { nodelist: some("box,node7"), ..base() }, "nodelist: "),
            (JobOptions { exclude: some("box"), ..base() }, "exclude: "),
            (JobOptions { dependency: some("afterok:1"), ..base() }, "dependency: "),
            (JobOptions { begin: some("now+1hour"), ..base() }, "begin: "),
            (JobOptions { licenses: some("x"), ..base() }, "licenses: "),
            (JobOptions { container: some("/oci"), ..base() }, "container: "),
            (JobOptions { constraint: some("avx512"), ..base() }, "constraint: "),
            (JobOptions { extra_args: vec!["--hold".to_owned()], ..base() }, "extra_args: "),
            (JobOptions { time_minutes: Some(0), ..base() }, "time_minutes: "),
        ] {
            let error = Request::of(&options, &machine("2")).expect_err(words);
            assert!(error.starts_with(words), "{error}");
        }
        let error = Request::of(&JobOptions { gres: some("gpu:1"), ..base() }, &machine("0")).expect_err("no GPUs");
        assert!(error.contains("settings name none"), "{error}");
    }
}
