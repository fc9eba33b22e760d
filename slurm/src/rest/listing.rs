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

/// A raw wait status (plain up to v0.0.38, `{set, infinite, number}` in v0.0.39), or a record of exit code and signal.
#[derive(Default, Deserialize)]
#[serde(untagged)]
pub(super) enum Exit {
    Raw(i64),
    Record {
        #[serde(default)]
        set: bool,
        #[serde(default)]
        number: Option<u32>,
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
            Self::Record { set: true, number: Some(raw), .. } => ExitStatus::from_wait_status(*raw),
            Self::Record { return_code, signal, .. } => {
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

/// Reads a whole answer and keeps the jobs of `user`. v0.0.36 names no users, so that the number is needed. `asked`: with a time.
pub(super) fn parse(body: &[u8], user: &str, uid: Option<u32>, asked: bool) -> Result<Listing, ReadError> {
    let answer: Answer = serde_json::from_slice(body).map_err(|error| unreadable(&error))?;
    let as_of = answer.last_update.and_then(|time| time.0).filter(|time| *time > 0);
    // "No change" is HTTP 200 with an empty list, and the time 0.
    if asked && answer.jobs.is_empty() && as_of.is_none() {
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
    Ok(Listing::Jobs { as_of, jobs })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{JobState, PendingReason};

    /// `recorded-`: from slurmrestd of that release, which kept the four jobs; `written-`: from the parsers of its source.
    const LISTINGS: [(&str, &str); 7] = [
        ("v0.0.36", include_str!("../../tests/fixtures/rest/recorded-22.05.8-v0.0.36-jobs.json")),
        ("v0.0.38", include_str!("../../tests/fixtures/rest/recorded-22.05.8-v0.0.38-jobs.json")),
        ("v0.0.39", include_str!("../../tests/fixtures/rest/written-23.02-v0.0.39-jobs.json")),
        ("v0.0.40", include_str!("../../tests/fixtures/rest/written-23.11-v0.0.40-jobs.json")),
        ("v0.0.41", include_str!("../../tests/fixtures/rest/written-24.05-v0.0.41-jobs.json")),
        ("v0.0.42", include_str!("../../tests/fixtures/rest/recorded-26.05.3-v0.0.42-jobs.json")),
        ("v0.0.45", include_str!("../../tests/fixtures/rest/recorded-26.05.3-v0.0.45-jobs.json")),
    ];

    fn jobs(listing: Listing) -> Vec<JobView> {
        match listing {
            Listing::Jobs { jobs, .. } => jobs,
            Listing::Unchanged => panic!("jobs"),
        }
    }

    #[test]
    fn every_version_lists_the_same_jobs_alike() {
        for (version, text) in LISTINGS {
            let jobs = jobs(parse(text.as_bytes(), "root", Some(0), false).expect(version));
            let [failed, running, held, never] = &jobs[..] else { panic!("{version}: {jobs:?}") };
            assert_eq!((failed.name.as_str(), &failed.state), ("em-1-failed", &JobState::Failed), "{version}");
            assert_eq!(failed.exit, Some(ExitStatus { code: 3, signal: 0 }), "{version}");
            assert_eq!(failed.comment, "a \"b\" | $(x) é", "{version}");
            assert_eq!((failed.reason.as_deref(), failed.user.as_deref()), (Some("NonZeroExitCode"), Some("root")), "{version}");
            assert_eq!(failed.submitted_at.map(|at| at.as_second()), Some(1_795_517_175), "{version}");
            assert!(failed.started_at.is_some() && failed.ends_at.is_some(), "{version}: {failed:?}");

            assert_eq!((&running.state, running.exit, running.restart_count), (&JobState::Running, None, Some(0)), "{version}");
            assert_eq!(running.nodes.as_deref(), Some("node1"), "{version}");
            let limit = running.ends_at.expect("a limit").as_second() - running.started_at.expect("a start").as_second();
            assert_eq!(limit, 300, "{version}");

            assert_eq!(held.pending, Some(PendingReason::Waiting("JobHeldUser".to_owned())), "{version}");
            assert_eq!((held.started_at, held.ends_at, held.exit, &held.nodes), (None, None, None, &None), "{version}");
            assert_eq!(never.pending, Some(PendingReason::NeverStarts("PartitionTimeLimit".to_owned())), "{version}");
        }
    }

    #[test]
    fn jobs_of_others_are_left_out() {
        for (version, text) in LISTINGS {
            assert_eq!(jobs(parse(text.as_bytes(), "alice", Some(1000), false).expect(version)), [], "{version}");
        }
        let nameless = parse(LISTINGS[0].1.as_bytes(), "alice", None, false);
        assert!(matches!(nameless, Err(ReadError::Unreadable { .. })), "whose they are cannot be told: {nameless:?}");
    }

    #[test]
    fn unchanged_is_not_empty() {
        let unchanged = include_str!("../../tests/fixtures/rest/recorded-26.05.3-v0.0.42-unchanged.json");
        assert_eq!(parse(unchanged.as_bytes(), "root", Some(0), true).expect("readable"), Listing::Unchanged);
        let unset = r#"{"jobs":[],"last_update":{"set":false,"infinite":false,"number":0}}"#;
        assert_eq!(parse(unset.as_bytes(), "root", Some(0), true).expect("readable"), Listing::Unchanged);
        let empty = r#"{"jobs":[],"last_update":{"set":true,"infinite":false,"number":5}}"#;
        let none = Listing::Jobs { as_of: Some(5), jobs: Vec::new() };
        assert_eq!(parse(empty.as_bytes(), "root", Some(0), true).expect("readable"), none);
    }

    #[test]
    fn an_unchanged_listing_is_the_last_one_of_its_time() {
        let text = LISTINGS[6].1.as_bytes();
        let last = LastListing::default();
        assert_eq!(last.update_time(), None);
        let first = last.take_in(parse(text, "root", Some(0), false).expect("readable"), None).expect("jobs");
        let time = last.update_time();
        assert!(time.is_some());
        assert_eq!(last.take_in(Listing::Unchanged, time), Some(first));
        assert_eq!(last.take_in(Listing::Unchanged, Some(1)), None, "asked with another time: nothing is known");
    }

    #[test]
    fn what_is_no_listing_is_an_error_and_never_an_empty_one() {
        for text in ["", "{}", r#"{"errors":[]}"#, r#"{"jobs":[{}]}"#, r#"{"jobs":[{"job_id":1,"job_state":7}]}"#] {
            assert!(parse(text.as_bytes(), "root", Some(0), false).is_err(), "{text}");
        }
    }
}
