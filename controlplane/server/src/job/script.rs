//! The sbatch text of one job.

use std::path::{Path, PathBuf};

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
    let script = script_in(settings.attempt_dir(name, uid, attempt), settings, name, spec, (shard, attempt), job_name);
    let nodelist = node.map(str::to_owned).or(script.options.nodelist);
    JobScript { options: JobOptions { nodelist, ..script.options }, ..script }
}

/// The same in a folder of the caller's choice.
pub(super) fn script_in(
    job_dir: PathBuf,
    settings: &JobSettings,
    name: &str,
    spec: &Spec,
    (shard, attempt): (ShardId, AttemptId),
    job_name: &str,
) -> JobScript {
    let plan = plan_path(&job_dir).to_string_lossy().into_owned();
    let agent_dir = settings.agent.parent().map(Path::to_path_buf);
    let mounts = [Some(settings.store_dir.clone()), agent_dir].into_iter().flatten().collect();
    JobScript {
        name: job_name.to_owned(),
        comment: format!("em experiment={name} shard={shard} attempt={attempt}"),
        options: JobOptions { container_mounts: mounts, ..options(&spec.slurm) },
        agent: vec![settings.agent.to_string_lossy().into_owned(), "run".to_owned(), "--plan".to_owned(), plan],
        job_dir,
        modules: spec.slurm.modules.clone(),
        setup: spec.slurm.setup.clone(),
        env: spec.slurm.env.clone(),
    }
}

/// Slurm's share of a spec. The paths that a container needs are added by [`script`].
pub(crate) fn options(slurm: &Slurm) -> JobOptions {
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
        nodelist: slurm.nodelist.clone(),
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
        container_mounts: Vec::new(),
        extra_args: slurm.extra_args.clone(),
    }
}
