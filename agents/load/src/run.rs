//! One trial from begin to end: inputs, load, self-check, report.

use em_api::measurement::LoadReport;
use em_api::spec::LoadLevel;
use tokio_util::sync::CancellationToken;

use crate::inputs::Inputs;
use crate::trial::Trial;
use crate::{LoadError, LoadPlan, Phase, Progress, cores, find_max, headroom, signals};

/// Runs the trial that `plan` describes. `progress` is called once a second and at the begin of each phase, from a task of the
/// runtime: it must not block. Cancelling ends the trial within a second; requests under way are dropped then.
///
/// Takes SIGINT and SIGTERM over (they cancel), pins the whole process when `plan.cores` is set, and needs Tokio's multi-thread
/// runtime: a process of its own, as `em-agent load` is.
pub async fn run(
    plan: LoadPlan,
    cancel: CancellationToken,
    progress: impl Fn(Progress) + Send + Sync + 'static,
) -> Result<LoadReport, LoadError> {
    plan.validate()?;
    // A child: ending this trial must not cancel what else hangs on the caller's token.
    let cancel = cancel.child_token();
    let _signals = signals::cancel_on_signal(&cancel);
    let deadline = plan.deadline;
    let trial = async {
        if let Some(cores) = &plan.cores {
            cores::pin(cores)?;
        }
        progress(Progress::begin(Phase::Loading, 0.0));
        let inputs = Inputs::load(&plan).await?;
        let report = match plan.level {
            LoadLevel::FindMax(search) => find_max::run(&plan, search, &inputs, &cancel, &progress).await?,
            _ => {
                let measured = Trial::start(plan.clone(), &inputs, None, cancel.clone())?.measure(&progress).await?;
                warn_of_repeats(measured.drawn, inputs.texts.len() as u64);
                measured.report
            }
        };
        Ok::<_, LoadError>((report, inputs))
    };
    let (mut report, inputs) = tokio::select! {
        biased;
        () = cancel.cancelled() => return Err(LoadError::Cancelled),
        trial = trial => trial?,
        () = tokio::time::sleep(deadline.0) => return Err(LoadError::Deadline(deadline)),
    };
    if report.generator.headroom_requests_per_s.is_none() {
        // What was measured stays measured, also when this is cancelled or fails.
        report.generator.headroom_requests_per_s = tokio::select! {
            biased;
            () = cancel.cancelled() => None,
            headroom = headroom::measure(&plan, &report, &inputs, &cancel) => {
                headroom.inspect_err(|problem| tracing::warn!("the generator's own limit was not measured: {problem}")).ok().flatten()
            }
        };
    }
    Ok(report)
    // The guard of the signals cancels the child token: users that are still there end.
}

fn warn_of_repeats(drawn: u64, texts: u64) {
    if drawn > texts {
        tracing::warn!(drawn, texts, "{drawn} texts were sent of {texts}: some more than once, so caches may have helped");
    }
}
