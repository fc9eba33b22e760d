//! `spec.slurm`: sbatch's options under their own names. Values go to Slurm as they are; what is checked here is what Slurm
//! would only complain about after hours in the queue, or what could break the job script.

use std::collections::BTreeMap;

use em_api::spec::{ShardBy, Slurm, SlurmTime};

use super::reader::{Node, Object, shorten};
use crate::job;

const GPUS: &str = "a number of GPUs such as 1 or l40s:1";
const LONGEST_TIME_MINUTES: u32 = 366 * 24 * 60;

pub(super) fn read(node: Node<'_>) -> Slurm {
    let mut section = node.object();
    let object = &mut section;
    object.field("prepare").not_yet("fill the store with `em-agent setup`");
    let slurm = Slurm {
        partition: value(object, "partition"),
        gres: value(object, "gres"),
        gpus: object.field("gpus").parsed_or_number(GPUS, |text| Ok(text.to_owned())),
        gpus_per_node: object.field("gpusPerNode").parsed_or_number(GPUS, |text| Ok(text.to_owned())),
        nodes: read_nodes(object.field("nodes")),
        cpus_per_task: object.field("cpusPerTask").whole(1..=65_536).map(|cpus| cpus as u32),
        memory: object.field("memory").parsed_or_number("a size such as 32G (a bare number is MB)", read_memory),
        time: object.field("time").parsed_or_number("a time such as 4h", read_time).unwrap_or(SlurmTime { minutes: 240 }),
        account: value(object, "account"),
        qos: value(object, "qos"),
        constraint: value(object, "constraint"),
        reservation: value(object, "reservation"),
        nodelist: value(object, "nodelist"),
        exclude: value(object, "exclude"),
        exclusive: object.field("exclusive").boolean().unwrap_or(false),
        dependency: value(object, "dependency"),
        begin: value(object, "begin"),
        nice: object.field("nice").signed(-2_147_483_645..=2_147_483_645),
        requeue: object.field("requeue").boolean().unwrap_or(false),
        licenses: value(object, "licenses"),
        mail_type: value(object, "mailType"),
        mail_user: value(object, "mailUser"),
        modules: texts(object.field("modules"), module_error),
        setup: texts(object.field("setup"), |_| None),
        env: read_env(object.field("env"), |name| em_slurm::validate_env_name(name).err()),
        container: value(object, "container"),
        extra_args: texts(object.field("extraArgs"), |text| em_slurm::validate_extra_arg(text).err()),
        shard: read_shard(object.field("shard")),
        same_node: object.field("sameNode").boolean().unwrap_or(false),
    };
    refuse_what_sbatch_misreads(object, &slurm);
    section.finish();
    slurm
}

/// The rules of the job script itself, for all options together. `extraArgs` were looked at one by one.
fn refuse_what_sbatch_misreads(object: &mut Object<'_>, slurm: &Slurm) {
    for error in job::options(slurm).validate().into_iter().filter(|error| error.field != "extra_args") {
        let field = match error.field {
            "gpus_per_node" => "gpusPerNode",
            "mail_type" => "mailType",
            "mail_user" => "mailUser",
            same => same,
        };
        object.field(field).refuse(error.message);
    }
}

/// Whether the job gets GPUs, by what was asked of Slurm.
pub(super) fn asks_for_gpus(slurm: &Slurm) -> bool {
    job::options(slurm).asks_for_gpus()
}

/// The environment of a job or a service; `name_error` says what is wrong with a variable's name.
pub(super) fn read_env(node: Node<'_>, name_error: impl Fn(&str) -> Option<String>) -> BTreeMap<String, String> {
    let mut env = BTreeMap::new();
    for (name, value) in node.entries().unwrap_or_default() {
        if let Some(message) = name_error(&name) {
            value.refuse(message);
        } else if let Some(text) = value.env_text() {
            env.insert(name, text);
        }
    }
    env
}

/// The rule for a service, which no shell starts.
pub(super) fn env_name_error(name: &str) -> Option<String> {
    let sound = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    (!sound).then(|| format!("`{}` is not a name of an environment variable", shorten(name)))
}

/// A list of single lines. `error` says what else is wrong with one.
pub(super) fn texts(node: Node<'_>, error: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let items = node.items().unwrap_or_default();
    let text = |item: Node<'_>| item.parsed("text", |text| error(text).map_or_else(|| Ok(text.to_owned()), Err));
    items.into_iter().filter_map(text).collect()
}

fn value(object: &mut Object<'_>, name: &'static str) -> Option<String> {
    object.field(name).text()
}

fn read_nodes(node: Node<'_>) -> u32 {
    if node.whole(1..=10_000).is_some_and(|nodes| nodes > 1) {
        node.refuse("more than one node is not available yet: services and load share one node");
    }
    1
}

fn read_time(text: &str) -> Result<SlurmTime, String> {
    let time = SlurmTime::try_from(text.trim().to_owned()).map_err(|_| {
        format!(
            "`{}` is not a Slurm time; write for example 4h, 90m, 04:00:00 or 1-12:00 (a bare number is minutes)",
            shorten(text)
        )
    })?;
    if time.minutes > LONGEST_TIME_MINUTES {
        return Err(format!("is {} days; at most 366 are allowed", time.minutes / 1_440));
    }
    Ok(time)
}

/// `32G`, `32GB`, `32GiB`, `512 MB`, `4096` (MB) → as sbatch writes it. Slurm's units are powers of two in every spelling.
fn read_memory(text: &str) -> Result<String, String> {
    let fail = || format!("`{}` is not a size; write for example 32G or 512M (a bare number is MB)", shorten(text));
    let text = text.trim();
    let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().map_err(|_| fail())?;
    let unit = match text[digits..].trim_start().to_ascii_uppercase().as_str() {
        "" | "M" | "MB" | "MIB" => "M",
        "K" | "KB" | "KIB" => "K",
        "G" | "GB" | "GIB" => "G",
        "T" | "TB" | "TIB" => "T",
        _ => return Err(fail()),
    };
    if number == 0 {
        return Err("0 asks for all memory of the node; write how much the job needs".to_owned());
    }
    if number > 1_000_000_000 { Err(fail()) } else { Ok(format!("{number}{unit}")) }
}

fn module_error(text: &str) -> Option<String> {
    let sound = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_./+:=@~".contains(&byte)) && !text.starts_with('-');
    (!sound).then(|| format!("`{}` is not the name of an environment module such as cuda/12.1", shorten(text)))
}

fn read_shard(node: Node<'_>) -> ShardBy {
    let words = [("experiment", ShardBy::Experiment), ("backend", ShardBy::Backend), ("trial", ShardBy::Trial)];
    node.word("shard", &words).unwrap_or(ShardBy::Experiment)
}
