//! The cluster by `scontrol -o show`, one line a partition or node, and the account's limit by `sacctmgr` where there is accounting.
//! Lines are `Key=value Key=value …` with blanks inside some values; keys have come and gone between versions, so what is not there
//! is left out, never guessed.

use std::collections::HashMap;

use crate::cluster::{ClusterView, Limits, Node, Partition};
use crate::gres;
use crate::node_list::expand_node_list;
use crate::scheduler::ReadError;

use super::command::Call;
use super::{CliSettings, read_error};

/// Three commands at once, then one more where there is accounting.
pub(super) async fn read(settings: &CliSettings) -> Result<ClusterView, ReadError> {
    // -a: hidden partitions can be used too. -d: nodes say what of their resources is in use.
    let (partitions, nodes, config) = tokio::try_join!(
        scontrol(settings, Call::new("scontrol").args(["-a", "-o", "show", "partition"])),
        scontrol(settings, Call::new("scontrol").args(["-a", "-o", "-d", "show", "node"])),
        scontrol(settings, Call::new("scontrol").args(["show", "config"])),
    )?;
    let mut view = parse(&partitions, &nodes, &config)?;
    if view.limits.accounting == Some(true) {
        view.limits.max_submit_jobs = max_submit_jobs(settings, view.name.as_deref()).await;
    }
    Ok(view)
}

async fn scontrol(settings: &CliSettings, call: Call) -> Result<String, ReadError> {
    let output = call.run(settings).await.map_err(|error| read_error("scontrol", error))?;
    if !output.success() {
        return Err(ReadError::Unreachable { program: "scontrol", stderr: output.words() });
    }
    Ok(output.stdout)
}

/// The least limit of our associations; Slurm fills in what they inherit. No answer means: not known.
async fn max_submit_jobs(settings: &CliSettings, cluster: Option<&str>) -> Option<u32> {
    let mut call = Call::new("sacctmgr").args(["-nP", "show", "assoc"]).arg(format!("user={}", user_name()?));
    if let Some(cluster) = cluster {
        call = call.arg(format!("cluster={cluster}"));
    }
    let output = call.arg("format=MaxSubmitJobs").run(settings).await.ok().filter(super::command::Output::success)?;
    output.stdout.lines().filter_map(|line| line.trim().parse().ok()).min()
}

/// sacctmgr takes no numbers for users.
fn user_name() -> Option<String> {
    let uid = rustix::process::getuid().as_raw().to_string();
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let ours = |line: &&str| line.split(':').nth(2) == Some(uid.as_str());
    let listed = passwd.lines().find(ours).and_then(|line| line.split(':').next()).map(str::to_owned);
    // Accounts of a directory service are not in the file.
    listed.or_else(|| std::env::var("USER").ok()).filter(|name| !name.is_empty())
}

fn parse(partitions: &str, nodes: &str, config: &str) -> Result<ClusterView, ReadError> {
    let nodes = records(nodes, "NodeName")?;
    let members = |partition: &str| -> Vec<String> {
        let belongs =
            |node: &&HashMap<&str, &str>| text(node, "Partitions").is_some_and(|all| all.split(',').any(|one| one == partition));
        nodes.iter().filter(belongs).filter_map(|node| text(node, "NodeName")).collect()
    };
    let partitions = records(partitions, "PartitionName")?
        .iter()
        .map(|fields| {
            let name = text(fields, "PartitionName").unwrap_or_default();
            let listed = expand_node_list(fields.get("Nodes").copied().unwrap_or_default());
            Partition {
                nodes: listed.unwrap_or_else(|_| members(&name)),
                default: fields.get("Default") == Some(&"YES"),
                state: text(fields, "State").unwrap_or_default(),
                max_time_minutes: fields.get("MaxTime").and_then(|time| minutes(time)),
                default_time_minutes: fields.get("DefaultTime").and_then(|time| minutes(time)),
                name,
            }
        })
        .collect();
    let config: HashMap<&str, &str> =
        config.lines().filter_map(|line| line.split_once('=')).map(|(key, value)| (key.trim(), value.trim())).collect();
    // `Configuration data as of …` is the first line of every version; the keys below are there since 2.x.
    let Some(version) = text(&config, "SLURM_VERSION") else {
        return Err(ReadError::Unreadable { program: "scontrol", detail: "show config names no SLURM_VERSION".to_owned() });
    };
    let limits = Limits {
        max_job_count: number(&config, "MaxJobCount"),
        max_array_size: number(&config, "MaxArraySize"),
        min_job_age_seconds: number(&config, "MinJobAge"),
        message_timeout_seconds: number(&config, "MessageTimeout"),
        max_submit_jobs: None,
        accounting: config.get("AccountingStorageType").map(|kind| !matches!(*kind, "(null)" | "" | "accounting_storage/none")),
    };
    Ok(ClusterView {
        name: text(&config, "ClusterName"),
        version: Some(version),
        partitions,
        nodes: nodes.iter().map(node).collect(),
        limits,
    })
}

