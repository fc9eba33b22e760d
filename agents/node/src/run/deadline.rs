//! Time: how long a trial may take, and whether it can still end before the job does.

use std::time::Duration;

use em_api::spec::{FindMax, Load, LoadLevel};
use em_api::{HumanDuration, Timestamp};
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use tokio::process::Command;
use tracing::{info, warn};

/// Loading texts and starting users.
const START: Duration = Duration::from_secs(60);
/// The job script asks for SIGTERM 90 s before the end of the job; a trial that is cut off there is lost.
const SIGNAL_LEAD: Duration = Duration::from_secs(90);
const SQUEUE_DEADLINE: Duration = Duration::from_secs(10);

/// After this a trial has failed, whatever it does: warm-up, the window at its longest, the last answer, and the start.
pub(crate) fn trial_deadline(load: &Load, level: LoadLevel) -> Duration {
    match level {
        LoadLevel::FindMax(search) => load.warmup.0 + (search.probe.0.mul_f64(1.1) + load.timeout.0) * FindMax::MOST_PROBES + START,
        _ => load.warmup.0 + load.duration.0 * 3 + load.timeout.0 + START,
    }
}

/// What a trial needs at least.
fn shortest_trial(load: &Load, level: LoadLevel) -> Duration {
    match level {
        LoadLevel::FindMax(search) => load.warmup.0 + search.probe.0.mul_f64(1.1) * FindMax::MOST_PROBES,
        _ => load.warmup.0 + load.duration.0,
    }
}

/// Whether a trial begun `now` can end before the job is told to. Unknown end: it can.
pub(crate) fn fits(job_end: Option<Timestamp>, now: Timestamp, load: &Load, level: LoadLevel) -> bool {
    let Some(end) = job_end else { return true };
    let left = end.duration_since(now).as_secs_f64();
    left >= (shortest_trial(load, level) + SIGNAL_LEAD).as_secs_f64()
}

/// When this job will be ended. `None`: it is no job, or nobody says; then nothing is held back. squeue knows best, since a limit can be
/// changed meanwhile; but only slurmd's jobs are asked for there: a job of the server's own queue has its end in the environment, and its
/// number may be another's in a Slurm that is there too.
pub(crate) async fn job_end() -> Option<Timestamp> {
    let job = std::env::var("SLURM_JOB_ID").ok().filter(|id| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit()))?;
    let slurms = std::env::var_os("SLURMD_NODENAME").is_some();
    let end = match if slurms { ask_squeue(&job).await } else { Ok(None) } {
        Ok(end) => end,
        Err(problem) => {
            warn!("squeue does not tell the end of job {job}: {problem}");
            None
        }
    };
    let end = end.or_else(|| Timestamp::from_second(std::env::var("SLURM_JOB_END_TIME").ok()?.parse().ok()?).ok());
    if let Some(end) = end {
        let left = Duration::try_from(end.duration_since(Timestamp::now())).unwrap_or_default();
        info!("job {job} ends at {end}, in {}", HumanDuration(Duration::from_secs(left.as_secs())));
    }
    end
}

async fn ask_squeue(job: &str) -> Result<Option<Timestamp>, String> {
    let mut squeue = Command::new("squeue");
    // The user's own settings must not change what is printed.
    squeue.args(["-h", "-j", job, "-o", "%e"]).env("SLURM_TIME_FORMAT", "standard").env_remove("SQUEUE_FORMAT").kill_on_drop(true);
    let output = tokio::time::timeout(SQUEUE_DEADLINE, squeue.output())
        .await
        .map_err(|_| format!("squeue gave no answer within {} s", SQUEUE_DEADLINE.as_secs()))?
        .map_err(|problem| format!("squeue: {problem}"))?;
    if !output.status.success() {
        return Err(format!("squeue: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    Ok(parse_end(&String::from_utf8_lossy(&output.stdout), &TimeZone::system()))
}

/// `2026-11-24T04:00:00` in the node's time zone; `N/A`, `NONE` and new words are unknown.
fn parse_end(text: &str, zone: &TimeZone) -> Option<Timestamp> {
    let local: DateTime = text.trim().parse().ok()?;
    Some(local.to_zoned(zone.clone()).ok()?.timestamp())
}

#[cfg(test)]
mod tests {
    use em_api::spec::{Arrival, Placement, ServiceScope, Wire};

    use super::*;

    const CLOSED: LoadLevel = LoadLevel::Concurrency(10);

    fn load() -> Load {
        Load {
            duration: HumanDuration::from_secs(120),
            warmup: HumanDuration::from_secs(20),
            repetitions: 1,
            arrival: Arrival::Constant,
            ramp: None,
            trace: None,
            text_tokens: None,
            wire: Wire::OpenaiFloat,
            timeout: HumanDuration::from_secs(30),
            min_requests: 700,
            service: ServiceScope::PerRepetition,
            placement: Placement::SameNode,
        }
    }

    #[test]
    fn the_deadline_leaves_room_for_a_window_of_three_times_its_length() {
        assert_eq!(trial_deadline(&load(), CLOSED), Duration::from_secs(20 + 360 + 30 + 60));
        let search = LoadLevel::FindMax(FindMax { p99_ms: 50.0, probe: HumanDuration::from_secs(30) });
        assert_eq!(trial_deadline(&load(), search), Duration::from_secs(20 + 12 * (33 + 30) + 60));
    }

    #[test]
    fn no_trial_is_begun_that_the_time_limit_would_cut_off() {
        let now = Timestamp::UNIX_EPOCH;
        let end = |seconds| Some(Timestamp::from_second(seconds).expect("in range"));
        assert!(fits(end(230), now, &load(), CLOSED));
        assert!(!fits(end(229), now, &load(), CLOSED));
        assert!(!fits(end(-5), now, &load(), CLOSED), "a job past its end");
        assert!(fits(None, now, &load(), CLOSED), "an unknown end holds nothing back");
    }

    #[test]
    fn an_end_is_read_in_local_time_and_other_words_are_unknown() {
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        assert_eq!(parse_end("2026-11-24T04:00:00\n", &zone), "2026-11-24T02:00:00Z".parse().ok());
        for text in ["N/A", "NONE", "UNLIMITED", "", "Unknown"] {
            assert_eq!(parse_end(text, &zone), None, "{text}");
        }
    }
}
