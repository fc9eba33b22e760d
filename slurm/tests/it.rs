//! What belongs to the commands alone. What every transport must do is in conformance.rs, what Slurm does in live.rs.

#[path = "it/cluster.rs"]
#[allow(dead_code, reason = "shared with the other test binaries, which use the rest")]
mod cluster;
#[path = "it/containers.rs"]
mod containers;
#[path = "it/hostile.rs"]
mod hostile;
#[path = "it/injection.rs"]
mod injection;
#[path = "it/views.rs"]
mod views;

use cluster::{Cluster, agent, job};
use em_slurm::{CliScheduler, CliSettings, JobOptions, JobScript, Scheduler, SubmitError};

#[tokio::test]
async fn plain_sbatch_reads_the_script_as_it_was_meant() {
    let cluster = Cluster::up(&[]);
    let slurm = cluster.scheduler();
    let mut script = job(&cluster, "em-plain", agent("true"));
    script.comment = "a \"b\" 'c' \\ d # e; $(touch pwned) %j".to_owned();
    script.options.mail_type = Some("END".to_owned());
    script.options.mail_user = Some("two words # and \"more\" \\".to_owned());
    script.options.extra_args = vec!["--hold".to_owned()];
    cluster.write(&script);
    cluster.slurm("sbatch", &["--chdir", &script.job_dir.to_string_lossy(), &script.job_dir.join("job.sh").to_string_lossy()]);
    let view = cluster.view(&slurm, "em-plain", |_| true).await;
    assert_eq!(view.comment, script.comment);
    let shown = cluster.slurm("scontrol", &["show", "job", &view.id]);
    assert!(shown.contains("MailUser=two words # and \"more\" \\ "), "{shown}");
    assert!(shown.contains("Requeue=0") && shown.contains("JobHeld"), "{shown}");
}

#[tokio::test]
async fn a_job_directory_that_is_missing_is_no_submission() {
    let slurm = CliScheduler::new(CliSettings::default());
    let script = JobScript {
        name: "em-1a2b3c4d-01".to_owned(),
        comment: String::new(),
        options: JobOptions::default(),
        job_dir: std::env::temp_dir().join("no-such-folder"),
        modules: Vec::new(),
        setup: Vec::new(),
        env: std::collections::BTreeMap::new(),
        agent: agent("true"),
    };
    assert!(matches!(slurm.submit(&script).await, Err(SubmitError::Spawn { .. })));
}
