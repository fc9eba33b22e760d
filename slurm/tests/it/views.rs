//! The cluster's parts and limits as real Slurm shows them, and jobs that a site's plugin renames.

use em_slurm::{JobOptions, JobState, Node, Partition, Scheduler};

use crate::cluster::{Cluster, agent, job};

#[tokio::test]
async fn the_view_has_typed_gpus_with_their_use_and_the_limits() {
    let cluster = Cluster::up(&[("NODES", "3"), ("GPUTYPE", "l40s"), ("MINJOBAGE", "77"), ("MESSAGETIMEOUT", "11")]);
    let slurm = cluster.scheduler();
    cluster.slurm("scontrol", &["update", "nodename=node3", "state=drain", "reason=a bad fan"]);
    let mut script = job(&cluster, "em-1a2b3c4d-01", agent("while [ ! -e go ]; do sleep 0.05; done"));
    script.options = JobOptions { gres: Some("gpu:l40s:2".to_owned()), cpus_per_task: Some(3), ..JobOptions::default() };
    cluster.submit(&slurm, &script).await.expect("accepted");
    let running = cluster.view(&slurm, &script.name, |view| view.state == JobState::Running).await;

    let view = slurm.cluster().await.expect("an answer");
    assert_eq!((view.name.as_deref(), view.limits.accounting, view.limits.max_submit_jobs), (Some("dev"), Some(false), None));
    assert_eq!((view.limits.min_job_age_seconds, view.limits.message_timeout_seconds), (Some(77), Some(11)));
    assert!(
        view.version.is_some() && view.limits.max_array_size.is_some() && view.limits.max_job_count.is_some(),
        "{:?}",
        view.limits
    );
    let limits: Vec<(&str, Option<u32>)> = view.partitions.iter().map(|one| (one.name.as_str(), one.max_time_minutes)).collect();
    assert_eq!(limits[..3], [("main", Some(1_440)), ("gpu", Some(1_440)), ("short", Some(1))]);
    let main = view.default_partition().expect("a default");
    assert!(main.name == "main" && view.partitions.iter().all(Partition::up));
    assert_eq!(view.nodes_of(main).map(|node| node.name.as_str()).collect::<Vec<_>>(), ["node1", "node2", "node3"]);
    assert_eq!(view.nodes.iter().map(Node::usable).collect::<Vec<_>>(), [true, true, false]);
    assert!(view.nodes[2].reason.as_deref().is_some_and(|reason| reason.starts_with("a bad fan")), "{:?}", view.nodes[2]);
    for node in &view.nodes {
        let (used, cpus) = if Some(&node.name) == running.nodes.as_ref() { (2, 3) } else { (0, 0) };
        let [gpus] = &node.gres[..] else { panic!("one kind: {node:?}") };
        assert_eq!(
            (gpus.kind.as_str(), gpus.model.as_deref(), gpus.count, gpus.used),
            ("gpu", Some("l40s"), 2, used),
            "{}",
            node.name
        );
        assert_eq!((node.cpus, node.cpus_allocated, node.memory_mb), (4, cpus, 16_384), "{}", node.name);
    }
    std::fs::write(script.job_dir.join("go"), "").expect("written");
}

#[tokio::test]
async fn a_job_that_the_site_renames_is_found_by_its_comment() {
    let folder = tempfile::tempdir().expect("a folder");
    let lines = folder.path().join("lua.conf");
    std::fs::write(&lines, "JobSubmitPlugins=lua\n").expect("written");
    let cluster = Cluster::up_with(&[("EXTRA_CONF", &lines.to_string_lossy())], |etc| {
        let rename = "function slurm_job_submit(job, part, uid) job.name = 'site_' .. job.name:sub(1, 6); return slurm.SUCCESS end\n\
                      function slurm_job_modify(job, record, part, uid) return slurm.SUCCESS end\nreturn slurm.SUCCESS\n";
        std::fs::write(etc.join("job_submit.lua"), rename).expect("written");
    });
    let slurm = cluster.scheduler();
    for name in ["em-1a2b3c4d-01", "em-1a2b3c4d-02"] {
        let mut script = job(&cluster, name, agent("exit 0"));
        script.comment = "em attempt=1".to_owned();
        script.options.extra_args = vec!["--hold".to_owned()];
        cluster.submit(&slurm, &script).await.expect("accepted");
    }
    let names = cluster.slurm("squeue", &["-h", "-o", "%j"]);
    assert_eq!(names.lines().collect::<Vec<_>>(), ["site_em-1a2"; 2], "the plugin works");

    let found = slurm.find("em-1a2b3c4d-02").await.expect("an answer");
    let [view] = &found[..] else { panic!("one job: {found:?}") };
    assert!(view.renamed() && view.name == "em-1a2b3c4d-02", "{view:?}");
    assert_eq!(slurm.list("em-1a2b3c4d-").await.expect("an answer").len(), 2);
    assert_eq!(slurm.find("em-1a2b3c4d-03").await.expect("an answer"), []);
    for job in slurm.list("em-").await.expect("an answer") {
        slurm.cancel(&job.id).await.expect("cancelled");
    }
}
