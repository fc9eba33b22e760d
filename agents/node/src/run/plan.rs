//! The job directory: the plan, the token beside it, and where everything else of this run lies.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use em_api::plan::{CLAIMS_DIR, Plan, SPOOL_DIR, TOKEN_FILE};
use em_api::{TrialId, spec::Backend};

/// A job directory whose plan was read and in which files can be made. Not `Debug`: it knows the token.
pub(crate) struct JobDir {
    pub(crate) path: PathBuf,
    pub(crate) plan: Plan,
    token: String,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum PlanError {
    #[error("reading {path}; it is written by the control plane into the job directory, readable by the job's user alone")]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{path} is not a plan that this version of em-agent understands")]
    Parse {
        path: PathBuf,
        #[source]
        source: serde_json::Error,
    },
    #[error(
        "the job directory {path} takes no files; give the job's user the right to write there and see that the disk is not full"
    )]
    NotWritable {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

impl JobDir {
    /// `plan`: path of `plan.json`; its folder is the job directory.
    pub(crate) fn open(plan: &Path) -> Result<Self, PlanError> {
        let read = |path: &Path| fs::read(path).map_err(|source| PlanError::Read { path: path.to_owned(), source });
        let plan = fs::canonicalize(plan).map_err(|source| PlanError::Read { path: plan.to_owned(), source })?;
        let path = plan.parent().unwrap_or(Path::new("/")).to_owned();
        let parsed: Plan =
            serde_json::from_slice(&read(&plan)?).map_err(|source| PlanError::Parse { path: plan.clone(), source })?;
        let token = match &parsed.server {
            Some(_) => String::from_utf8_lossy(&read(&path.join(TOKEN_FILE))?).trim().to_owned(),
            None => String::new(),
        };
        let job = Self { path, plan: parsed, token };
        job.prove_writable()?;
        Ok(job)
    }

    fn prove_writable(&self) -> Result<(), PlanError> {
        let fail = |source| PlanError::NotWritable { path: self.path.clone(), source };
        for folder in [SPOOL_DIR, CLAIMS_DIR] {
            fs::create_dir_all(self.path.join(folder)).map_err(fail)?;
        }
        let probe = self.path.join(SPOOL_DIR).join(format!(".probe-{}", std::process::id()));
        fs::write(&probe, b"probe").and_then(|()| fs::remove_file(&probe)).map_err(fail)
    }

    /// The attempt's bearer token; empty without a server.
    pub(crate) fn token(&self) -> String {
        self.token.clone()
    }

    pub(crate) fn claims(&self) -> PathBuf {
        self.path.join(CLAIMS_DIR)
    }

    pub(crate) fn spool(&self, epoch: u32) -> PathBuf {
        self.path.join(SPOOL_DIR).join(format!("e{epoch}"))
    }

    /// The whole log of one start of a service; records carry a bounded part of it.
    pub(crate) fn service_log(&self, epoch: u32, backend: &str, repetition: u32, start: u32) -> PathBuf {
        self.path.join("logs").join(format!("e{epoch}")).join(format!("{backend}-rep{repetition}-start{start}.log"))
    }

    /// Scratch of one start of a service.
    pub(crate) fn service_work(&self, epoch: u32, backend: &str, repetition: u32, start: u32) -> PathBuf {
        self.path.join("work").join(format!("e{epoch}")).join(format!("{backend}-rep{repetition}-start{start}"))
    }

    /// Plan and report of one trial's load generator.
    pub(crate) fn load_work(&self, epoch: u32, trial: TrialId) -> PathBuf {
        self.path.join("work").join(format!("e{epoch}")).join(format!("load-{trial}"))
    }

    pub(crate) fn backend(&self, name: &str) -> Option<&Backend> {
        self.plan.backends.iter().find(|backend| backend.name == name)
    }

    pub(crate) fn trials_total(&self) -> usize {
        self.plan.services.iter().map(|service| service.trials.len()).sum()
    }
}
