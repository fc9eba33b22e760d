//! What slurmrestd's answers mean. As with sbatch the question is: may there be a job now? A job id says yes, whatever the HTTP status
//! and the errors beside it; a number that is the controller's own refusal, or that says that it was never reached, says no.

use reqwest::StatusCode;
use serde::Deserialize;

use super::http::{Answer, CallError, words};
use super::json::{Number, text};
use crate::scheduler::{CancelError, ReadError, SubmitError, Submitted};

const PROGRAM: &str = "slurmrestd";

/// An entry of `errors` or `warnings`. The number is `error_number`, or `error_code` (v0.0.36 to v0.0.38, of submissions), or `errno`.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Problem {
    #[serde(default, deserialize_with = "text")]
    error: String,
    #[serde(default, deserialize_with = "text")]
    description: String,
    #[serde(default, alias = "error_code", alias = "errno")]
    error_number: Number,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Problems {
    #[serde(default, deserialize_with = "list")]
    pub(super) errors: Vec<Problem>,
    #[serde(default, deserialize_with = "list")]
    pub(super) warnings: Vec<Problem>,
}

fn list<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<Problem>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl Problems {
    /// Slurm's number (slurm/slurm_errno.h), if one was given that means something: -1 is any failure.
    fn number(&self) -> Option<i64> {
        self.errors.iter().find_map(|problem| problem.error_number.0.filter(|number| *number > 0))
    }

    fn words(&self) -> String {
        let texts = self.errors.iter().map(|problem| match (problem.error.as_str(), problem.description.as_str()) {
            (error, "") => error.to_owned(),
            ("", description) => description.to_owned(),
            (error, description) => format!("{error} ({description})"),
        });
        let text = texts.filter(|text| !text.is_empty()).collect::<Vec<_>>().join("; ");
        match self.number() {
            _ if self.errors.is_empty() => "slurmrestd gives no reason".to_owned(),
            Some(number) => format!("{text} [{number}]"),
            None => text,
        }
    }
}

/// Too much at the moment. `MaxJobCount` is reached (EAGAIN, or its own number), nodes or ports busy, too many powered up, rate limits.
const LIMITS: [i64; 7] = [11, 2007, 2016, 2059, 2177, 1804, 1805];
/// Job violates accounting/QOS policy: any limit of an account or QOS. sbatch says which one, slurmrestd does not.
const POLICY: i64 = 2050;
/// No connection to the controller (`connect failure`), or to one in standby.
const NOT_REACHED: [i64; 4] = [1800, 1001, 2027, 2131];
/// The controller's refusals (2090 is its internal error) and those of slurmrestd, which could not read the job.
const REFUSALS: [std::ops::Range<i64>; 4] = [2000..2090, 2091..2300, 8000..8002, 9000..9300];

const PERMISSION: [i64; 3] = [2002, 2010, 2098];
/// Invalid job id, already completing or completed, already finished.
const OVER: [i64; 3] = [2017, 2021, 2084];

#[derive(Deserialize)]
struct SubmitAnswer {
    #[serde(default)]
    job_id: Number,
    #[serde(default)]
    result: Option<Box<SubmitAnswer>>,
    #[serde(default, deserialize_with = "text")]
    job_submit_user_msg: String,
    #[serde(flatten)]
    problems: Problems,
}

pub(super) fn submitted(name: &str, called: Result<Answer, CallError>) -> Result<Submitted, SubmitError> {
    let answer = match called {
        Ok(answer) => answer,
        Err(CallError::NotSent(stderr)) => return Err(SubmitError::Unreachable { stderr }),
        Err(CallError::TimedOut { after }) => {
            return Err(SubmitError::Ambiguous { detail: format!("slurmrestd did not answer within {} s", after.as_secs()) });
        }
        Err(CallError::Lost(detail)) => return Err(SubmitError::Ambiguous { detail }),
    };
    let Ok(read) = serde_json::from_slice::<SubmitAnswer>(&answer.body) else {
        let stderr = format!("HTTP {}: {}", answer.status.as_u16(), words(&answer.body));
        return Err(match answer.status {
            // Said by slurmrestd before it looks at the body.
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED if answer.body.len() < 4096 => {
                SubmitError::Unreachable { stderr }
            }
            _ => SubmitError::Ambiguous { detail: stderr },
        });
    };
    let id = [read.job_id, read.result.map(|result| result.job_id).unwrap_or_default()].into_iter().find_map(Number::unsigned);
    if let Some(id) = id.filter(|id| *id > 0) {
        for problem in read.problems.errors.iter().chain(&read.problems.warnings) {
            tracing::warn!(job.name = name, job.id = id, "slurmrestd about job {id}: {} {}", problem.error, problem.description);
        }
        return Ok(Submitted { id: id.to_string(), cluster: None });
    }
    let stderr = match read.job_submit_user_msg.trim() {
        "" => read.problems.words(),
        message => format!("{message}: {}", read.problems.words()),
    };
    Err(match read.problems.number() {
        Some(number) if LIMITS.contains(&number) => SubmitError::Limited { stderr },
        Some(number) if NOT_REACHED.contains(&number) => SubmitError::Unreachable { stderr },
        Some(POLICY) => SubmitError::Limited { stderr },
        Some(number) if REFUSALS.iter().any(|range| range.contains(&number)) => SubmitError::Rejected { stderr },
        _ => SubmitError::Ambiguous { detail: format!("HTTP {}: {stderr}", answer.status.as_u16()) },
    })
}

