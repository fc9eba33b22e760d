//! Background tasks that outlive their own panics: one that ends before it should is counted and started again after a pause, so
//! that no part of the server ends silently.

use std::any::Any;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::error;

use crate::metrics::Metrics;

/// Doubles up to the longest while the task keeps ending.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// A task that ran for so long begins with the first pause again.
const SOUND_AFTER: Duration = Duration::from_secs(120);

/// Runs what `make` makes until `stop`. `task` is its name in logs and metrics.
pub fn supervise<F>(
    task: &'static str,
    metrics: Metrics,
    stop: CancellationToken,
    mut make: impl FnMut() -> F + Send + 'static,
) -> JoinHandle<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    tokio::spawn(async move {
        let mut pause = FIRST_PAUSE;
        loop {
            let begin = Instant::now();
            // Ends with us, when we are aborted.
            let ended = AbortOnDropHandle::new(tokio::spawn(make())).await;
            if stop.is_cancelled() {
                return;
            }
            let why = match ended {
                Ok(()) => "it ended by itself".to_owned(),
                Err(ended) => match ended.try_into_panic() {
                    Ok(panic) => panic_text(panic.as_ref()),
                    // Only the end of the runtime cancels it.
                    Err(_) => return,
                },
            };
            metrics.task_restarts.with_label_values(&[task]).inc();
            if begin.elapsed() > SOUND_AFTER {
                pause = FIRST_PAUSE;
            }
            error!(task, why, "a background task has ended; it is started again in {} s", pause.as_secs());
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    })
}

/// The words of a panic.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without words".to_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test]
    async fn a_task_that_panics_is_started_again_and_counted_and_stops_when_asked() {
        let (metrics, stop, runs) = (Metrics::new(), CancellationToken::new(), Arc::new(AtomicU32::new(0)));
        let (counter, asked) = (runs.clone(), stop.clone());
        let task = supervise("test", metrics.clone(), stop.clone(), move || {
            let (run, asked) = (counter.fetch_add(1, Ordering::SeqCst), asked.clone());
            async move {
                assert!(run > 0, "the first run is a broken one");
                asked.cancelled().await;
            }
        });
        while runs.load(Ordering::SeqCst) < 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(metrics.task_restarts.with_label_values(&["test"]).get(), 1);
        stop.cancel();
        tokio::time::timeout(Duration::from_secs(60), task).await.expect("it ends").expect("in order");
    }
}
