//! Results of an experiment, computed from its measurements when asked for. The last few are kept: a page asks for numbers and
//! plots of the same measurements.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use actix_web::HttpResponse;
use actix_web::web::{self, Data, Path};
use em_api::ExperimentUid;
use em_api::results::Results;
use em_api::status::Phase;

use super::App;
use super::name::Name;
use super::problem::{Answer, Refusal};
use crate::results::{ResultsInput, compute};
use crate::store::status;

pub(super) struct Computed {
    pub(super) input: ResultsInput,
    pub(super) results: Results,
}

/// What results depend on; the spec is immutable.
#[derive(Clone, PartialEq)]
struct Key {
    uid: ExperimentUid,
    phase: Phase,
    measurements_sha256: String,
    parity: i64,
}

/// Measurements of an experiment take megabytes, so few are kept.
const KEPT: usize = 4;

#[derive(Default)]
pub(super) struct Cache(Mutex<VecDeque<(Key, Arc<Computed>)>>);

impl Cache {
    fn get(&self, key: &Key) -> Option<Arc<Computed>> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().find(|(held, _)| held == key).map(|(_, computed)| computed.clone())
    }

    /// The newest of each experiment; the oldest go first.
    fn put(&self, key: Key, computed: Arc<Computed>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|(held, _)| held.uid != key.uid);
        kept.push_front((key, computed));
        kept.truncate(KEPT);
    }
}

/// Read the results of an experiment
///
/// Computed from all measurements that are in, also while it runs.
#[utoipa::path(
    get,
    path = "/experiments/{name}/results",
    operation_id = "readResults",
    tag = "results",
    params(("name" = String, Path, description = "Name of the experiment", example = "demo")),
    responses((status = 200, description = "The results", body = Results)),
    security(("token" = []), ("session" = [])),
)]
pub(super) async fn results(app: Data<App>, name: Path<Name>) -> Answer {
    let computed = computed(&app, &name).await?;
    Ok(HttpResponse::Ok().json(&computed.results))
}

pub(super) async fn computed(app: &App, name: &str) -> Answer<Arc<Computed>> {
    let stored = app.store.stored(name).await?;
    let uid = stored.uid;
    let key = Key {
        uid,
        phase: stored.phase,
        measurements_sha256: app.store.measurements_sha256(uid).await?,
        parity: app.store.parity_count(uid).await?,
    };
    if let Some(computed) = app.cache.get(&key) {
        return Ok(computed);
    }
    let experiment = app.store.complete(stored).await?;
    let measurements = app.store.measurements(uid).await?.into_iter().map(|(_, measurement)| measurement).collect();
    let jobs = app.store.attempts(uid).await?.iter().map(status::job).collect();
    let input = ResultsInput { experiment, measurements, parity: app.store.parity(uid).await?, jobs };
    let computed = blocking("computing results", move || {
        let results = compute(&input);
        Ok(Arc::new(Computed { input, results }))
    })
    .await?;
    app.cache.put(key, computed.clone());
    Ok(computed)
}

/// Runs what needs the processor for longer on a thread of its own.
pub(super) async fn blocking<T: Send + 'static>(
    doing: &'static str,
    work: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
) -> Answer<T> {
    match web::block(work).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(Refusal::internal(doing, &format_args!("{error:#}"))),
        Err(error) => Err(Refusal::internal(doing, &error)),
    }
}
