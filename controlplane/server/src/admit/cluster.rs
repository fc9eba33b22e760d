//! What an experiment asks of Slurm, held against what the cluster has. Warnings only: a site may add to a cluster what we do not see, and
//! the last word is sbatch's. But sbatch accepts much that can never start.

use em_api::spec::Slurm;
use em_slurm::{ClusterView, GresCount, Node, Partition, expand_node_list, parse_gpus, parse_gres};

use super::estimate;
use super::nearest::nearest;

/// More names in one warning help nobody.
const MOST_NAMES: usize = 12;

/// One sentence each, with the field and what there is instead.
pub fn cluster_warnings(slurm: &Slurm, estimated_seconds: u64, view: &ClusterView) -> Vec<String> {
    let mut warnings = Vec::new();
    let partitions = partitions(slurm, view, &mut warnings);
    node_names(slurm, view, &partitions, &mut warnings);
    if !partitions.is_empty() {
        state(&partitions, &mut warnings);
        time(slurm, estimated_seconds, &partitions, &mut warnings);
        let mut nodes: Vec<&Node> = partitions.iter().flat_map(|partition| view.nodes_of(partition)).collect();
        nodes.sort_by(|a, b| a.name.cmp(&b.name));
        nodes.dedup_by(|a, b| a.name == b.name);
        if !nodes.is_empty() {
            sizes(slurm, &nodes, &of(&partitions), &mut warnings);
        }
    }
    warnings
}

/// The known ones of those that are asked for; the default one where none is.
fn partitions<'v>(slurm: &Slurm, view: &'v ClusterView, warnings: &mut Vec<String>) -> Vec<&'v Partition> {
    let Some(asked) = &slurm.partition else {
        let default = view.default_partition();
        if default.is_none() && !view.partitions.is_empty() {
            warnings.push(format!("slurm.partition is not set and the cluster has no default; there are {}", all_partitions(view)));
        }
        return default.into_iter().collect();
    };
    let mut known = Vec::new();
    for name in asked.split(',').map(str::trim) {
        match view.partition(name) {
            Some(partition) => known.push(partition),
            None => {
                let names: Vec<&str> = view.partitions.iter().map(|partition| partition.name.as_str()).collect();
                let hint = nearest(name, &names).map(|name| format!("did you mean `{name}`? ")).unwrap_or_default();
                warnings.push(format!("slurm.partition: there is no partition `{name}`; {hint}there are {}", all_partitions(view)));
            }
        }
    }
    known
}

fn state(partitions: &[&Partition], warnings: &mut Vec<String>) {
    if partitions.iter().all(|partition| !partition.up()) {
        let states: Vec<String> = partitions.iter().map(|partition| format!("{} is {}", partition.name, partition.state)).collect();
        warnings.push(format!("slurm.partition: {}; no job starts there until an administrator sets it UP", states.join(", ")));
    }
}

fn time(slurm: &Slurm, estimated_seconds: u64, partitions: &[&Partition], warnings: &mut Vec<String>) {
    let limits: Option<Vec<u32>> = partitions.iter().map(|partition| partition.max_time_minutes).collect();
    // One partition without a limit is enough.
    let Some(limit) = limits.and_then(|limits| limits.into_iter().max()) else { return };
    if slurm.time.minutes <= limit {
        return;
    }
    let words = |minutes: u32| estimate::words(u64::from(minutes) * 60);
    let mut warning = format!(
        "slurm.time ({}) is above the longest time of {} ({}): such a job never starts",
        words(slurm.time.minutes),
        of(partitions),
        words(limit)
    );
    if estimated_seconds > u64::from(limit) * 60 {
        let jobs = estimated_seconds.div_ceil(u64::from(limit).max(1) * 60);
        warning.push_str(&format!("; about {} of work would be {jobs} jobs of that length", estimate::words(estimated_seconds)));
    }
    warnings.push(warning);
}

fn sizes(slurm: &Slurm, nodes: &[&Node], place: &str, warnings: &mut Vec<String>) {
    let asked = [
        ("gres", slurm.gres.as_deref().map(parse_gres)),
        ("gpus", slurm.gpus.as_deref().map(parse_gpus)),
        ("gpusPerNode", slurm.gpus_per_node.as_deref().map(parse_gpus)),
    ];
    for (field, wanted) in asked.into_iter().filter_map(|(field, wanted)| Some((field, wanted?))) {
        warnings.extend(wanted.iter().filter_map(|wanted| gres(field, wanted, nodes, place)));
    }
    let most_cpus = nodes.iter().map(|node| node.cpus).max().unwrap_or(0);
    if let Some(cpus) = slurm.cpus_per_task.filter(|cpus| *cpus > most_cpus) {
        warnings.push(format!("slurm.cpusPerTask ({cpus}) is more than any node of {place} has ({most_cpus})"));
    }
    let most_memory = nodes.iter().map(|node| node.memory_mb).max().unwrap_or(0);
    if let Some(asked) = &slurm.memory
        && megabytes(asked).is_some_and(|asked| asked > most_memory)
    {
        warnings.push(format!("slurm.memory ({asked}) is more than any node of {place} has ({most_memory}M)"));
    }
}

