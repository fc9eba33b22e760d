//! A batcher thread: takes the next texts from the queue, runs them, hands the vectors back. Each owns a session, because
//! a session runs one batch at a time; several threads may share the queue.

use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Instant;

use super::error::BatchError;
use super::metrics::{Metrics, Phase};
use super::queue::{Queue, Waiting};
use super::session::GraphSession;
use super::{EmbedError, EngineError};

/// Returns once the session has run its first batches. The thread ends when the queue is closed and empty.
/// Errors: [`EngineError::FirstBatch`].
pub(crate) fn start(mut session: GraphSession, queue: Arc<Queue>, metrics: Arc<Metrics>) -> Result<JoinHandle<()>, EngineError> {
    let (ready, warm) = mpsc::channel::<Result<(), BatchError>>();
    let work = move || {
        // What CUDA records belongs to the thread that recorded it, so this one warms up.
        let warmed = session.warm_up();
        let failed = warmed.is_err();
        // The receiver waits for this.
        let _ = ready.send(warmed);
        if failed {
            return;
        }
        // If a run panics, requests that wait must not wait for ever.
        let _closing = CloseOnDrop(&queue);
        while let Some(texts) = queue.next(|lengths| session.choose(lengths, queue.budget())) {
            run(&mut session, &metrics, texts);
        }
    };
    let thread = std::thread::Builder::new().name("batcher".into()).spawn(work).expect("the system has a thread left at start");
    let source = match warm.recv() {
        Ok(Ok(())) => return Ok(thread),
        Ok(Err(source)) => source,
        Err(mpsc::RecvError) => BatchError::Panicked,
    };
    // The session goes with its thread, and must be gone before the process ends: CUDA's libraries abort it otherwise.
    let _ = thread.join();
    Err(EngineError::FirstBatch { source })
}

fn run(session: &mut GraphSession, metrics: &Metrics, texts: Vec<Waiting>) {
    let ids: Vec<&[u32]> = texts.iter().map(|text| text.ids.as_slice()).collect();
    let real = ids.iter().map(|ids| ids.len()).sum();
    let started = Instant::now();
    for text in &texts {
        metrics.phase(Phase::Queue, started - text.since);
    }
    let result = session.run(&ids);
    metrics.phase(Phase::Compute, started.elapsed());
    match result {
        Ok(computed) => {
            metrics.batch(texts.len(), real, computed.tokens);
            let dim = computed.values.len() / texts.len();
            for (text, vector) in texts.into_iter().zip(computed.values.chunks_exact(dim)) {
                text.finish(Ok(vector));
            }
        }
        Err(error) => {
            tracing::error!(error = %error, texts = texts.len(), "a batch failed");
            let error = EmbedError::Batch(Arc::new(error));
            for text in texts {
                text.finish(Err(error.clone()));
            }
        }
    }
}

struct CloseOnDrop<'a>(&'a Queue);

impl Drop for CloseOnDrop<'_> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
