//! Slurm through its REST API, slurmrestd: by a Unix socket or by HTTP with a token. Three times faster submissions than sbatch and typed
//! errors, at the cost of long listings and of a schema that changes with each release (`version.rs`). Kept between calls: the
//! connections, the version, the token and the last listing.

mod account;
mod accounting;
mod answer;
mod cluster;
mod http;
mod job;
mod json;
mod listing;
mod settings;
mod token;
mod version;

use std::sync::atomic::{AtomicU8, Ordering};

use async_trait::async_trait;
use reqwest::StatusCode;
use tokio::sync::OnceCell;

use crate::cli::findable;
use crate::scheduler::{CancelError, ReadError, Scheduler, SubmitError, Submitted};
use crate::{ClusterView, JobScript, JobView};
use answer::{read, read_error};
use http::{Answer, CallError, Http};
use listing::{LastListing, Listing};

pub use settings::{RestEndpoint, RestError, RestSettings, TokenSource};
use version::Version;
pub use version::{UnknownVersion, Version as RestVersion};

pub struct RestScheduler {
    settings: RestSettings,
    http: Http,
    /// Number of the version agreed on; 0 before.
    version: AtomicU8,
    last: LastListing,
    /// Of the jobs' user.
    uid: OnceCell<Option<u32>>,
}

impl RestScheduler {
    /// Calls nothing yet.
    pub fn new(settings: RestSettings) -> Result<Self, RestError> {
        let http = Http::new(&settings)?;
        Ok(Self { settings, http, version: AtomicU8::new(0), last: LastListing::default(), uid: OnceCell::new() })
    }

    /// The version that is spoken: the one of the settings, or the newest that the server has.
    ///
    /// Errors: as those of a listing; `Unreachable` also when the server has none that we know.
    pub async fn version(&self) -> Result<Version, ReadError> {
        self.agreed().await.map_err(read_error)
    }

    async fn agreed(&self) -> Result<Version, CallError> {
        if let Some(version) = self.settings.version.or(Version::from_number(self.version.load(Ordering::Relaxed))) {
            return Ok(version);
        }
        // Ten small requests at most; the whole specification (/openapi/v3) would be 2 MB.
        for version in Version::all() {
            if !self.http.get(&format!("/slurm/{version}/ping")).await?.unknown_path() {
                let warning =
                    if version.warns_before_time_limit() { "" } else { "; jobs get TERM at their time limit, not 90 s before" };
                tracing::info!(%version, "slurmrestd speaks {version}{warning}");
                self.version.store(version.number(), Ordering::Relaxed);
                return Ok(version);
            }
        }
        let known = format!("slurmrestd speaks none of {} to {}", Version::OLDEST, Version::NEWEST);
        Err(CallError::NotSent(known))
    }

    /// After an upgrade of Slurm the version is another: agreed on anew, once. The same for all calls that may be repeated.
    async fn get(&self, path: impl Fn(Version) -> String) -> Result<(Version, Answer), CallError> {
        let version = self.agreed().await?;
        let answer = self.http.get(&path(version)).await?;
        if !answer.unknown_path() || !self.forget(version) {
            return Ok((version, answer));
        }
        let version = self.agreed().await?;
        Ok((version, self.http.get(&path(version)).await?))
    }

    /// False: the settings name it.
    fn forget(&self, version: Version) -> bool {
        let _ = self.version.compare_exchange(version.number(), 0, Ordering::Relaxed, Ordering::Relaxed);
        self.settings.version.is_none()
    }

    async fn uid(&self) -> Option<u32> {
        *self.uid.get_or_init(|| account::uid(&self.settings.user)).await
    }

    async fn jobs(&self) -> Result<Vec<JobView>, ReadError> {
        let asked = self.last.update_time();
        if let Some(jobs) = self.listing(asked).await? {
            return Ok(jobs);
        }
        // Unchanged since a listing that another call has replaced.
        let unreadable =
            || ReadError::Unreadable { program: "slurmrestd", detail: "nothing new, though all was asked for".to_owned() };
        self.listing(None).await?.ok_or_else(unreadable)
    }

