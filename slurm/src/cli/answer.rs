//! What the answers of sbatch and scancel mean. The question is always: may there be a job now? Only words that we know to be
//! the controller's own refusal, or proof that it was never reached, say no; everything else says maybe.

use super::command::{Output, RunError};
use crate::scheduler::{CancelError, SubmitError, Submitted};

/// sbatch never reached a controller. (`send failure`, `Socket timed out` and the like are not here: the request was under way.)
const NOT_REACHED: [&str; 8] = [
    "Unable to contact slurm controller (connect failure)",
    "Could not establish a configuration source",
    "Unable to process configuration file",
    "DNS SRV lookup failed",
    "Munge encode failed",
    "Can't find an address, check slurm.conf",
    "Controller is in standby mode",
    "Slurm backup controller in standby mode",
];

/// sbatch's refusals before it asks the controller; most others have exit status 255.
const UNASKED: [&str; 9] = [
    "Unable to open file",
    "Batch script is empty",
    "Batch script contains only whitespace",
    "does not look like a batch script",
    "contains DOS line breaks",
    "is too large",
    "is too big",
    "cli_filter plugin terminated with error",
    // 26.05, with status 1. Not shorter: of `--hint` sbatch says "mutually exclusive" and submits.
    "--mem, --mem-per-cpu, and --mem-per-gpu are mutually exclusive",
];

/// The controller's own refusals (texts of `slurm_strerror`, 22.05 to 26.05). `Unspecified error` is what a site's job_submit
/// plugin gives, after a text of its own.
const REFUSALS: [&str; 65] = [
    // The script
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
    // Newer than 22.05, or seldom.
    "Invalid QOS specification",
    "Invalid extra constraints specification",
    "Invalid or unknown association",
    "Requested topology configuration is not available",
    "RestrictedCoresPerGPU",
    "Job cannot be submitted without the current working directory specified",
    "Cannot request more threads per core than the job allocation",
    "Burst Buffer request invalid",
    "Burst Buffer permission denied",
    "Multiple partition job request not supported",
    "Job script not specified",
    "Environment is missing in job",
    "Incompatible versions of client and server code",
];

/// The controller's text for every limit of an account or a QOS. sbatch names the limit on a line before: those on how many jobs are
/// submitted (`AssocMaxSubmitJobLimit`, `QOSGrpSubmitJobsLimit`, `MaxSubmitJobsPerAccount`) pass by themselves, the others not.
const POLICY: &str = "Job violates accounting/QOS policy";

/// Too much at the moment. sbatch tries the last four again by itself, up to 15 times with longer and longer pauses, and says so before.
const FULL: [&str; 6] = [
    "Rate limit exceeded",
    "Max powered up nodes reached",
    // MaxJobCount: until 25.05 EAGAIN, then a text of its own.
    "Resource temporarily unavailable",
    "MaxJobCount limit reached",
    "Requested nodes are busy",
    "Required ports are in use",
];

/// sbatch's own words before what the controller, or the way to it, said.
const ASKED: &str = "Batch job submission failed: ";

pub(crate) fn findable(name: &str) -> Result<(), SubmitError> {
    crate::script::unfindable(name).map_or(Ok(()), |stderr| Err(SubmitError::Rejected { stderr }))
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
    // Only the last word counts: lines before it are warnings, retries, or a site's own.
    let reason = output.stderr.lines().rev().find_map(|line| line.split_once(ASKED)).map(|(_, reason)| reason);
    let says = |texts: &[&str]| texts.iter().any(|text| reason.unwrap_or(&output.stderr).contains(text));
    // With a reason of its own, munge's failure is no proof: another controller may have been asked before.
    let no_credential = says(&["Protocol authentication error"]) && output.stderr.contains("Munge encode failed");
    if says(&NOT_REACHED) || no_credential {
        return Err(SubmitError::Unreachable { stderr });
    }
    match reason {
        Some(_) if says(&FULL) => Err(SubmitError::Limited { stderr }),
        Some(_) if says(&[POLICY]) && output.stderr.contains("SubmitJob") => Err(SubmitError::Limited { stderr }),
        Some(_) if says(&[POLICY]) || says(&REFUSALS) => Err(SubmitError::Rejected { stderr }),
        // sbatch did not like its options (255) or the script, and never asked.
        None if output.code == Some(255) || says(&REFUSALS) || says(&UNASKED) => Err(SubmitError::Rejected { stderr }),
        _ => Err(SubmitError::Ambiguous { detail: stderr }),
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
    // 22.05 is silent about such jobs (exit status 0); the words are those of scancel -v and of slurm_strerror.
    let over = ["Invalid job id", "already completing or completed", "Job has already finished"];
    if output.success() || over.iter().any(|text| output.stderr.contains(text)) {
        Ok(())
    } else if output.stderr.contains("Access/permission denied") || output.stderr.contains("Invalid user id") {
        Err(CancelError::Denied { id, stderr: output.words() })
    } else {
        Err(CancelError::Unreachable { id, stderr: output.words() })
    }
}

#[cfg(test)]
mod tests;