/// A limit of an account or QOS: on submitted jobs, which passes when others end, or on this one, which does not.
pub(super) fn is_policy(stderr: &str) -> bool {
    stderr.ends_with(&format!("[{POLICY}]"))
}

#[derive(Deserialize)]
struct CancelAnswer {
    #[serde(flatten)]
    problems: Problems,
    /// Since v0.0.41, one entry a job.
    #[serde(default)]
    status: Option<Vec<CancelStatus>>,
}

#[derive(Deserialize)]
struct CancelStatus {
    #[serde(default)]
    error: Option<CancelProblem>,
}

#[derive(Deserialize)]
struct CancelProblem {
    #[serde(default)]
    code: Number,
    #[serde(default, deserialize_with = "text")]
    message: String,
    #[serde(default, deserialize_with = "text")]
    string: String,
}

pub(super) fn cancelled(id: &str, called: Result<Answer, CallError>) -> Result<(), CancelError> {
    let id = id.to_owned();
    let answer = match called {
        Ok(answer) => answer,
        Err(CallError::TimedOut { after }) => return Err(CancelError::TimedOut { id, after }),
        Err(CallError::NotSent(stderr) | CallError::Lost(stderr)) => return Err(CancelError::Unreachable { id, stderr }),
    };
    let Ok(read) = serde_json::from_slice::<CancelAnswer>(&answer.body) else {
        return Err(CancelError::Unreachable { id, stderr: format!("HTTP {}: {}", answer.status.as_u16(), words(&answer.body)) });
    };
    let of_job = read.status.into_iter().flatten().filter_map(|status| status.error).find(|error| error.code.0.unwrap_or(0) != 0);
    let (number, stderr) = match of_job {
        Some(error) => (error.code.0, if error.message.is_empty() { error.string } else { error.message }),
        None if read.problems.errors.is_empty() && answer.status.is_success() => return Ok(()),
        None => (read.problems.number(), read.problems.words()),
    };
    // v0.0.36 has words only.
    let says = |texts: &[&str]| number.is_none() && texts.iter().any(|text| stderr.contains(text));
    match number {
        Some(number) if OVER.contains(&number) => Ok(()),
        _ if says(&["Invalid job id specified", "already completing or completed", "Job has already finished"]) => Ok(()),
        Some(number) if PERMISSION.contains(&number) => Err(CancelError::Denied { id, stderr }),
        _ if says(&["Access/permission denied", "Invalid user id"]) => Err(CancelError::Denied { id, stderr }),
        // 26.05 says 1, `Operation not permitted`, with HTTP 403, when the controller is away.
        _ => Err(CancelError::Unreachable { id, stderr }),
    }
}

/// The body of a successful read.
pub(super) fn read(called: Result<Answer, CallError>) -> Result<Vec<u8>, ReadError> {
    let answer = called.map_err(read_error)?;
    let problems = serde_json::from_slice::<Problems>(&answer.body).map_err(|error| {
        let detail = format!("HTTP {}: {error}: {}", answer.status.as_u16(), words(&answer.body));
        ReadError::Unreadable { program: PROGRAM, detail }
    })?;
    if problems.errors.is_empty() && answer.status.is_success() {
        return Ok(answer.body);
    }
    Err(ReadError::Unreachable { program: PROGRAM, stderr: problems.words() })
}

/// Up to v0.0.38 accounting calls an empty answer an error, number 9003.
pub(super) fn nothing_found(body: &[u8]) -> bool {
    serde_json::from_slice::<Problems>(body).is_ok_and(|problems| problems.number() == Some(9003))
}

pub(super) fn read_error(error: CallError) -> ReadError {
    match error {
        CallError::TimedOut { after } => ReadError::TimedOut { program: PROGRAM, after },
        CallError::NotSent(stderr) | CallError::Lost(stderr) => ReadError::Unreachable { program: PROGRAM, stderr },
    }
}

pub(super) fn unreadable(error: &serde_json::Error) -> ReadError {
    ReadError::Unreadable { program: PROGRAM, detail: error.to_string() }
}

#[cfg(test)]
mod tests;