fn node(fields: &HashMap<&str, &str>) -> Node {
    let field = |key| fields.get(key).copied().unwrap_or_default();
    let reserved: u64 = number(fields, "MemSpecLimit").unwrap_or(0);
    Node {
        name: field("NodeName").to_owned(),
        state: field("State").to_owned(),
        reason: text(fields, "Reason"),
        // CPUEfctv: without those that are kept for the system (since 22.05).
        cpus: number(fields, "CPUEfctv").or_else(|| number(fields, "CPUTot")).unwrap_or(0),
        cpus_allocated: number(fields, "CPUAlloc").unwrap_or(0),
        memory_mb: number(fields, "RealMemory").unwrap_or(0_u64).saturating_sub(reserved),
        memory_allocated_mb: number(fields, "AllocMem").unwrap_or(0),
        gres: gres::of_node(field("Gres"), field("GresUsed")),
        features: text(fields, "ActiveFeatures").map(|all| all.split(',').map(str::to_owned).collect()).unwrap_or_default(),
    }
}

fn records<'a>(stdout: &'a str, key: &str) -> Result<Vec<HashMap<&'a str, &'a str>>, ReadError> {
    let lines = stdout.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("No "));
    let record = |line: &'a str| {
        let fields = fields(line);
        if !line.starts_with(key) || !fields.contains_key(key) {
            let detail = line.chars().take(200).collect();
            return Err(ReadError::Unreadable { program: "scontrol", detail });
        }
        Ok(fields)
    };
    lines.map(record).collect()
}

/// Values go up to the next word that looks like `Key=`. The first of two equal keys counts: free text (`Reason`, `Comment`) comes last
/// and may hold anything.
fn fields(line: &str) -> HashMap<&str, &str> {
    let mut starts = Vec::new();
    let mut at = 0;
    for word in line.split(' ') {
        if let Some((key, _)) = word.split_once('=')
            && key.starts_with(|first: char| first.is_ascii_alphabetic())
            && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        {
            starts.push((at, key));
        }
        at += word.len() + 1;
    }
    let ends = starts.iter().skip(1).map(|(at, _)| *at).chain([line.len()]);
    let mut fields = HashMap::new();
    for ((at, key), end) in starts.iter().zip(ends) {
        fields.entry(*key).or_insert_with(|| line[at + key.len() + 1..end].trim());
    }
    fields
}

fn text(fields: &HashMap<&str, &str>, key: &str) -> Option<String> {
    fields.get(key).filter(|value| !matches!(**value, "" | "(null)" | "N/A")).map(|value| (*value).to_owned())
}

/// `10 sec` is 10.
fn number<T: std::str::FromStr>(fields: &HashMap<&str, &str>, key: &str) -> Option<T> {
    fields.get(key)?.split(' ').next()?.parse().ok()
}

/// `1-00:00:00`, `00:01:30` (rounded up). None for `UNLIMITED` and `NONE`.
fn minutes(time: &str) -> Option<u32> {
    let (days, clock) = time.split_once('-').unwrap_or(("0", time));
    let mut parts = clock.split(':').map(|part| part.parse::<u32>().ok());
    let (hours, minutes, seconds) = (parts.next()??, parts.next()??, parts.next()??);
    let days: u32 = days.parse().ok()?;
    days.checked_mul(1_440)?.checked_add(hours.checked_mul(60)?)?.checked_add(minutes)?.checked_add(u32::from(seconds > 0))
}

#[cfg(test)]
mod tests;
