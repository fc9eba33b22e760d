//! What an experiment would become: refused or not, with which trials in which order, and what its jobs would wait for.

use std::time::Duration;

use em_api::experiment::{Experiment, TrialToCome};
use em_api::plan::{PlannedTrial, ServiceRun};
use em_api::spec::Spec;

use super::App;
use super::problem::Answer;
use crate::admit::expand::{Shard, execution_order, expand};
use crate::admit::{Admitted, NameChoice};
use crate::job::inputs;
use crate::store::experiments::measured;
use crate::store::{self, Store};

/// How long to wait for the store of models and data.
const LOOK_AT_STORE: Duration = Duration::from_secs(2);

/// What a creation would answer, and whether it would be refused.
pub(super) async fn preview(app: &App, admitted: &Admitted, owner: &str) -> Answer<Experiment> {
    if let NameChoice::Given(name) = &admitted.name
        && let Some(held) = app.store.experiment_if_any(name).await?
    {
        if held.metadata.deleted_at.is_some() {
            return Err(store::Error::BeingDeleted(held.metadata.name).into());
        }
        if measured(&held.spec) != measured(&admitted.spec) {
            return Err(store::Error::NameTaken(Box::new(held)).into());
        }
        return Ok(held);
    }
    Ok(Store::preview(admitted, owner))
}

/// As the first look at it would tell; a store that does not answer is no news.
pub(super) async fn missing_inputs(app: &App, spec: &Spec) -> Option<String> {
    if spec.allow_download {
        return None;
    }
    let (store_dir, of) = (app.jobs.store_dir.clone(), spec.clone());
    let look = tokio::task::spawn_blocking(move || inputs::missing(&store_dir, &of));
    let missing = tokio::time::timeout(LOOK_AT_STORE, look).await.ok()?.ok()?;
    (!missing.is_empty()).then(|| inputs::told(&missing, &inputs::cure(&app.jobs, spec, &missing)))
}

/// The trials in the order of their execution, as a new experiment with this spec would have them.
pub(super) fn to_come(spec: &Spec) -> Vec<TrialToCome> {
    let of_shard = |(job, shard): (u32, &Shard)| -> Vec<TrialToCome> {
        let runs = execution_order(spec, &shard.blocks);
        let of_run = |run: ServiceRun| {
            let (backend, repetition) = (run.backend, run.repetition);
            let row = move |trial: PlannedTrial| {
                let (batch_size, load) = (trial.batch_size, trial.load);
                TrialToCome { job, repetition, backend: backend.clone(), batch_size, load }
            };
            run.trials.into_iter().map(row)
        };
        runs.into_iter().flat_map(of_run).collect()
    };
    (1..).zip(&expand(spec)).flat_map(of_shard).collect()
}