    async fn listing(&self, asked: Option<i64>) -> Result<Option<Vec<JobView>>, ReadError> {
        let path = |version: Version| match asked.filter(|_| version.tells_update_time()) {
            Some(time) => format!("/slurm/{version}/jobs?update_time={time}"),
            None => format!("/slurm/{version}/jobs"),
        };
        let (_, answer) = self.get(path).await.map_err(read_error)?;
        let listing = if answer.status == StatusCode::NOT_MODIFIED {
            Listing::Unchanged
        } else {
            listing::parse(&self.body(Ok(answer)).await?, &self.settings.user, self.uid().await, asked.is_some())?
        };
        Ok(self.last.take_in(listing, asked))
    }

    /// Up to v0.0.38 a bad token and a controller that is away read the same, so a failure may be the token's.
    async fn body(&self, called: Result<Answer, CallError>) -> Result<Vec<u8>, ReadError> {
        let body = read(called);
        if matches!(body, Err(ReadError::Unreachable { .. })) {
            self.http.suspect_token().await;
        }
        body
    }
}

#[async_trait]
impl Scheduler for RestScheduler {
    fn kind(&self) -> &'static str {
        "rest"
    }

    async fn submit(&self, job: &JobScript) -> Result<Submitted, SubmitError> {
        findable(&job.name)?;
        let version = match self.agreed().await {
            Ok(version) => version,
            Err(CallError::TimedOut { after }) => {
                let stderr = format!("slurmrestd did not say which version it speaks within {} s", after.as_secs());
                return Err(SubmitError::Unreachable { stderr });
            }
            Err(CallError::NotSent(stderr) | CallError::Lost(stderr)) => return Err(SubmitError::Unreachable { stderr }),
        };
        let ourselves = self.uid().await == Some(rustix::process::getuid().as_raw());
        let body = job::body(job, &self.settings, ourselves, version)
            .map_err(|unsupported| SubmitError::Rejected { stderr: unsupported.0 })?;
        let called = self.http.post(&format!("/slurm/{version}/job/submit"), &body).await;
        if called.as_ref().is_ok_and(Answer::unknown_path) {
            self.forget(version);
        }
        match answer::submitted(&job.name, called) {
            Err(error @ SubmitError::Ambiguous { .. }) => {
                self.http.suspect_token().await;
                Err(error)
            }
            // With none of ours in the queue there is nothing to wait for: it is the job itself.
            Err(SubmitError::Limited { stderr }) if answer::is_policy(&stderr) => match self.jobs().await {
                Ok(jobs) if jobs.iter().all(|job| job.state.ended()) => Err(SubmitError::Rejected { stderr }),
                _ => Err(SubmitError::Limited { stderr }),
            },
            submitted => submitted,
        }
    }

    async fn list(&self, name_prefix: &str) -> Result<Vec<JobView>, ReadError> {
        let mut jobs = self.jobs().await?;
        jobs.retain(|job| job.name.starts_with(name_prefix));
        Ok(jobs)
    }

    async fn accounted(&self, names: &[&str]) -> Result<Vec<JobView>, ReadError> {
        // No other names are ever submitted, and those need no escapes in a path.
        let names: Vec<&str> = names.iter().copied().filter(|name| findable(name).is_ok()).collect();
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let version = self.agreed().await.map_err(read_error)?;
        let called = self.http.get(&accounting::path(version, &names, self.settings.accounting_days)).await;
        accounting::found(called, version, &self.settings.user)
    }

    async fn cancel(&self, id: &str) -> Result<(), CancelError> {
        if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(CancelError::Denied { id: id.to_owned(), stderr: "this is no job id".to_owned() });
        }
        let called = match self.agreed().await {
            Ok(version) => self.http.delete(&format!("/slurm/{version}/job/{id}")).await,
            Err(error) => Err(error),
        };
        answer::cancelled(id, called)
    }

    /// Partitions and nodes; limits since v0.0.45.
    async fn cluster(&self) -> Result<ClusterView, ReadError> {
        cluster::view(self).await
    }
}
