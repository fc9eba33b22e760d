//! The right to work on an attempt. The control plane gives it; while it cannot be reached, an atomic `mkdir` in the job
//! directory decides and the uplink has it confirmed later. At most one agent works on an epoch either way.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use em_api::HumanDuration;
use em_api::agent::{ClaimRequest, Directive};
use em_api::client::Client;
use em_api::client::agent::AgentCallError;
use em_api::plan::Plan;
use tokio::time::{Instant, sleep, timeout_at};
use tracing::{info, warn};

use super::backoff::Backoff;
use super::plan::JobDir;
use super::shutdown::Stop;

/// In the claim's folder: who holds it, as a [`ClaimRequest`].
const CLAIM_FILE: &str = "claim.json";

/// A claim that was granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) epoch: u32,
    /// Whether the control plane knows: false when the job directory decided.
    pub(crate) confirmed: bool,
    pub(crate) directive: Directive,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum ClaimError {
    /// Nothing was started and nothing will be.
    #[error("this attempt is not ours: {0}")]
    Refused(String),
    #[error("stopped before the attempt was claimed")]
    Stopped,
    #[error("making the claim {path} in the job directory")]
    Folder {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// What this process says of itself; the same for every try.
pub(crate) fn request(plan: &Plan, node: String) -> ClaimRequest {
    let restart_count = std::env::var("SLURM_RESTART_COUNT").ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0);
    ClaimRequest {
        attempt: plan.attempt,
        slurm_job_id: std::env::var("SLURM_JOB_ID").unwrap_or_else(|_| format!("process-{}", std::process::id())),
        restart_count,
        boot_nonce: ulid::Ulid::generate().to_string(),
        node,
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

/// Claims the attempt without a server: the job directory alone decides.
pub(crate) fn claim_alone(job: &JobDir, request: &ClaimRequest) -> Result<Claim, ClaimError> {
    let epoch = next_epoch(&job.claims(), request)?;
    take(&job.claims(), epoch, request)?;
    Ok(Claim { epoch, confirmed: true, directive: Directive::Continue })
}

/// Claims the attempt. Asks the control plane until `claimTimeout`, then the job directory.
pub(crate) async fn claim(
    client: &Client,
    claim_timeout: HumanDuration,
    job: &JobDir,
    request: &ClaimRequest,
    stop: &Stop,
) -> Result<Claim, ClaimError> {
    let next_epoch = next_epoch(&job.claims(), request)?;
    let give_up = Instant::now() + claim_timeout.0;
    let mut backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(5));
    let mut told = false;
    loop {
        let asked = tokio::select! {
            asked = timeout_at(give_up, client.claim(request)) => asked,
            () = stop.token().cancelled() => return Err(ClaimError::Stopped),
        };
        match asked {
            Ok(Ok(answer)) => {
                take(&job.claims(), answer.epoch, request)?;
                info!("claimed epoch {} of attempt {}", answer.epoch, request.attempt);
                return Ok(Claim { epoch: answer.epoch, confirmed: true, directive: answer.directive });
            }
            Ok(Err(AgentCallError::Unavailable(problem))) => {
                if !told {
                    warn!("{problem}; asking again for {}", claim_timeout);
                    told = true;
                }
            }
            Ok(Err(refused)) => return Err(ClaimError::Refused(refused.to_string())),
            Err(_) => {}
        }
        let next = Instant::now() + backoff.step();
        if next >= give_up {
            break;
        }
        tokio::select! {
            () = tokio::time::sleep_until(next) => {}
            () = stop.token().cancelled() => return Err(ClaimError::Stopped),
        }
    }
    wait_until(give_up, stop).await?;
    take(&job.claims(), next_epoch, request)?;
    warn!("no answer for {}: epoch {next_epoch} was claimed in the job directory, to be confirmed later", claim_timeout);
    Ok(Claim { epoch: next_epoch, confirmed: false, directive: Directive::Continue })
}

async fn wait_until(moment: Instant, stop: &Stop) -> Result<(), ClaimError> {
    tokio::select! {
        () = sleep(moment.saturating_duration_since(Instant::now())) => Ok(()),
        () = stop.token().cancelled() => Err(ClaimError::Stopped),
    }
}

/// The epoch after the last one claimed here: the control plane counts in the same way (a restart that never got to its claim
/// has no epoch), so that it can confirm the number later.
///
/// Every process has a nonce of its own, so a claim for this restart belongs to another. Its holder may be at work with the
/// server away: asking the server first would have two at work until that one is confirmed.
fn next_epoch(claims: &Path, request: &ClaimRequest) -> Result<u32, ClaimError> {
    let Ok(entries) = fs::read_dir(claims) else { return Ok(0) };
    let epochs = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let Some(last) = epochs.max() else { return Ok(0) };
    let folder = claims.join(last.to_string());
    // Without its words (its holder died in between): an epoch has at least as many restarts.
    let restart_count = holder(&folder).map_or(last, |holder| holder.restart_count);
    if restart_count >= request.restart_count { Err(taken(&folder, last)) } else { Ok(last + 1) }
}

fn holder(folder: &Path) -> Option<ClaimRequest> {
    serde_json::from_slice(&fs::read(folder.join(CLAIM_FILE)).ok()?).ok()
}

fn taken(folder: &Path, epoch: u32) -> ClaimError {
    let holder = holder(folder).map_or_else(String::new, |holder| format!(" by job {} on {}", holder.slurm_job_id, holder.node));
    ClaimError::Refused(format!("epoch {epoch} was already claimed in the job directory{holder} ({})", folder.display()))
}

/// `mkdir` is atomic on local and network file systems alike: one of two wins.
fn take(claims: &Path, epoch: u32, request: &ClaimRequest) -> Result<(), ClaimError> {
    let path = claims.join(epoch.to_string());
    match fs::create_dir(&path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(taken(&path, epoch)),
        Err(source) => return Err(ClaimError::Folder { path, source }),
    }
    let json = serde_json::to_vec_pretty(request).expect("a claim is plain data");
    fs::write(path.join(CLAIM_FILE), json).map_err(|source| ClaimError::Folder { path, source })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use em_api::AttemptId;

    use super::*;

    fn of(restart_count: u32) -> ClaimRequest {
        ClaimRequest {
            attempt: AttemptId::generate(),
            slurm_job_id: "4711".to_owned(),
            restart_count,
            boot_nonce: ulid::Ulid::generate().to_string(),
            node: "gpu07".to_owned(),
            version: "0".to_owned(),
        }
    }

    #[test]
    fn of_two_agents_one_takes_the_folder_and_the_other_learns_who() {
        let folder = tempfile::tempdir().unwrap();
        take(folder.path(), 0, &of(0)).unwrap();
        let refused = take(folder.path(), 0, &of(0)).unwrap_err().to_string();
        assert!(refused.contains("by job 4711 on gpu07"), "{refused}");
        assert!(matches!(next_epoch(folder.path(), &of(0)), Err(ClaimError::Refused(_))));
    }

    #[test]
    fn a_requeued_job_takes_the_next_epoch_and_the_former_may_not_come_back() {
        let folder = tempfile::tempdir().unwrap();
        let claims = folder.path();
        // The first run of the job ended before its agent could claim.
        assert_eq!(next_epoch(claims, &of(1)).unwrap(), 0);
        take(claims, 0, &of(1)).unwrap();
        assert_eq!(next_epoch(claims, &of(2)).unwrap(), 1);
        take(claims, 1, &of(2)).unwrap();
        for former in 0..=2 {
            assert!(next_epoch(claims, &of(former)).is_err(), "restart {former}");
        }
        fs::remove_file(claims.join("1").join(CLAIM_FILE)).unwrap();
        assert!(next_epoch(claims, &of(1)).is_err(), "a claim without words still holds");
        assert_eq!(next_epoch(claims, &of(2)).unwrap(), 2);
    }
}
