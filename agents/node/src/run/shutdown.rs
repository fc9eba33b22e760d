//! Ends that come from outside: SIGTERM and SIGINT (time limit near, cancel), and the control plane's directives. Everything
//! that waits in `run` waits on the token of [`Stop`] too.

use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use em_api::agent::Directive;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

/// From the signal to the last resort. Slurm sends SIGKILL later than this; services die with the agent.
const GONE_WITHIN: Duration = Duration::from_secs(19);
const SIGNALS_ARRIVE_WITHIN: Duration = Duration::from_secs(1);
pub(crate) const EXIT_CUT_OFF: i32 = 70;

/// Shared by all tasks of a run. Two levels: drained (no further trial) and stopped (at once); the first reason is kept.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stop {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    stopped: CancellationToken,
    drained: CancellationToken,
    reason: OnceLock<String>,
}

impl Stop {
    /// Ends the run now.
    pub(crate) fn stop(&self, reason: &str) {
        if !self.inner.stopped.is_cancelled() {
            info!("stopping: {reason}");
            let _ = self.inner.reason.set(reason.to_owned());
        }
        self.inner.stopped.cancel();
    }

    /// Lets the running trial end and starts no other.
    pub(crate) fn drain(&self, reason: &str) {
        if !self.drained() {
            info!("draining: {reason}");
            let _ = self.inner.reason.set(reason.to_owned());
        }
        self.inner.drained.cancel();
    }

    pub(crate) fn obey(&self, directive: Directive) {
        match directive {
            Directive::Continue => {}
            Directive::Drain => self.drain("the control plane asks for no further trial"),
            Directive::Cancel => self.stop("cancelled by the control plane"),
        }
    }

    pub(crate) fn stopped(&self) -> bool {
        self.inner.stopped.is_cancelled()
    }

    pub(crate) fn drained(&self) -> bool {
        self.inner.drained.is_cancelled() || self.stopped()
    }

    /// Cancelled when the run is to end now.
    pub(crate) fn token(&self) -> &CancellationToken {
        &self.inner.stopped
    }

    /// For a child that ended: Slurm signals all processes of a job at once, and a child may be gone before our own signal was
    /// seen. Such an end is no failure of the trial.
    pub(crate) async fn stopped_by_now(&self) -> bool {
        tokio::time::timeout(SIGNALS_ARRIVE_WITHIN, self.inner.stopped.cancelled()).await.is_ok()
    }

    pub(crate) fn reason(&self) -> String {
        self.inner.reason.get().cloned().unwrap_or_else(|| "stopped".to_owned())
    }

    /// Listens for SIGTERM and SIGINT from now on. After the first the process is gone within [`GONE_WITHIN`], whatever hangs.
    pub(crate) fn listen(&self) -> io::Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let stop = self.clone();
        tokio::spawn(async move {
            let name = tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            };
            last_resort();
            stop.stop(&format!("{name}: the time limit is near or the job was cancelled"));
        });
        Ok(())
    }
}

/// A thread of its own: a runtime that hangs on a dead file system cannot hold it up.
fn last_resort() {
    std::thread::spawn(|| {
        std::thread::sleep(GONE_WITHIN);
        error!("the orderly end took more than {} s; leaving now, what was not spooled is lost", GONE_WITHIN.as_secs());
        std::process::exit(EXIT_CUT_OFF);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drained_run_goes_on_and_a_stopped_one_starts_nothing() {
        let stop = Stop::default();
        stop.obey(Directive::Continue);
        assert!(!stop.drained() && !stop.stopped());
        stop.obey(Directive::Drain);
        assert!(stop.drained() && !stop.stopped());
        stop.obey(Directive::Cancel);
        assert!(stop.stopped());
        let other = Stop::default();
        other.stop("first");
        other.stop("second");
        assert!(other.drained());
        assert_eq!(other.reason(), "first");
    }
}