fn gres(field: &str, wanted: &GresCount, nodes: &[&Node], place: &str) -> Option<String> {
    let fits = |node: &&&Node| {
        let ours =
            node.gres.iter().filter(|gres| gres.kind == wanted.kind && (wanted.model.is_none() || gres.model == wanted.model));
        ours.map(|gres| gres.count).sum::<u64>() >= wanted.count
    };
    let model = wanted.model.as_ref().map(|model| format!(":{model}")).unwrap_or_default();
    let asked = format!("slurm.{field} ({}{model}:{})", wanted.kind, wanted.count);
    let fitting: Vec<&&Node> = nodes.iter().filter(fits).collect();
    if fitting.is_empty() {
        return Some(format!("{asked}: no node of {place} has that; {}", offers(&wanted.kind, nodes)));
    }
    let out: Vec<String> = fitting.iter().map(|node| format!("{} ({})", node.name, node.state)).collect();
    let all_out = fitting.iter().all(|node| !node.usable());
    all_out.then(|| format!("{asked}: only on nodes that are out of service now: {}", listed(&out)))
}

/// `there are gpu:l40s (up to 2 a node, 3 nodes)`.
fn offers(kind: &str, nodes: &[&Node]) -> String {
    let mut models: Vec<Option<&str>> =
        nodes.iter().flat_map(|node| &node.gres).filter(|gres| gres.kind == kind).map(|gres| gres.model.as_deref()).collect();
    models.sort_unstable();
    models.dedup();
    let offer = |model: &Option<&str>| {
        let counts: Vec<u64> = nodes
            .iter()
            .map(|node| {
                node.gres.iter().filter(|gres| gres.kind == kind && gres.model.as_deref() == *model).map(|gres| gres.count).sum()
            })
            .filter(|count| *count > 0)
            .collect();
        let name = model.map(|model| format!(":{model}")).unwrap_or_default();
        let plural = if counts.len() == 1 { "" } else { "s" };
        format!("{kind}{name} (up to {} a node, {} node{plural})", counts.iter().max().unwrap_or(&0), counts.len())
    };
    let offers: Vec<String> = models.iter().map(offer).collect();
    if offers.is_empty() { format!("it has no {kind} at all") } else { format!("there are {}", offers.join(", ")) }
}

fn node_names(slurm: &Slurm, view: &ClusterView, partitions: &[&Partition], warnings: &mut Vec<String>) {
    for (field, list) in [("nodelist", &slurm.nodelist), ("exclude", &slurm.exclude)] {
        // sbatch takes a file of names as well, known by its slash.
        let Some(list) = list.as_deref().filter(|list| !list.contains('/') && !view.nodes.is_empty()) else { continue };
        let names = match expand_node_list(list) {
            Ok(names) => names,
            Err(error) => {
                warnings.push(format!("slurm.{field}: {error}"));
                continue;
            }
        };
        let exists = |name: &str| {
            view.nodes.iter().any(|node| node.name == name)
                || view.partitions.iter().any(|partition| partition.nodes.iter().any(|node| node == name))
        };
        let unknown: Vec<String> = names.iter().filter(|name| !exists(name)).cloned().collect();
        if let Some(first) = unknown.first() {
            let known: Vec<&str> = view.nodes.iter().map(|node| node.name.as_str()).collect();
            let hint = nearest(first, &known).map(|name| format!("; did you mean `{name}`?")).unwrap_or_default();
            warnings.push(format!("slurm.{field}: there is no node {}{hint}", listed(&unknown)));
            continue;
        }
        let inside = |name: &String| partitions.iter().any(|partition| partition.nodes.contains(name));
        let outside: Vec<String> = names.iter().filter(|name| !inside(name)).cloned().collect();
        if field == "nodelist" && !partitions.is_empty() && !outside.is_empty() {
            warnings.push(format!("slurm.nodelist: {} is not in {}", listed(&outside), of(partitions)));
        }
    }
}

fn of(partitions: &[&Partition]) -> String {
    let names: Vec<&str> = partitions.iter().map(|partition| partition.name.as_str()).collect();
    format!("partition{} {}", if names.len() == 1 { "" } else { "s" }, names.join(", "))
}

fn all_partitions(view: &ClusterView) -> String {
    listed(&view.partitions.iter().map(|partition| partition.name.clone()).collect::<Vec<_>>())
}

fn listed(names: &[String]) -> String {
    let more = names.len().saturating_sub(MOST_NAMES);
    let shown = names[..names.len() - more].join(", ");
    if more == 0 { shown } else { format!("{shown} and {more} more") }
}

/// As admission has written it: `32G`.
fn megabytes(size: &str) -> Option<u64> {
    let (number, unit) = size.split_at(size.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(size.len()));
    let number: u64 = number.parse().ok()?;
    match unit {
        "K" => Some(number / 1_024),
        "" | "M" => Some(number),
        "G" => number.checked_mul(1_024),
        "T" => number.checked_mul(1_024 * 1_024),
        _ => None,
    }
}
