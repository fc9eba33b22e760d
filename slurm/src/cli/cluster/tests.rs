//! Readings of what Slurm 22.05.8 and 26.05.3 printed (`fixtures/recorded-…`, of a cluster of `scripts/cluster.sh` with
//! `NODES=3 CPUS=8 GPUTYPE=l40s`; of `show config` some lines), and of lines written from documents.

use super::*;

fn recorded(version: &str) -> ClusterView {
    match version {
        "22.05" => parse(
            include_str!("fixtures/recorded-22.05-partition.txt"),
            include_str!("fixtures/recorded-22.05-node.txt"),
            include_str!("fixtures/recorded-22.05-config.txt"),
        ),
        _ => parse(
            include_str!("fixtures/recorded-26.05-partition.txt"),
            include_str!("fixtures/recorded-26.05-node.txt"),
            include_str!("fixtures/recorded-26.05-config.txt"),
        ),
    }
    .expect("readable")
}

#[test]
fn both_ends_of_the_versions_show_the_same_cluster() {
    for (recording, version) in [("22.05", "22.05.8"), ("26.05", "26.05.3")] {
        let view = recorded(recording);
        assert_eq!((view.name.as_deref(), view.version.as_deref()), (Some("dev"), Some(version)));
        let names: Vec<&str> = view.partitions.iter().map(|partition| partition.name.as_str()).collect();
        assert_eq!(names, ["main", "gpu", "short", "low", "lowc", "high"]);
        let main = view.default_partition().expect("a default");
        assert_eq!((main.name.as_str(), main.max_time_minutes, main.default_time_minutes), ("main", Some(1_440), Some(10)));
        assert_eq!(main.nodes, ["node1", "node2", "node3"]);
        assert_eq!(view.partition("short").and_then(|short| short.max_time_minutes), Some(1));
        let up: Vec<bool> = view.partitions.iter().map(Partition::up).collect();
        assert_eq!(up, [true, true, true, false, true, true], "low was set down");
        let node = &view.nodes[0];
        assert_eq!(
            (node.state.as_str(), node.cpus, node.cpus_allocated, node.memory_mb, node.memory_allocated_mb),
            ("MIXED", 8, 2, 16_384, 4_096)
        );
        let gpus = &node.gres[0];
        assert_eq!((gpus.kind.as_str(), gpus.model.as_deref(), gpus.count, gpus.used), ("gpu", Some("l40s"), 2, 1));
        let limits = Limits {
            max_job_count: Some(10_000),
            max_array_size: Some(1_001),
            min_job_age_seconds: Some(300),
            message_timeout_seconds: Some(10),
            max_submit_jobs: None,
            accounting: Some(false),
        };
        assert_eq!(view.limits, limits);
    }
}

#[test]
fn a_drained_node_says_why_and_is_not_usable() {
    let view = recorded("22.05");
    let usable: Vec<bool> = view.nodes.iter().map(Node::usable).collect();
    assert_eq!(usable, [true, true, false]);
    assert_eq!(view.nodes[2].reason.as_deref(), Some("bad fan = yes (2x) [root@2026-11-24T08:48:47]"));
    let view = recorded("26.05");
    let states: Vec<&str> = view.nodes.iter().map(|node| node.state.as_str()).collect();
    assert_eq!(states, ["MIXED", "DOWN+NOT_RESPONDING", "DOWN+DRAIN+NOT_RESPONDING"]);
    assert_eq!(view.nodes.iter().filter(|node| node.usable()).count(), 1);
}

#[test]
fn states_are_judged_word_by_word() {
    for (state, usable) in [
        ("IDLE", true),
        ("MIXED+CLOUD", true),
        ("IDLE+CLOUD+POWERED_DOWN", true),
        ("ALLOCATED+PLANNED", true),
        ("SOME_WORD_OF_2030", true),
        ("IDLE*", false),
        ("DOWN*+DRAIN", false),
        ("IDLE+MAINT+RESERVED", false),
        ("MIXED+DRAIN", false),
        ("DOWN+INVALID_REG", false),
    ] {
        assert_eq!(Node { state: state.to_owned(), ..Node::default() }.usable(), usable, "{state}");
    }
}

#[test]
fn free_text_at_the_end_cannot_change_what_a_node_is() {
    let config = include_str!("fixtures/recorded-22.05-config.txt");
    let node = "NodeName=n1 CPUTot=4 Gres=(null) GresUsed= RealMemory=100 MemSpecLimit=20 State=DOWN Reason=was State=IDLE CPUTot=64 Comment=x";
    let view = parse("No partitions in the system\n", node, config).expect("readable");
    let node = &view.nodes[0];
    assert_eq!((node.state.as_str(), node.cpus, node.memory_mb, node.gres.len()), ("DOWN", 4, 80, 0));
    assert_eq!(view.partitions, []);
}

#[test]
fn what_is_no_listing_is_an_error_and_never_an_empty_cluster() {
    let config = include_str!("fixtures/recorded-22.05-config.txt");
    for (partitions, nodes, config) in
        [("something", "", config), ("", "slurm_load_node: hm", config), ("", "", "Slurmctld(primary) at host is UP")]
    {
        assert!(matches!(parse(partitions, nodes, config), Err(ReadError::Unreadable { .. })), "{partitions}{nodes}{config}");
    }
}

#[test]
fn time_limits_are_read_in_minutes() {
    for (text, expected) in [
        ("1-00:00:00", Some(1_440)),
        ("00:01:30", Some(2)),
        ("04:00:00", Some(240)),
        ("UNLIMITED", None),
        ("NONE", None),
        ("", None),
    ] {
        assert_eq!(minutes(text), expected, "{text}");
    }
}

#[test]
fn an_unreadable_list_of_nodes_is_taken_from_the_nodes() {
    let config = include_str!("fixtures/recorded-22.05-config.txt");
    let view = parse("PartitionName=p Nodes=n[a-z] State=UP", "NodeName=nb Partitions=p,q State=IDLE", config).expect("readable");
    assert_eq!(view.partitions[0].nodes, ["nb"]);
}
