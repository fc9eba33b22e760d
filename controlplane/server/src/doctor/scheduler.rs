//! The scheduler, and how its limits go with our settings.

use std::num::NonZeroUsize;

use em_slurm::{ClusterView, Limits, ReadError, Scheduler};

use super::Check;
use crate::config::Settings;

pub(super) async fn cluster(scheduler: &dyn Scheduler) -> (Check, Option<ClusterView>) {
    let name = "Slurm";
    let error = match scheduler.cluster().await {
        Ok(view) => {
            let usable = view.nodes.iter().filter(|node| node.usable()).count();
            let detail = format!(
                "cluster {} answers: Slurm {}, {} partitions, {usable} of {} nodes in service",
                view.name.as_deref().unwrap_or("without a name"),
                view.version.as_deref().unwrap_or("of an unknown version"),
                view.partitions.len(),
                view.nodes.len(),
            );
            return (Check::ok(name, detail), Some(view));
        }
        Err(error) => error,
    };
    let cure = match &error {
        ReadError::Spawn { .. } => "install Slurm's commands here, or say where they are with --slurm-bin-dir",
        ReadError::Unreachable { .. } | ReadError::TimedOut { .. } => {
            "see that `scontrol ping` works for this account on this machine (SLURM_CONF, munge, the network)"
        }
        ReadError::Unreadable { .. } => "run `scontrol show config`, and report what it prints: this version of Slurm is new to us",
    };
    let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
    (Check::failed(name, format!("{error}{cause}"), cure), None)
}

/// Of `--scheduler local`, which has no controller, no accounting and no plugins to look at.
pub(super) async fn machine(scheduler: &dyn Scheduler, jobs_at_once: NonZeroUsize) -> Check {
    let name = "this machine";
    let node = match scheduler.cluster().await {
        Ok(view) => view.nodes.into_iter().next().unwrap_or_default(),
        Err(error) => return Check::failed(name, error.to_string(), "see that the state directory is writable"),
    };
    let gpus: Vec<String> = node
        .gres
        .iter()
        .map(|gres| format!("{} GPUs{}", gres.count, gres.model.as_deref().map(|model| format!(" ({model})")).unwrap_or_default()))
        .collect();
    let gpus = if gpus.is_empty() { "no GPUs".to_owned() } else { gpus.join(", ") };
    let detail = format!(
        "{} runs jobs without Slurm, {jobs_at_once} at a time: {} CPUs, {} MB, {gpus}",
        node.name, node.cpus, node.memory_mb
    );
    if node.gres.is_empty() {
        return Check::warning(name, detail, "if it has GPUs that jobs may use, say how many with --local-gpus");
    }
    Check::ok(name, detail)
}

pub(super) async fn limits(settings: &Settings, scheduler: &dyn Scheduler, limits: &Limits) -> Vec<Check> {
    let mut checks = vec![accounting(scheduler, limits).await];
    checks.extend(limits.min_job_age_seconds.map(|age| finished_jobs(settings, age)));
    checks.extend(limits.message_timeout_seconds.map(|timeout| settle_time(settings, timeout)));
    checks
}

async fn accounting(scheduler: &dyn Scheduler, limits: &Limits) -> Check {
    let name = "accounting";
    if limits.accounting != Some(true) {
        let detail = "none: of a job that has left the listing, only the witness file in its directory tells how it ended";
        return Check::warning(name, detail, "nothing to do; accounting (slurmdbd) would be a third source");
    }
    // No such job: asks the listing, then accounting.
    match scheduler.find("em-doctor-nothing").await {
        Ok(_) => Check::ok(name, "answers: jobs that have left the listing are looked up there"),
        Err(error) => {
            Check::warning(name, format!("is configured and does not answer: {error}"), "see that `sacct` works for this account")
        }
    }
}

/// 0: they stay for ever (slurm.conf(5), `MinJobAge`).
fn finished_jobs(settings: &Settings, age: u32) -> Check {
    let name = "finished jobs";
    let poll = settings.poll_interval.as_secs();
    let found = format!("stay in the listing for {age} s (MinJobAge); it is read every {poll} s");
    if age == 0 || u64::from(age) >= poll.saturating_mul(2) {
        return Check::ok(name, found);
    }
    let cure = format!("a shorter --poll-interval ({} s or less), or a longer MinJobAge in slurm.conf", (age / 2).max(1));
    Check::warning(name, format!("{found}: ends of jobs can be missed"), cure)
}

fn settle_time(settings: &Settings, timeout: u32) -> Check {
    let name = "settle time";
    let (settle, least) = (settings.settle_time.as_secs(), u64::from(timeout) * 2);
    let found = format!("{settle} s; Slurm's MessageTimeout is {timeout} s");
    if settle >= least {
        return Check::ok(name, found);
    }
    Check::warning(
        name,
        format!("{found}: a job whose submission was unclear may show up later than that"),
        format!("--settle-time {least}s"),
    )
}
