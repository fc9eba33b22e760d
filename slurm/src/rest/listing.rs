//! The listing: `GET /jobs`. slurmrestd always sends all jobs of everybody with all their fields, 3 kB each: 15 MB and most of a second
//! at 5,000 jobs, where squeue's text has 0.2 MB. There is no filter to ask for; what helps is asking whether anything has changed.

use std::sync::Mutex;

use serde::Deserialize;

use super::answer::unreadable;
use super::json::{Number, Words, present, text};
use crate::scheduler::ReadError;
use crate::second_key::restore;
use crate::view::Reported;
use crate::{ExitStatus, JobView};

/// The last listing, and as of when. Since v0.0.40.
#[derive(Default)]
pub(super) struct LastListing(Mutex<Option<(i64, Vec<JobView>)>>);

impl LastListing {
    /// What to ask with; absent before the first listing.
    pub(super) fn update_time(&self) -> Option<i64> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).as_ref().map(|(time, _)| *time)
    }

    /// `asked`: the time that was asked with. `None`: unchanged since then, and yet nothing is kept.
    pub(super) fn take_in(&self, answer: Listing, asked: Option<i64>) -> Option<Vec<JobView>> {
        let mut last = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match answer {
            Listing::Unchanged => last.as_ref().filter(|(time, _)| asked == Some(*time)).map(|(_, jobs)| jobs.clone()),
            Listing::Jobs { as_of, jobs } => {
                *last = as_of.map(|time| (time, jobs.clone()));
                Some(jobs)
            }
        }
    }
}

#[derive(Debug, PartialEq)]
pub(super) enum Listing {
    /// Nothing has changed since the time that was asked with. Not the same as no jobs.
    Unchanged,
    Jobs {
        as_of: Option<i64>,
        jobs: Vec<JobView>,
    },
}

#[derive(Deserialize)]
struct Answer {
    /// Required: an answer without it is no listing.
    jobs: Vec<Job>,
    #[serde(default)]
    last_update: Option<Number>,
}

#[derive(Deserialize)]
pub(super) struct Job {
    job_id: u64,
    #[serde(default, deserialize_with = "text")]
    name: String,
    #[serde(default, deserialize_with = "text")]
    comment: String,
    job_state: Words,
    #[serde(default, deserialize_with = "text")]
    state_reason: String,
    #[serde(default, deserialize_with = "text")]
    state_description: String,
    #[serde(default, deserialize_with = "text")]
    nodes: String,
    #[serde(default)]
    restart_cnt: Number,
    #[serde(default)]
    submit_time: Number,
    #[serde(default)]
    start_time: Number,
    #[serde(default)]
    end_time: Number,
    #[serde(default)]
    exit_code: Exit,
    #[serde(default)]
    derived_exit_code: Exit,
    #[serde(default, deserialize_with = "text")]
    user_name: String,
    #[serde(default)]
    user_id: Number,
}

/// A raw wait status (up to v0.0.38), or a record of exit code and signal.
#[derive(Default, Deserialize)]
#[serde(untagged)]
pub(super) enum Exit {
    Raw(i64),
    Record {
        #[serde(default)]
        return_code: Number,
        #[serde(default)]
        signal: Option<Signal>,
    },
    #[default]
    Nothing,
}

#[derive(Default, Deserialize)]
pub(super) struct Signal {
    #[serde(default, alias = "signal_id")]
    id: Number,
}

impl Exit {
    pub(super) fn status(&self) -> Option<ExitStatus> {
        match self {
            Self::Raw(raw) => u32::try_from(*raw).ok().and_then(ExitStatus::from_wait_status),
            Self::Record { return_code, signal } => {
                let signal = signal.as_ref().and_then(|signal| signal.id.small());
                if return_code.0.is_none() && signal.is_none() {
                    return None;
                }
                let small = |number: Option<u32>| number.unwrap_or(0).try_into().ok();
                Some(ExitStatus { code: small(return_code.small())?, signal: small(signal)? })
            }
            Self::Nothing => None,
        }
    }

    pub(super) fn signalled(&self) -> bool {
        self.status().is_some_and(|status| status.signal != 0)
    }
}

/// Reads a whole answer and keeps the jobs of `user`. v0.0.36 names no users, so that the number is needed.
pub(super) fn parse(body: &[u8], user: &str, uid: Option<u32>) -> Result<Listing, ReadError> {
    let answer: Answer = serde_json::from_slice(body).map_err(|error| unreadable(&error))?;
    let as_of = answer.last_update.and_then(|time| time.0);
    // With v0.0.40 and later, "no change" is HTTP 200, an empty list and the time 0.
    if answer.jobs.is_empty() && as_of == Some(0) {
        return Ok(Listing::Unchanged);
    }
    let ours = |job: &Job| match job.user_name.as_str() {
        "" => uid.is_some() && job.user_id.small() == uid,
        name => name == user,
    };
    if uid.is_none() && !answer.jobs.is_empty() && answer.jobs.iter().all(|job| job.user_name.is_empty()) {
        let detail = format!("this version names no users, and {user} is no account of this machine");
        return Err(ReadError::Unreadable { program: "slurmrestd", detail });
    }
    let jobs = answer.jobs.into_iter().filter(ours).map(|job| restore(Job { user_name: user.to_owned(), ..job }.into())).collect();
    Ok(Listing::Jobs { as_of: as_of.filter(|time| *time > 0), jobs })
}

impl From<Job> for JobView {
    fn from(job: Job) -> Self {
        let reason = if job.state_description.is_empty() { job.state_reason } else { job.state_description };
        Reported {
            id: job.job_id.to_string(),
            name: present(job.name).unwrap_or_default(),
            comment: present(job.comment).unwrap_or_default(),
            state: job.job_state.0.join(","),
            reason: Some(reason),
            nodes: present(job.nodes),
            restart_count: job.restart_cnt.small(),
            submitted: job.submit_time.time(),
            start: job.start_time.time(),
            end: job.end_time.time(),
            exit: job.exit_code.status(),
            derived_exit: job.derived_exit_code.status(),
            user: present(job.user_name),
        }
        .into()
    }
}
