//! Watching an experiment until it ends. The server may come and go meanwhile; Ctrl-C leaves the experiment alone.

use std::time::{Duration, Instant};

use em_api::client::{Client, ClientError};
use em_api::experiment::Experiment;
use em_api::status::Phase;

use crate::cli::Format;
use crate::failure::Failure;
use crate::human;
use crate::output::{note, show};
use crate::progress::Progress;
use crate::results;

const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_AWAY: Duration = Duration::from_secs(3);

/// `emctl wait NAME`.
pub(crate) async fn run(client: &Client, name: &str, format: Format) -> Result<(), Failure> {
    let ended = until_end(client, name).await?;
    if format != Format::Table {
        show(&ended, format, |_| String::new(), |experiment| experiment.metadata.name.clone())?;
    }
    verdict(&ended)
}

/// After the end: partial results are shown whatever the phase is.
pub(crate) async fn with_results(client: &Client, name: &str, format: Format) -> Result<Experiment, Failure> {
    let ended = until_end(client, name).await?;
    match results::run(client, name, format).await {
        Err(Failure::Client(error)) if ended.status.phase != Phase::Succeeded => note(&format!("no results: {error}")),
        other => other?,
    }
    Ok(ended)
}

pub(crate) fn verdict(ended: &Experiment) -> Result<(), Failure> {
    if ended.status.phase == Phase::Succeeded { Ok(()) } else { Err(Failure::Ended) }
}

async fn until_end(client: &Client, name: &str) -> Result<Experiment, Failure> {
    let mut progress = Progress::new();
    tokio::select! {
        ended = watch(client, name, &mut progress) => ended,
        signal = tokio::signal::ctrl_c() => {
            let _ = signal;
            Progress::new().say(&format!("{name} goes on without us. Come back with `emctl wait {name}`; stop it with `emctl cancel {name}`"));
            Err(Failure::Interrupted)
        }
    }
}

async fn watch(client: &Client, name: &str, progress: &mut Progress) -> Result<Experiment, Failure> {
    // Of the same name only the one that we began with: it could be deleted and made anew.
    let first = client.experiment(name).await?;
    let uid = first.metadata.uid;
    let mut seen = Ok(first);
    let mut away: Option<Instant> = None;
    loop {
        match seen {
            Ok(experiment) if experiment.metadata.uid != uid => {
                return Err(Failure::Usage(format!("{name} was deleted and made anew meanwhile")));
            }
            Ok(experiment) => {
                if let Some(since) = away.take() {
                    progress.say(&format!("the control plane answers again after {}", human::seconds(since.elapsed().as_secs())));
                }
                progress.show(&experiment);
                if experiment.status.phase.ended() {
                    progress.say(&ending(&experiment));
                    return Ok(experiment);
                }
            }
            Err(error) if passes(&error) => {
                if away.is_none() {
                    away = Some(Instant::now());
                    progress.say(&format!("{error}; the experiment goes on, trying again"));
                }
            }
            Err(error) => return Err(error.into()),
        }
        tokio::time::sleep(if away.is_some() { PAUSE_AWAY } else { PAUSE }).await;
        seen = client.experiment(name).await;
    }
}

/// Whether it may be otherwise in a moment: a server that restarts, a proxy without one, too many requests.
fn passes(error: &ClientError) -> bool {
    match error {
        ClientError::Unreachable { .. } | ClientError::Answer { .. } => true,
        ClientError::Problem(problem) => problem.status >= 500 || problem.status == 429,
        ClientError::Address(_) => false,
    }
}

fn ending(experiment: &Experiment) -> String {
    let status = &experiment.status;
    let trials = &status.trials;
    let mut text =
        format!("{} {}: {} of {} trials measured", experiment.metadata.name, status.phase.as_str(), trials.succeeded, trials.total);
    if trials.failed > 0 {
        text.push_str(&format!(", {} failed", trials.failed));
    }
    if let Some(end) = status.finished_at {
        text.push_str(&format!(", {} after it was posted", human::age(experiment.metadata.created_at, end)));
    }
    if let Some(message) = status.message.as_deref().map(human::one_line).filter(|_| status.phase == Phase::Failed) {
        text.push_str(&format!(". {message}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::tests::experiment;

    #[test]
    fn the_end_says_how_and_why() {
        assert_eq!(
            ending(&experiment("Failed")),
            "demo-failed Failed: 10 of 12 trials measured, 2 failed. 2 trials failed: ServiceStartFailed"
        );
        assert_eq!(verdict(&experiment("Failed")).expect_err("no success").exit_code(), 1);
        assert_eq!(verdict(&experiment("Cancelled")).expect_err("no success").exit_code(), 1);
        assert!(verdict(&experiment("Succeeded")).is_ok());
    }
}
