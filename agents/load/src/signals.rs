//! SIGINT and SIGTERM end a trial by its own cancellation.
//!
//! Goose installs a handler that calls `process::exit(1)` on some paths, and only the first handler of a process counts: ours
//! must come first. A signal cancels every running trial; a second one, or one while nothing runs, ends the process.

use std::sync::{Mutex, Once, PoisonError};

use tokio_util::sync::CancellationToken;

static RUNNING: Mutex<Vec<CancellationToken>> = Mutex::new(Vec::new());
static INSTALL: Once = Once::new();

/// The exit code of a process that SIGINT ended.
const INTERRUPTED: i32 = 130;

/// While it lives, signals cancel its token.
pub(crate) struct Guard(CancellationToken);

pub(crate) fn cancel_on_signal(token: &CancellationToken) -> Guard {
    INSTALL.call_once(|| {
        // Fails where the process has a handler already: that one is first too, which is all we need.
        if let Err(error) = ctrlc::set_handler(on_signal) {
            tracing::debug!("keeping the signal handler that is there: {error}");
        }
    });
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner).push(token.clone());
    Guard(token.clone())
}

impl Drop for Guard {
    fn drop(&mut self) {
        // Cancelled ones go too: a token is in the list once a run, and equality of tokens cannot be asked.
        let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        self.0.cancel();
        running.retain(|token| !token.is_cancelled());
    }
}

fn on_signal() {
    let running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
    if running.iter().all(CancellationToken::is_cancelled) {
        std::process::exit(INTERRUPTED);
    }
    for token in running.iter() {
        token.cancel();
    }
}
