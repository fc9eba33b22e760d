//! The batcher thread: takes the next texts of similar length, runs them, hands the vectors back. It owns the session,
//! because ONNX Runtime's session runs one batch at a time here and spreads it over its own threads.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use super::EmbedError;
use super::batch::choose;
use super::metrics::{Metrics, Phase};
use super::queue::{Queue, Waiting};
use super::session::{Batch, GraphSession};

/// Ends when the queue is closed and empty.
pub(crate) fn start(mut session: GraphSession, queue: Arc<Queue>, metrics: Arc<Metrics>) -> JoinHandle<()> {
    let work = move || {
        // If a run panics, requests that wait must not wait for ever.
        let _closing = CloseOnDrop(&queue);
        while let Some(texts) = queue.next(|lengths| choose(lengths, queue.budget())) {
            run(&mut session, &metrics, texts);
        }
    };
    std::thread::Builder::new().name("batcher".into()).spawn(work).expect("the system has a thread left at start")
}

fn run(session: &mut GraphSession, metrics: &Metrics, texts: Vec<Waiting>) {
    let batch = Batch::pad(texts.iter().map(|text| text.ids.as_slice()));
    let real = texts.iter().map(|text| text.ids.len()).sum();
    metrics.batch(texts.len(), real, batch.padded_tokens());
    let started = Instant::now();
    for text in &texts {
        metrics.phase(Phase::Queue, started - text.since);
    }
    let result = session.run(&batch);
    metrics.phase(Phase::Compute, started.elapsed());
    match result {
        Ok(values) => {
            let dim = values.len() / texts.len();
            for (text, vector) in texts.into_iter().zip(values.chunks_exact(dim)) {
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
