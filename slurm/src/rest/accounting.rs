//! Jobs that the controller has forgotten, from `GET /slurmdb/…/jobs`. A slurmrestd without that path, or a cluster without accounting,
//! has nothing to ask. Accounting that is there and does not answer is an error: "not found" must stay a true word.

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use super::answer::{nothing_found, read, unreadable};
use super::http::{Answer, CallError};
use super::json::{Number, Words, present, text};
use super::listing::Exit;
use super::version::Version;
use crate::scheduler::ReadError;
use crate::second_key::restore;
use crate::{ExitStatus, JobState, JobView};

/// The path that asks for these names. Without a start accounting looks at everything it has, without an end in the future it leaves
/// out jobs that were cancelled before their `--begin`.
pub(super) fn path(version: Version, names: &[&str], days: u32) -> String {
    let day = |days: i64| (Timestamp::now() + SignedDuration::from_hours(24 * days)).strftime("%Y-%m-%d").to_string();
    let (since, until) = (day(-i64::from(days)), day(365));
    // The names have been checked: they need no escapes.
    format!("/slurmdb/{version}/jobs?job_name={}&skip_steps=true&start_time={since}&end_time={until}", names.join(","))
}

pub(super) fn found(called: Result<Answer, CallError>, version: Version, user: &str) -> Result<Vec<JobView>, ReadError> {
    if let Ok(answer) = &called
        && (answer.unknown_path() || no_accounting(&answer.body) || nothing_found(&answer.body))
    {
        return Ok(Vec::new());
    }
    let body = read(called)?;
    let jobs: Jobs = serde_json::from_slice(&body).map_err(|error| unreadable(&error))?;
    // The user is that of the association, so there may be none.
    let ours = |job: &Job| job.user.is_empty() || job.user == user;
    let jobs = jobs.jobs.into_iter().filter(ours).map(|job| restore(job.view(version)));
    Ok(jobs.filter(|job| !job.failed_without_a_node()).collect())
}

/// The cluster has no slurmdbd.
fn no_accounting(body: &[u8]) -> bool {
    const WORDS: [&[u8]; 2] = [b"accounting storage is disabled", b"not configured with slurmdbd"];
    WORDS.iter().any(|words| body.windows(words.len()).any(|part| part.eq_ignore_ascii_case(words)))
}

#[derive(Deserialize)]
struct Jobs {
    jobs: Vec<Job>,
}

#[derive(Deserialize)]
struct Job {
    job_id: u64,
    #[serde(default, deserialize_with = "text")]
    name: String,
    #[serde(default)]
    comment: Comment,
    state: State,
    #[serde(default)]
    time: Times,
    #[serde(default)]
    exit_code: Exit,
    #[serde(default)]
    derived_exit_code: Exit,
    #[serde(default, deserialize_with = "text")]
    nodes: String,
    #[serde(default, deserialize_with = "text")]
    user: String,
    #[serde(default)]
    restart_cnt: Number,
}

#[derive(Default, Deserialize)]
struct Comment {
    #[serde(default, deserialize_with = "text")]
    job: String,
}

#[derive(Deserialize)]
struct State {
    current: Words,
    #[serde(default, deserialize_with = "text")]
    reason: String,
}

#[derive(Default, Deserialize)]
struct Times {
    #[serde(default)]
    submission: Number,
    #[serde(default)]
    start: Number,
    #[serde(default)]
    end: Number,
}

impl Job {
    fn view(self, version: Version) -> JobView {
        let raw_state = self.state.current.0.join(",");
        let state = JobState::parse(&raw_state);
        let nodes = present(self.nodes).filter(|nodes| nodes != "None assigned");
        let known = version.accounts_exit_codes() || self.exit_code.signalled() || state == JobState::Completed;
        let exit: Option<ExitStatus> = if state.ended() && known { self.exit_code.status() } else { None };
        JobView {
            id: self.job_id.to_string(),
            name: self.name,
            comment: self.comment.job,
            raw_state,
            reason: present(self.state.reason).filter(|reason| reason != "None"),
            pending: None,
            restart_count: self.restart_cnt.small(),
            submitted_at: self.time.submission.time(),
            started_at: self.time.start.time().filter(|_| nodes.is_some()),
            expected_start: None,
            ends_at: self.time.end.time(),
            exit,
            derived_exit: self.derived_exit_code.status().filter(|_| state.ended() && version.accounts_exit_codes()),
            user: present(self.user),
            nodes,
            state,
        }
    }
}

#[cfg(test)]
mod tests {
    use reqwest::StatusCode;

    use super::*;

    fn answer(status: u16, body: &str) -> Result<Answer, CallError> {
        Ok(Answer { status: StatusCode::from_u16(status).expect("a status"), body: body.as_bytes().to_vec() })
    }

    fn version(text: &str) -> Version {
        text.parse().expect("a version")
    }

    #[test]
    fn a_forgotten_job_is_read_and_a_lost_exit_code_is_not_made_up() {
        for (text, body, code) in [
            ("v0.0.38", include_str!("../../tests/fixtures/rest/recorded-22.05.8-v0.0.38-accounting.json"), None),
            ("v0.0.45", include_str!("../../tests/fixtures/rest/recorded-26.05.3-v0.0.45-accounting.json"), Some(3)),
        ] {
            let jobs = found(answer(200, body), version(text), "root").expect(text);
            let [job] = &jobs[..] else { panic!("{text}: {jobs:?}") };
            assert_eq!((job.name.as_str(), &job.state), ("em-1-failed", &JobState::Failed), "{text}");
            assert_eq!(job.comment, "a \"b\" | $(x) é", "{text}");
            assert_eq!(job.exit.map(|exit| exit.code), code, "{text}");
            assert_eq!(job.submitted_at.map(|at| at.as_second()), Some(1_795_517_175), "{text}");
        }
    }

    #[test]
    fn no_accounting_is_nothing_to_ask_and_silent_accounting_is_an_error() {
        for (status, body) in [
            (404, "Unable find requested URL. Please view /openapi/v3 for API reference."),
            (
                200,
                r#"{"errors":[{"description":"Nothing found","error_number":9003,"error":"Nothing found with query"}],"jobs":[]}"#,
            ),
            (500, r#"{"errors":[{"error":"Slurm accounting storage is disabled","error_number":1}],"jobs":[]}"#),
        ] {
            assert_eq!(found(answer(status, body), version("v0.0.38"), "root").expect(body), [], "{body}");
        }
        for (status, body) in
            [(500, r#"{"errors":[{"error":"Unable to connect to database","error_number":7000}],"jobs":[]}"#), (502, "Bad gateway")]
        {
            assert!(found(answer(status, body), version("v0.0.45"), "root").is_err(), "{body}");
        }
    }
}
