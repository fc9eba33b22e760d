//! What the answers of sbatch and scancel mean. The question is always: may there be a job now? Only words that we know to be
//! the controller's own refusal, or proof that it was never reached, say no; everything else says maybe.

use super::command::{Output, RunError};
use crate::scheduler::{CancelError, SubmitError, Submitted};

/// sbatch never reached a controller. (`send failure`, `Socket timed out` and the like are not here: the request was under way.)
const NOT_REACHED: [&str; 7] = [
    "Unable to contact slurm controller (connect failure)",
    "Could not establish a configuration source",
    "Unable to process configuration file",
    "DNS SRV lookup failed",
    "Munge encode failed",
    "Can't find an address, check slurm.conf",
    "Controller is in standby mode",
];

/// The controller's own refusals (texts of `slurm_strerror`, 22.05) and sbatch's before it asks. `Unspecified error` is what a
/// site's job_submit plugin gives, after a text of its own.
const REFUSALS: [&str; 56] = [
    // The script
    "Unable to open file",
    "Batch script is empty",
    "does not look like a batch script",
    "contains DOS line breaks",
    "Pathname of a file, directory or other parameter too long",
    // Where and how much
    "Invalid partition name specified",
    "No partition specified or system default partition",
    "User's group not permitted to use this partition",
    "Requested nodes not in this partition",
    "More processors requested than permitted",
    "Node count specification invalid",
    "Job size specification needs to be provided",
    "Requested node configuration is not available",
    "Requested partition configuration not available now",
    "Required partition not available",
    "Required node not available",
    "Requested more tasks than available processors",
    "Memory required by task is not available",
    "Memory specification can not be satisfied",
    "CPU count specification invalid",
    "Task count specification invalid",
    "Task distribution specification invalid",
    "Requires more ports than can be reserved",
    "Invalid node name specified",
    "Invalid feature specification",
    "Invalid preferred feature specification",
    "Invalid generic resource (gres) specification",
    "Duplicate generic resource (gres) specification",
    "Invalid GRES specification",
    "Requested GRES option unsupported",
    "Insufficient GRES available",
    "Invalid Trackable RESource (TRES) specification",
    "Invalid license specification",
    "Invalid accounting frequency requested",
    "--batch option is invalid",
    "Container support is not configured",
    "Container runtime not configured or invalid",
    // Who and when
    "Invalid account or account/partition combination specified",
    "Invalid qos specification",
    "Invalid wckey specification",
    "Requested account has breached requested QOS usage threshold",
    "Requested time limit is invalid",
    "Time limit specification required",
    "Invalid time-min specification",
    "Invalid --nice value",
    "Access denied to requested reservation",
    "Requested reservation is invalid",
    "Requested reservation not usable now",
    "Job dependency problem",
    "Invalid job array specification",
    "Access/permission denied",
    "Invalid user id",
    "Invalid group id",
    "System submissions disabled",
    "Only batch jobs are accepted or processed",
    "Unspecified error",
];

/// The name must come back from squeue as it was sent and must not be read as an option or a list.
/// The text for every limit of an account or a QOS. Those on how many jobs are submitted pass by themselves, and sbatch names them on a
/// line before (`AssocMaxSubmitJobLimit`, `QOSMaxSubmitJobPerUserLimit`).
const POLICY: &str = "Job violates accounting/QOS policy";

fn limited(stderr: &str) -> bool {
    stderr.contains("MaxSubmitJob") || stderr.contains("Slurm temporarily unable to accept job")
}

pub(crate) fn findable(name: &str) -> Result<(), SubmitError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if !name.is_empty() && name.len() <= 128 && name.chars().all(plain) {
        return Ok(());
    }
    let stderr = format!("`{name}` is no usable job name: 1 to 128 letters, digits, `-`, `_`, `.`");
    Err(SubmitError::Rejected { stderr })
}

