//! A small held job, submitted as real ones are, read back, cancelled. It shows what nothing else can: whether this account may submit,
//! whether jobs come back under the name that they were sent with, and whose clock is right.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use em_api::Timestamp;
use em_slurm::{JobOptions, JobScript, JobView, SCRIPT_FILE, Scheduler, SubmitError};

use super::{Check, Demands};

const NAMES: &str = "job names";
const COMMENT: &str = "em doctor: held, to be cancelled at once";
const DEADLINE: Duration = Duration::from_secs(20);
/// Of clocks that time servers keep, with a listing in between.
const SKEW_SECONDS: i64 = 10;
const PLUGIN: &str =
    "ask the site's administrators to let the names of jobs that begin with `em-` pass unchanged (JobSubmitPlugins in slurm.conf)";

pub(super) async fn names_and_clock(job_dir: &Path, scheduler: &dyn Scheduler, demands: &Demands) -> Vec<Check> {
    let name = format!("em-doctor-{}", ulid::Ulid::generate().to_string().to_lowercase());
    let script = script(&name, job_dir, demands);
    let written =
        std::fs::create_dir(&script.job_dir).and_then(|()| std::fs::write(script.job_dir.join(SCRIPT_FILE), script.render()));
    let mut checks = match written {
        Ok(()) => submitted(&script, scheduler).await,
        Err(error) => {
            vec![Check::failed(NAMES, format!("{}: {error}", script.job_dir.display()), "make the job directory writable")]
        }
    };
    if let Err(error) = std::fs::remove_dir_all(&script.job_dir) {
        checks.push(Check::warning(NAMES, format!("{} is left behind: {error}", script.job_dir.display()), "remove it"));
    }
    checks
}

fn script(name: &str, job_dir: &Path, demands: &Demands) -> JobScript {
    let Demands { partition, account, qos } = demands.clone();
    let extra_args = vec!["--hold".to_owned()];
    JobScript {
        name: name.to_owned(),
        comment: COMMENT.to_owned(),
        options: JobOptions { partition, account, qos, time_minutes: Some(1), extra_args, ..JobOptions::default() },
        job_dir: job_dir.join(name),
        modules: Vec::new(),
        setup: Vec::new(),
        env: BTreeMap::new(),
        agent: vec!["true".to_owned()],
    }
}

async fn submitted(script: &JobScript, scheduler: &dyn Scheduler) -> Vec<Check> {
    let at = Timestamp::now();
    let id = match scheduler.submit(script).await {
        Ok(submitted) => submitted.id,
        Err(error) => {
            let mut checks = vec![refused(&error)];
            if matches!(error, SubmitError::Ambiguous { .. }) {
                // It may be there all the same.
                for job in scheduler.find(&script.name).await.unwrap_or_default() {
                    checks.extend(cancelled(scheduler, &job.id).await);
                }
            }
            return checks;
        }
    };
    let job = listed(scheduler, &id).await;
    let mut checks = vec![judged(script, &id, job.as_ref())];
    checks.extend(job.and_then(|job| job.submitted_at).map(|stamp| clock(at, stamp)));
    checks.extend(cancelled(scheduler, &id).await);
    checks
}

fn refused(error: &SubmitError) -> Check {
    let cure = match error {
        SubmitError::Rejected { .. } => {
            "give what the site demands of every job, for example: doctor --partition NAME --account NAME"
        }
        SubmitError::Limited { .. } => "try again when fewer of your jobs are queued",
        SubmitError::Unreachable { .. } | SubmitError::Ambiguous { .. } => "see that `scontrol ping` works, and try again",
        SubmitError::Spawn { .. } => "install sbatch here, or say where it is with --slurm-bin-dir",
    };
    let detail = format!("no job could be submitted: {error}");
    if matches!(error, SubmitError::Limited { .. }) {
        Check::warning(NAMES, detail, cure)
    } else {
        Check::failed(NAMES, detail, cure)
    }
}

/// By its id: its name is what is in question.
async fn listed(scheduler: &dyn Scheduler, id: &str) -> Option<JobView> {
    let end = Instant::now() + DEADLINE;
    loop {
        let jobs = scheduler.list("").await.unwrap_or_default();
        let job = jobs.into_iter().find(|job| job.id == id);
        if job.is_some() || Instant::now() > end {
            return job;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

fn judged(script: &JobScript, id: &str, job: Option<&JobView>) -> Check {
    let Some(job) = job else {
        let detail = format!("job {id} was accepted and is in no listing of this account's jobs");
        return Check::failed(
            NAMES,
            detail,
            "compare with `squeue --me -t all`; a wrapper around sbatch or squeue may be in between",
        );
    };
    if job.name != script.name {
        let detail = format!(
            "job {id} was sent as {} and came back as {}, and its comment was rewritten too: jobs would be lost or doubled",
            script.name, job.name
        );
        return Check::failed(NAMES, detail, PLUGIN);
    }
    if job.renamed() {
        let detail = format!(
            "the site renames jobs ({id} was sent as {}); the comment comes back whole, and jobs are known by it. Accounting cannot be asked by it",
            job.name
        );
        return Check::warning(NAMES, detail, PLUGIN);
    }
    if job.comment != script.comment {
        let detail = format!("come back as sent (job {id}); comments do not, so the name is the only key");
        return Check::warning(NAMES, detail, "nothing to do, as long as names stay as they are");
    }
    Check::ok(NAMES, format!("come back as sent, comments too (job {id}, held and cancelled)"))
}

fn clock(sent_at: Timestamp, stamp: Timestamp) -> Check {
    let skew = stamp.duration_since(sent_at).as_secs();
    if skew.abs() <= SKEW_SECONDS {
        return Check::ok("clock", "agrees with Slurm's");
    }
    let side = if skew > 0 { "ahead of" } else { "behind" };
    let detail = format!("Slurm's clock is {} s {side} ours: times of jobs and measurements will not fit", skew.abs());
    Check::warning("clock", detail, "let a time server set both (chrony, ntpd)")
}

/// Nothing is said when it worked.
async fn cancelled(scheduler: &dyn Scheduler, id: &str) -> Option<Check> {
    let error = scheduler.cancel(id).await.err()?;
    Some(Check::warning("cancel", format!("{error}"), format!("job {id} is held and harmless: scancel {id}")))
}
