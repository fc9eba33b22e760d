//! A run without a server: the same script and plan, in a folder of the user's choice. Ids are made here and stored nowhere; an
//! import takes them from the plan.

use std::path::Path;

use em_api::AttemptId;
use em_api::experiment::Experiment;
use em_api::plan::Plan;
use em_slurm::JobScript;

use super::script::script_in;
use super::{Assignment, JobSettings, plan};
use crate::admit::expand::{Shard, expand};

/// `dir`: as the compute nodes see it. Errors: what is wrong with it.
pub fn standalone(settings: &JobSettings, experiment: Experiment, dir: &Path) -> Result<(Experiment, Plan, JobScript), String> {
    em_slurm::validate_job_dir(dir)?;
    let (name, uid, spec) = (&experiment.metadata.name, experiment.metadata.uid, &experiment.spec);
    let Ok([shard]) = <[Shard; 1]>::try_from(expand(spec)) else {
        return Err("a folder is one job: leave spec.slurm.shard out, or set it to experiment".to_owned());
    };
    let attempt = AttemptId::generate();
    let assignment = Assignment { experiment: name, uid, spec, shard: shard.id, attempt, number: 1, unfinished: &shard.blocks };
    let plan = Plan { server: None, ..plan(settings, &assignment) };
    // Not by the pattern of this server's own jobs, whose orphans it cancels.
    let job_name = format!("em-standalone-{}", attempt.to_string().to_lowercase());
    let script = script_in(dir.to_owned(), settings, name, spec, (shard.id, attempt), &job_name);
    match script.validate().first() {
        Some(error) => Err(format!("{} {}", error.field, error.message)),
        None => Ok((experiment, plan, script)),
    }
}
