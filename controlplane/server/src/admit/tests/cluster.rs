//! What is said when an experiment asks for what the cluster does not have.

use em_slurm::{ClusterView, Gres, Node, Partition};
use serde_json::{Value, json};

use super::{admitted, with};
use crate::admit::cluster_warnings;

fn gpu_node(name: &str, state: &str, model: &str, count: u64) -> Node {
    let gres = vec![Gres { kind: "gpu".to_owned(), model: Some(model.to_owned()), count, used: 0 }];
    Node { name: name.to_owned(), state: state.to_owned(), cpus: 32, memory_mb: 262_144, gres, ..Node::default() }
}

fn partition(name: &str, max_time_minutes: Option<u32>, nodes: &[&str]) -> Partition {
    let nodes = nodes.iter().map(|node| (*node).to_owned()).collect();
    Partition { name: name.to_owned(), state: "UP".to_owned(), max_time_minutes, nodes, ..Partition::default() }
}

/// Three GPU nodes, one of them out of service, and a CPU node.
fn cluster() -> ClusterView {
    let cpu = Node { name: "cpu1".to_owned(), state: "IDLE".to_owned(), cpus: 8, memory_mb: 16_384, ..Node::default() };
    let nodes =
        vec![cpu, gpu_node("gpu1", "IDLE", "l40s", 2), gpu_node("gpu2", "MIXED", "l40s", 4), gpu_node("gpu3", "DOWN", "a100", 8)];
    let main = Partition { default: true, ..partition("main", None, &["cpu1"]) };
    let down = Partition { state: "DOWN".to_owned(), ..partition("night", Some(600), &["gpu1"]) };
    let partitions =
        vec![main, partition("gpu", Some(1_440), &["gpu1", "gpu2", "gpu3"]), partition("short", Some(10), &["gpu1"]), down];
    ClusterView { partitions, nodes, ..ClusterView::default() }
}

fn told(slurm: Value) -> Vec<String> {
    let admitted = admitted(&with("/spec/slurm", slurm));
    cluster_warnings(&admitted.spec.slurm, admitted.estimated_seconds, &cluster())
}

#[test]
fn what_the_cluster_has_is_not_warned_of() {
    for slurm in [
        json!({}),
        json!({"partition": "gpu", "gres": "gpu:l40s:4", "cpusPerTask": 32, "memory": "256G", "time": "1-00:00"}),
        json!({"partition": "gpu,short", "gpus": 1, "time": "4h"}),
        json!({"partition": "gpu", "gpusPerNode": "l40s:2", "nodelist": "gpu[1-2]", "exclude": "cpu1"}),
        json!({"time": "30-0", "nodelist": "/shared/nodes.txt"}),
    ] {
        assert_eq!(told(slurm.clone()), Vec::<String>::new(), "{slurm}");
    }
}

#[test]
fn each_wish_that_cannot_come_true_is_told_with_what_there_is() {
    let mut all = String::new();
    for slurm in [
        json!({"partition": "gpuu"}),
        json!({"partition": "short,nope", "time": "4h"}),
        json!({"partition": "night"}),
        json!({"partition": "gpu", "gres": "gpu:h100:1"}),
        json!({"partition": "gpu", "gpus": "l40s:5"}),
        json!({"partition": "gpu", "gres": "gpu:a100:1"}),
        json!({"gres": "gpu:1"}),
        json!({"cpusPerTask": 9, "memory": "17G"}),
        json!({"partition": "gpu", "nodelist": "gpu[1-2],gpu9"}),
        json!({"partition": "short", "time": "10m", "nodelist": "gpu2"}),
        json!({"exclude": "gpu[1-"}),
    ] {
        all.push_str(&format!("{slurm}\n"));
        for warning in told(slurm) {
            all.push_str(&format!("    {warning}\n"));
        }
    }
    insta::assert_snapshot!(all, @r#"
    {"partition":"gpuu"}
        slurm.partition: there is no partition `gpuu`; did you mean `gpu`? there are main, gpu, short, night
    {"partition":"short,nope","time":"4h"}
        slurm.partition: there is no partition `nope`; there are main, gpu, short, night
        slurm.time (4 h) is above the longest time of partition short (10 min): such a job never starts; about 26 min of work would be 3 jobs of that length
    {"partition":"night"}
        slurm.partition: night is DOWN; no job starts there until an administrator sets it UP
    {"gres":"gpu:h100:1","partition":"gpu"}
        slurm.gres (gpu:h100:1): no node of partition gpu has that; there are gpu:a100 (up to 8 a node, 1 node), gpu:l40s (up to 4 a node, 2 nodes)
    {"gpus":"l40s:5","partition":"gpu"}
        slurm.gpus (gpu:l40s:5): no node of partition gpu has that; there are gpu:a100 (up to 8 a node, 1 node), gpu:l40s (up to 4 a node, 2 nodes)
    {"gres":"gpu:a100:1","partition":"gpu"}
        slurm.gres (gpu:a100:1): only on nodes that are out of service now: gpu3 (DOWN)
    {"gres":"gpu:1"}
        slurm.gres (gpu:1): no node of partition main has that; it has no gpu at all
    {"cpusPerTask":9,"memory":"17G"}
        slurm.cpusPerTask (9) is more than any node of partition main has (8)
        slurm.memory (17G) is more than any node of partition main has (16384M)
    {"nodelist":"gpu[1-2],gpu9","partition":"gpu"}
        slurm.nodelist: there is no node gpu9; did you mean `gpu3`?
    {"nodelist":"gpu2","partition":"short","time":"10m"}
        slurm.nodelist: gpu2 is not in partition short
    {"exclude":"gpu[1-"}
        slurm.exclude: `gpu[1-` is no list of nodes such as gpu[01-04,7],login1
    "#);
}

#[test]
fn a_cluster_without_a_default_partition_and_an_unknown_cluster_are_told_apart() {
    let admitted = admitted(&with("/spec/slurm", json!({})));
    let mut view = cluster();
    view.partitions.retain(|partition| !partition.default);
    let warnings = cluster_warnings(&admitted.spec.slurm, admitted.estimated_seconds, &view);
    assert_eq!(warnings, ["slurm.partition is not set and the cluster has no default; there are gpu, short, night"]);
    assert_eq!(cluster_warnings(&admitted.spec.slurm, 0, &ClusterView::default()), Vec::<String>::new());
}
