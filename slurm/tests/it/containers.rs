//! An agent in a pyxis container, by the real srun. pyxis itself is not in Debian: a wrapper named srun on the job's PATH notes
//! and drops the options that are pyxis's, and becomes the real srun.

use std::os::unix::fs::PermissionsExt;

use em_slurm::{ExitStatus, JobScript, JobState, Scheduler};

use crate::cluster::{Cluster, agent, job, path, wait_for, witness};

const WRAPPER: &str = r#"#!/bin/bash
kept=()
for word in "$@"; do
  case $word in
    --container-*) printf '%s\n' "$word" >> notes ;;
    *) kept+=("$word") ;;
  esac
done
PATH=${PATH#*:}
exec srun "${kept[@]}"
"#;

fn in_pyxis(cluster: &Cluster, name: &str, code: &str) -> JobScript {
    let tools = cluster.dir().join("tools");
    std::fs::create_dir_all(&tools).expect("a folder");
    std::fs::write(tools.join("srun"), WRAPPER).expect("written");
    std::fs::set_permissions(tools.join("srun"), std::fs::Permissions::from_mode(0o755)).expect("executable");
    let mut script = job(cluster, name, agent(code));
    script.env = [("PATH".to_owned(), format!("{}:{}", tools.display(), path()))].into();
    script.options.container = Some("docker://registry.example#team/em:1".to_owned());
    script.options.container_mounts = vec!["/shared/store".into()];
    script.options.cpus_per_task = Some(2);
    assert_eq!(script.validate(), []);
    script
}

#[tokio::test]
async fn term_reaches_an_agent_in_a_step_and_its_exit_code_comes_back() {
    let cluster = Cluster::up(&[]);
    let slurm = cluster.scheduler();
    let farewell = "trap 'sleep 0.5; touch farewell; exit 5' TERM; touch up; while :; do sleep 0.05; done";

    // As at the time limit: the shell alone is told.
    let limit = in_pyxis(&cluster, "em-1a2b3c4d-01", farewell);
    let id = cluster.submit(&slurm, &limit).await.expect("accepted").id;
    wait_for("the agent to start", || limit.job_dir.join("up").exists()).await;
    cluster.slurm("scancel", &["--batch", "--signal=TERM", &id]);
    let over = cluster.view(&slurm, &limit.name, |view| view.state.ended()).await;
    assert_eq!((over.state, over.exit), (JobState::Failed, Some(ExitStatus { code: 5, signal: 0 })));
    assert!(limit.job_dir.join("farewell").exists(), "the agent was not told, or killed before its farewell");
    assert_eq!(witness(&limit), (5, 0));
    let notes = std::fs::read_to_string(limit.job_dir.join("notes")).expect("the wrapper ran");
    let dir = limit.job_dir.display();
    let mounts = format!("--container-mounts={dir}:{dir},/shared/store:/shared/store");
    let image = "--container-image=docker://registry.example#team/em:1";
    assert_eq!(notes.lines().collect::<Vec<_>>(), [image, &mounts, &format!("--container-workdir={dir}")]);

    // Cancelled: all processes are told at once.
    let cancelled = in_pyxis(&cluster, "em-1a2b3c4d-02", farewell);
    let id = cluster.submit(&slurm, &cancelled).await.expect("accepted").id;
    wait_for("the agent to start", || cancelled.job_dir.join("up").exists()).await;
    slurm.cancel(&id).await.expect("cancelled");
    wait_for("the farewell", || cancelled.job_dir.join("farewell").exists()).await;
}
