//! What this generator can do at most: the same requests in a closed loop against a null server on the same cores, with answers of
//! the size that the real server sent. A trial above a third of that measured the generator as much as the server.

use std::time::Duration;

use em_api::HumanDuration;
use em_api::measurement::LoadReport;
use em_api::spec::LoadLevel;
use tokio_util::sync::CancellationToken;

use crate::inputs::Inputs;
use crate::null_server::{NullServer, body};
use crate::trial::Trial;
use crate::{LoadError, LoadPlan};

/// Requests under way: enough that the generator never waits for one.
const USERS: u32 = 32;
const WARM_UP: Duration = Duration::from_millis(100);
/// A twentieth of the trial's window, within these.
const SHARE: u32 = 20;
const BOUNDS: (Duration, Duration) = (Duration::from_millis(300), Duration::from_secs(2));

/// Requests per second; `None` when the trial saw no valid answer to be like.
pub(crate) async fn measure(
    plan: &LoadPlan,
    report: &LoadReport,
    inputs: &Inputs,
    cancel: &CancellationToken,
) -> Result<Option<f64>, LoadError> {
    let answers = report.counts.ok + report.counts.late;
    let (Some(dim), true) = (report.embedding_dim, answers > 0) else { return Ok(None) };
    let texts = plan.mean_batch().round().max(1.0) as u32;
    let size = report.response_bytes / answers;
    let server = NullServer::start(body(plan.wire, texts, dim, size)).map_err(LoadError::NullServer)?;
    let plan = LoadPlan {
        url: server.url.clone(),
        level: LoadLevel::Concurrency(USERS),
        batch_size: texts,
        batch_mix: None,
        shape: None,
        warmup: WARM_UP.into(),
        duration: HumanDuration((plan.duration.0 / SHARE).clamp(BOUNDS.0, BOUNDS.1)),
        min_requests: 0,
        expected_dim: Some(dim),
        requests: None,
        ..plan.clone()
    };
    // A trace of the plan is no load of a closed loop.
    let inputs = Inputs { trace: None, ..inputs.clone() };
    let measured = Trial::start(plan, &inputs, None, cancel.clone())?.measure(&|_| {}).await?.report;
    Ok((measured.counts.ok > 0).then(|| measured.counts.ok as f64 / measured.window_s))
}