pub(super) fn submitted(ran: Result<Output, RunError>) -> Result<Submitted, SubmitError> {
    let output = match ran {
        Ok(output) => output,
        Err(RunError::Spawn { program, source }) => return Err(SubmitError::Spawn { program, source }),
        Err(RunError::TimedOut { after, stderr }) => {
            let detail = format!("sbatch did not end within {} s {}", after.as_secs(), stderr.trim());
            return Err(SubmitError::Ambiguous { detail });
        }
        Err(RunError::Lost { source }) => return Err(SubmitError::Ambiguous { detail: source.to_string() }),
    };
    if output.success() {
        return parsable(&output.stdout)
            .ok_or_else(|| SubmitError::Ambiguous { detail: format!("sbatch succeeded without a job id: {}", output.words()) });
    }
    let stderr = output.words();
    let says = |texts: &[&str]| texts.iter().any(|text| output.stderr.contains(text));
    // 255: sbatch could not read its options and never asked.
    let asked = output.stderr.contains("Batch job submission failed");
    if says(&NOT_REACHED) {
        Err(SubmitError::Unreachable { stderr })
    } else if asked && limited(&output.stderr) {
        Err(SubmitError::Limited { stderr })
    } else if says(&[POLICY]) || says(&REFUSALS) || (output.code == Some(255) && !asked) {
        Err(SubmitError::Rejected { stderr })
    } else {
        Err(SubmitError::Ambiguous { detail: stderr })
    }
}

/// `4711` or `4711;cluster`, perhaps after lines of a site's own.
fn parsable(stdout: &str) -> Option<Submitted> {
    let line = stdout.lines().map(str::trim).rfind(|line| !line.is_empty())?;
    let (id, cluster) = line.split_once(';').map_or((line, None), |(id, cluster)| (id, Some(cluster)));
    let number = !id.is_empty() && id.bytes().all(|b| b.is_ascii_digit());
    number.then(|| Submitted { id: id.to_owned(), cluster: cluster.filter(|cluster| !cluster.is_empty()).map(str::to_owned) })
}

