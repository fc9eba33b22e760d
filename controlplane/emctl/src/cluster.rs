//! `emctl cluster`: partitions with their limits and what of them is free, then nodes that are out of service.

use em_api::client::Client;
use em_api::cluster::{Cluster, Partition};

use crate::cli::Format;
use crate::failure::Failure;
use crate::human;
use crate::output::{note, show};
use crate::table::{Align, render};

/// More broken nodes than this fill a terminal.
const MOST_NODES: usize = 20;

pub(crate) async fn run(client: &Client, format: Format) -> Result<(), Failure> {
    let cluster = client.cluster().await?;
    if let Some(problem) = &cluster.problem {
        note(&format!("this is {} old: Slurm does not answer ({})", human::seconds(cluster.age_seconds), human::one_line(problem)));
    }
    let names = |cluster: &Cluster| cluster.partitions.iter().map(|partition| format!("{}\n", partition.name)).collect();
    show(&cluster, format, table, names)
}

fn table(cluster: &Cluster) -> String {
    let columns = [
        ("PARTITION", Align::Left),
        ("STATE", Align::Left),
        ("LIMIT", Align::Right),
        ("NODES", Align::Right),
        ("CPUS", Align::Right),
        ("GPUS AND OTHERS", Align::Left),
    ];
    let rows: Vec<Vec<String>> = cluster.partitions.iter().map(row).collect();
    let mut text = render(&columns, &rows);
    text.push_str(&format!("\nfree/all, {} ago{}\n", human::seconds(cluster.age_seconds), version(cluster)));
    let out: Vec<Vec<String>> = cluster
        .nodes
        .iter()
        .filter(|node| !node.usable)
        .map(|node| {
            let reason = node.reason.as_deref().map(human::one_line).unwrap_or_default();
            vec![human::harmless(&node.name), human::harmless(&node.state), reason]
        })
        .collect();
    if !out.is_empty() {
        text.push('\n');
        text.push_str(&render(
            &[("OUT OF SERVICE", Align::Left), ("STATE", Align::Left), ("REASON", Align::Left)],
            &out[..out.len().min(MOST_NODES)],
        ));
        if out.len() > MOST_NODES {
            text.push_str(&format!("and {} more; all with -o json\n", out.len() - MOST_NODES));
        }
    }
    text
}

fn row(partition: &Partition) -> Vec<String> {
    let gres: Vec<String> = partition
        .gres
        .iter()
        .map(|one| {
            let model = one.model.as_ref().map(|model| format!(":{model}")).unwrap_or_default();
            human::harmless(&format!("{}{model} {}/{}", one.kind, one.free, one.total))
        })
        .collect();
    vec![
        human::harmless(&format!("{}{}", partition.name, if partition.default { " (default)" } else { "" })),
        human::harmless(&partition.state),
        partition.max_time_minutes.map_or_else(|| "none".to_owned(), |minutes| human::seconds(u64::from(minutes) * 60)),
        format!("{}/{}", partition.nodes_free, partition.nodes_total),
        format!("{}/{}", partition.cpus_free, partition.cpus_total),
        gres.join(", "),
    ]
}

fn version(cluster: &Cluster) -> String {
    match (&cluster.name, &cluster.version) {
        (Some(name), Some(version)) => human::harmless(&format!("; cluster {name}, Slurm {version}")),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_table_says_what_is_free_of_how_much_and_what_is_broken() {
        let partition = |name: &str, default: bool, limit: Option<u32>, gres: serde_json::Value| {
            json!({"name": name, "default": default, "state": "UP", "maxTimeMinutes": limit, "nodesTotal": 3, "nodesFree": 1,
                   "cpusTotal": 24, "cpusFree": 12, "gres": gres})
        };
        let node = |name: &str, state: &str, usable: bool, reason: Option<&str>| {
            json!({"name": name, "state": state, "usable": usable, "reason": reason, "partitions": ["gpu"], "cpus": 8, "cpusAllocated": 0,
                   "memoryMb": 1000, "memoryAllocatedMb": 0, "gres": []})
        };
        let cluster = serde_json::from_value(json!({
            "name": "dev", "version": "22.05.8", "observedAt": "2026-11-24T12:00:00Z", "ageSeconds": 42,
            "partitions": [
                partition("main", true, None, json!([])),
                partition("gpu", false, Some(1_440), json!([{"kind": "gpu", "type": "l40s", "total": 6, "free": 3}, {"kind": "shard", "total": 8, "free": 8}])),
            ],
            "nodes": [node("node1", "MIXED", true, None), node("node3", "IDLE+DRAIN", false, Some("bad fan\u{1b}[2J"))],
            "limits": {},
        }))
        .expect("a cluster");
        insta::assert_snapshot!(table(&cluster), @"
        PARTITION       STATE  LIMIT  NODES   CPUS  GPUS AND OTHERS
        main (default)  UP      none    1/3  12/24
        gpu             UP       1 d    1/3  12/24  gpu:l40s 3/6, shard 8/8

        free/all, 42 s ago; cluster dev, Slurm 22.05.8

        OUT OF SERVICE  STATE       REASON
        node3           IDLE+DRAIN  bad fan·[2J
        ");
    }
}
