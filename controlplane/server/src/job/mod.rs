//! What one job is given: its directory, `plan.json`, its token, and the script that Slurm runs. Rendering is pure; only
//! [`write()`] touches the disk.

mod directory;
pub mod inputs;
mod plan;
mod remove;
mod script;
mod standalone;

use std::path::{Path, PathBuf};

use em_api::plan::Plan;
use em_api::{AttemptId, ExperimentUid};

pub use directory::{Files, write};
pub use plan::{Assignment, plan};
pub use remove::{RemoveError, remove};
pub(crate) use script::options;
pub use script::script;
pub use standalone::standalone;

/// What the server's settings say about jobs.
#[derive(Clone, Debug)]
pub struct JobSettings {
    /// Shared with the compute nodes.
    pub job_dir: PathBuf,
    pub store_dir: PathBuf,
    /// The `em-agent` binary, as compute nodes see it.
    pub agent: PathBuf,
    /// Where agents find us.
    pub advertise: String,
    pub claim_timeout: em_api::HumanDuration,
}

impl JobSettings {
    /// The folder of an experiment. Names are RFC 1123 labels, so no path comes from a request.
    pub fn experiment_dir(&self, name: &str, uid: ExperimentUid) -> PathBuf {
        self.job_dir.join(self.experiment_folder(name, uid))
    }

    /// The name of that folder.
    pub fn experiment_folder(&self, name: &str, uid: ExperimentUid) -> String {
        let uid = uid.to_string().to_lowercase();
        // The end of a ULID is its random part; the begin is the time.
        format!("{name}-{}", &uid[uid.len() - 8..])
    }

    pub fn attempt_dir(&self, name: &str, uid: ExperimentUid, attempt: AttemptId) -> PathBuf {
        self.experiment_dir(name, uid).join(attempt.to_string().to_lowercase())
    }
}

/// `plan.json` in a job directory.
pub fn plan_path(dir: &Path) -> PathBuf {
    dir.join(em_api::plan::PLAN_FILE)
}

/// The text of `plan.json`.
pub fn plan_text(plan: &Plan) -> String {
    serde_json::to_string_pretty(plan).expect("a plan serialises") + "\n"
}
