//! The listing: one `squeue` for all jobs. `-O` rather than `-o`, which has no letter for exit code and restart count; as text,
//! which at 5000 jobs is 15 times faster than `--json`.

use crate::scheduler::ReadError;
use crate::view::Reported;
use crate::{ExitStatus, JobView};

use super::time;

/// For `squeue -h -t all -O` (squeue(1)), read by [`parse`]. A size left out with a suffix given means: not cut, not padded. Name and
/// comment last, since they may hold the separator.
pub const FORMAT: &str = "JobID:|,State:|,exit_code:|,DerivedEC:|,RestartCnt:|,SubmitTime:|,StartTime:|,EndTime:|,UserName:|,NodeList:|,Reason:|,Name:|,Comment:|";
const FIELDS: usize = 13;

/// The jobs in what squeue printed for [`FORMAT`] under `SLURM_TIME_FORMAT=%s`. Error: [`ReadError::Unreadable`] with the line that is
/// none of a listing.
pub fn parse(stdout: &str) -> Result<Vec<JobView>, ReadError> {
    // On sites with several clusters a line `CLUSTER: name` may stand between.
    stdout.lines().filter(|line| !line.trim().is_empty() && !line.starts_with("CLUSTER:")).map(line).collect()
}

fn line(line: &str) -> Result<JobView, ReadError> {
    let unreadable = || ReadError::Unreadable { program: "squeue", detail: line.to_owned() };
    let fields: Vec<&str> = line.strip_suffix('|').unwrap_or(line).splitn(FIELDS, '|').collect();
    let [id, state, exit, derived, restarts, submitted, start, end, user, nodes, reason, name, comment] = fields[..] else {
        return Err(unreadable());
    };
    if !id.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(unreadable());
    }
    let job = Reported {
        id: id.to_owned(),
        name: present(name).unwrap_or_default(),
        comment: present(comment).unwrap_or_default(),
        state: state.to_owned(),
        reason: Some(reason.to_owned()),
        nodes: present(nodes),
        restart_count: restarts.parse().ok(),
        submitted: time::parse(submitted),
        start: time::parse(start),
        end: time::parse(end),
        exit: ExitStatus::parse(exit),
        derived_exit: ExitStatus::parse(derived),
        user: present(user),
    };
    Ok(job.into())
}

/// squeue prints `(null)` for an empty text.
fn present(text: &str) -> Option<String> {
    Some(text).filter(|text| !text.is_empty() && *text != "(null)").map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{JobState, PendingReason};

    fn one(line: &str) -> JobView {
        let mut jobs = parse(line).expect("the line is readable");
        assert_eq!(jobs.len(), 1);
        jobs.remove(0)
    }

    // Lines as 22.05.8 printed them.
    const FAILED: &str = "1|FAILED|768|0|0|1795493535|1795493538|1795493539|root|node1|NonZeroExitCode|em-1|a \"b\" | $(x) é|\n";
    const RUNNING: &str = "4|RUNNING|0|0|1|1795493559|1795493560|1795493860|root|node1|None|em-4|(null)|\n";
    const PENDING: &str = "2|PENDING|0|0|0|1795493559|1795493900|N/A|root||PartitionTimeLimit|em-2|(null)|\n";
    const CANCELLED_IN_QUEUE: &str = "3|CANCELLED|0|0|0|1795493559|1795493563|1795493563|root||JobHeldUser|em-3|(null)|\n";

    #[test]
    fn a_failed_job_has_its_exit_code_its_times_and_a_comment_with_the_separator_in_it() {
        let job = one(FAILED);
        assert_eq!((job.state, job.exit), (JobState::Failed, Some(ExitStatus { code: 3, signal: 0 })));
        assert_eq!(job.comment, "a \"b\" | $(x) é");
        assert_eq!(job.started_at.map(|at| at.as_second()), Some(1_795_493_538));
        assert_eq!(job.ends_at.map(|at| at.as_second()), Some(1_795_493_539));
        assert_eq!((job.reason.as_deref(), job.pending), (Some("NonZeroExitCode"), None));
    }

    #[test]
    fn a_live_job_has_no_exit_code_and_a_pending_one_no_start() {
        let job = one(RUNNING);
        assert_eq!((job.exit, job.restart_count, job.nodes.as_deref(), job.comment.as_str()), (None, Some(1), Some("node1"), ""));
        assert_eq!(job.reason, None);
        let job = one(PENDING);
        assert_eq!((job.started_at, job.exit, job.ends_at), (None, None, None));
        assert_eq!(job.expected_start.map(|at| at.as_second()), Some(1_795_493_900));
        assert_eq!(job.pending, Some(PendingReason::NeverStarts("PartitionTimeLimit".to_owned())));
    }

    #[test]
    fn a_job_cancelled_in_the_queue_never_started() {
        let job = one(CANCELLED_IN_QUEUE);
        assert_eq!((job.state, job.started_at, job.pending), (JobState::Cancelled, None, None));
    }

    #[test]
    fn what_is_no_listing_is_an_error_and_never_an_empty_one() {
        for text in ["squeue: something happened", "1|RUNNING|0", "||||||||||||"] {
            assert!(matches!(parse(text), Err(ReadError::Unreadable { .. })), "{text}");
        }
        assert_eq!(parse("").expect("nothing is readable"), []);
    }
}