pub(super) fn cancelled(id: &str, ran: Result<Output, RunError>) -> Result<(), CancelError> {
    let id = id.to_owned();
    let output = match ran {
        Ok(output) => output,
        Err(RunError::Spawn { program, source }) => return Err(CancelError::Spawn { program, source }),
        Err(RunError::TimedOut { after, .. }) => return Err(CancelError::TimedOut { id, after }),
        Err(RunError::Lost { source }) => return Err(CancelError::Unreachable { id, stderr: source.to_string() }),
    };
    let over = ["Invalid job id specified", "already completing or completed", "Job has already finished"];
    if output.success() || over.iter().any(|text| output.stderr.contains(text)) {
        Ok(())
    } else if output.stderr.contains("Access/permission denied") || output.stderr.contains("Invalid user id") {
        Err(CancelError::Denied { id, stderr: output.words() })
    } else {
        Err(CancelError::Unreachable { id, stderr: output.words() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(code: i32, stdout: &str, stderr: &str) -> Result<Submitted, SubmitError> {
        submitted(Ok(Output { code: Some(code), stdout: stdout.to_owned(), stderr: stderr.to_owned() }))
    }

    #[test]
    fn a_job_id_is_read_with_and_without_a_cluster() {
        for (stdout, id, cluster) in
            [("4711\n", "4711", None), ("4711;main\n", "4711", Some("main")), ("Welcome!\n12\n", "12", None)]
        {
            let submitted = answer(0, stdout, "").expect("a job id");
            assert_eq!((submitted.id.as_str(), submitted.cluster.as_deref()), (id, cluster));
        }
    }

    #[test]
    fn success_without_an_id_and_unknown_failures_may_have_submitted() {
        for (code, stdout, stderr) in [
            (0, "", ""),
            (0, "Submitted batch job 7", ""),
            (1, "", ""),
            (1, "", "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation"),
            (1, "", "sbatch: error: Batch job submission failed: Zero Bytes were transmitted or received"),
            (1, "", "sbatch: error: Batch job submission failed: Unable to contact slurm controller (receive failure)"),
            (1, "", "sbatch: error: Batch job submission failed: Unable to contact slurm controller (send failure)"),
            (1, "", "sbatch: error: Batch job submission failed: Connection reset by peer"),
            (1, "", "sbatch: error: Batch job submission failed: Some error of the year 2030"),
            (255, "", "sbatch: error: Batch job submission failed: Some error of the year 2030"),
        ] {
            assert!(matches!(answer(code, stdout, stderr), Err(SubmitError::Ambiguous { .. })), "{stdout}{stderr}");
        }
        let killed = submitted(Ok(Output { code: None, stdout: "4711\n".to_owned(), stderr: String::new() }));
        assert!(matches!(killed, Err(SubmitError::Ambiguous { .. })));
    }

    #[test]
    fn a_refusal_is_told_from_a_controller_that_is_away() {
        for (code, stderr) in [
            (
                1,
                "sbatch: error: invalid partition specified: nope\nsbatch: error: Batch job submission failed: Invalid partition name specified",
            ),
            (1, "sbatch: error: Batch job submission failed: Invalid account or account/partition combination specified"),
            (1, "sbatch: error: job_submit/lua: ask for a GPU\nsbatch: error: Batch job submission failed: Unspecified error"),
            (1, "sbatch: error: Unable to open file job.sh"),
            (255, "sbatch: error: Invalid --time specification"),
            (255, "sbatch: unrecognized option '--nope'\nTry \"sbatch --help\" for more information"),
        ] {
            assert!(matches!(answer(code, "", stderr), Err(SubmitError::Rejected { .. })), "{stderr}");
        }
        for stderr in [
            "sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)",
            "sbatch: error: fetch_config: DNS SRV lookup failed\nsbatch: fatal: Could not establish a configuration source",
        ] {
            assert!(matches!(answer(1, "", stderr), Err(SubmitError::Unreachable { .. })), "{stderr}");
        }
    }

    #[test]
    fn a_limit_on_submitted_jobs_passes_and_a_limit_on_the_job_itself_is_a_refusal() {
        let policy =
            "Batch job submission failed: Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)";
        for limit in ["AssocMaxSubmitJobLimit", "QOSMaxSubmitJobPerUserLimit"] {
            let stderr = format!("sbatch: error: {limit}\nsbatch: error: {policy}");
            assert!(matches!(answer(1, "", &stderr), Err(SubmitError::Limited { .. })), "{stderr}");
        }
        for limit in ["QOSMaxWallDurationPerJobLimit", "AssocMaxCpuPerJobLimit"] {
            let stderr = format!("sbatch: error: {limit}\nsbatch: error: {policy}");
            assert!(matches!(answer(1, "", &stderr), Err(SubmitError::Rejected { .. })), "{stderr}");
        }
    }

    #[test]
    fn a_name_that_cannot_be_found_again_is_never_submitted() {
        assert!(findable("em-1a2b3c4d-01JXYZ").is_ok());
        for name in ["", "a b", "a,b", "a|b", "é", &"x".repeat(129)] {
            assert!(matches!(findable(name), Err(SubmitError::Rejected { .. })), "{name}");
        }
    }

    #[test]
    fn a_job_that_is_over_counts_as_cancelled() {
        let answer =
            |code, stderr: &str| cancelled("7", Ok(Output { code: Some(code), stdout: String::new(), stderr: stderr.to_owned() }));
        assert!(answer(0, "").is_ok());
        assert!(answer(1, "scancel: error: Kill job error on job id 7: Invalid job id specified").is_ok());
        assert!(matches!(
            answer(210, "scancel: error: Kill job error on job id 7: Access/permission denied"),
            Err(CancelError::Denied { .. })
        ));
        assert!(matches!(
            answer(8, "scancel: error: ... Unable to contact slurm controller (connect failure)"),
            Err(CancelError::Unreachable { .. })
        ));
    }
}
