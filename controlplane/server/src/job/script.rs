//! The sbatch text of one job.

use em_api::spec::{Slurm, Spec};
use em_api::{AttemptId, ExperimentUid, ShardId};
use em_slurm::{JobOptions, JobScript};

use super::{JobSettings, plan_path};

/// Pure: the same for `/script`, a dry run and the submission. `node`: where the job has to run, when an earlier one decided it
/// (`slurm.sameNode`).
pub fn script(
    settings: &JobSettings,
    experiment: (&str, ExperimentUid),
    spec: &Spec,
    (shard, attempt): (ShardId, AttemptId),
    job_name: &str,
    node: Option<&str>,
) -> JobScript {
    let (name, uid) = experiment;
    let job_dir = settings.attempt_dir(name, uid, attempt);
    let plan = plan_path(&job_dir).to_string_lossy().into_owned();
    JobScript {
        name: job_name.to_owned(),
        comment: format!("em experiment={name} shard={shard} attempt={attempt}"),
        options: JobOptions { nodelist: node.map(str::to_owned).or_else(|| spec.slurm.nodelist.clone()), ..options(&spec.slurm) },
        agent: vec![settings.agent.to_string_lossy().into_owned(), "run".to_owned(), "--plan".to_owned(), plan],
        job_dir,
        modules: spec.slurm.modules.clone(),
        setup: spec.slurm.setup.clone(),
        env: spec.slurm.env.clone(),
    }
}

fn options(slurm: &Slurm) -> JobOptions {
    JobOptions {
        partition: slurm.partition.clone(),
        gres: slurm.gres.clone(),
        gpus: slurm.gpus.clone(),
        gpus_per_node: slurm.gpus_per_node.clone(),
        nodes: Some(slurm.nodes),
        cpus_per_task: slurm.cpus_per_task,
        memory: slurm.memory.clone(),
        time_minutes: Some(slurm.time.minutes),
        account: slurm.account.clone(),
        qos: slurm.qos.clone(),
        constraint: slurm.constraint.clone(),
        reservation: slurm.reservation.clone(),
        exclude: slurm.exclude.clone(),
        exclusive: slurm.exclusive,
        dependency: slurm.dependency.clone(),
        begin: slurm.begin.clone(),
        nice: slurm.nice,
        requeue: slurm.requeue,
        licenses: slurm.licenses.clone(),
        mail_type: slurm.mail_type.clone(),
        mail_user: slurm.mail_user.clone(),
        container: slurm.container.clone(),
        extra_args: slurm.extra_args.clone(),
        ..JobOptions::default()
    }
}
