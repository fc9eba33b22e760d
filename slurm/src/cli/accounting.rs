//! Jobs that the controller has forgotten, from `sacct`. Many sites have no accounting: then there is nothing to ask, which is
//! no error. Accounting that is there and does not answer is one: "not found" must stay a true word.

use std::io;

use crate::scheduler::ReadError;
use crate::{ExitStatus, JobState, JobView};

use super::command::{Call, RunError};
use super::{CliSettings, read_error, time};

const FORMAT: &str = "JobIDRaw,State,ExitCode,DerivedExitCode,Submit,Start,End,User,NodeList,Reason,JobName,Comment";
const FIELDS: usize = 12;

pub(super) async fn find(names: &[&str], settings: &CliSettings) -> Result<Vec<JobView>, ReadError> {
    // Without a name sacct shows all jobs.
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let user = rustix::process::getuid().as_raw();
    let call = Call::new("sacct")
        .args(["-n", "-P", "-X", "-o", FORMAT])
        .arg(format!("--name={}", names.join(",")))
        .arg(format!("--user={user}"))
        // Without -S only today's jobs are looked at; without -E not those that were cancelled before their `--begin`. (Those
        // cancelled while they were held, or waited for a dependency, were never eligible: sacct shows them by id alone.)
        .arg(format!("--starttime=now-{}days", settings.accounting_days))
        .arg("--endtime=now+365days")
        .env("SLURM_TIME_FORMAT", time::EPOCH);
    let output = match call.run(settings).await {
        Ok(output) => output,
        Err(RunError::Spawn { source, .. }) if source.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(read_error("sacct", error)),
    };
    if !output.success() {
        if output.stderr.contains("accounting storage is disabled") || output.stdout.contains("accounting storage is disabled") {
            return Ok(Vec::new());
        }
        return Err(ReadError::Unreachable { program: "sacct", stderr: output.words() });
    }
    parse(&output.stdout)
}

pub(super) fn parse(stdout: &str) -> Result<Vec<JobView>, ReadError> {
    stdout.lines().filter(|line| !line.trim().is_empty()).map(line).collect()
}

fn line(line: &str) -> Result<JobView, ReadError> {
    let fields: Vec<&str> = line.splitn(FIELDS, '|').collect();
    let [id, state, exit, derived, submitted, start, end, user, nodes, reason, name, comment] = fields[..] else {
        return Err(ReadError::Unreadable { program: "sacct", detail: line.to_owned() });
    };
    let parsed = JobState::parse(state);
    let nodes = Some(nodes).filter(|nodes| !matches!(*nodes, "" | "None assigned"));
    let text = |text: &str| Some(text).filter(|text| !matches!(*text, "" | "None")).map(str::to_owned);
    Ok(JobView {
        id: id.to_owned(),
        name: name.to_owned(),
        comment: comment.to_owned(),
        raw_state: state.to_owned(),
        reason: text(reason),
        pending: None,
        nodes: nodes.map(str::to_owned),
        restart_count: None,
        submitted_at: time::parse(submitted),
        started_at: time::parse(start).filter(|_| nodes.is_some()),
        expected_start: None,
        ends_at: time::parse(end),
        exit: if parsed.ended() { ExitStatus::parse(exit) } else { None },
        derived_exit: if parsed.ended() { ExitStatus::parse(derived) } else { None },
        user: text(user),
        state: parsed,
    })
}
