//! The one bounded queue over all requests. A request's texts may run in different batches; its ticket resolves when the
//! last of them is there. A dropped ticket (the client left) takes its texts out.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::oneshot;

use super::EmbedError;

pub(crate) struct Queue {
    state: Mutex<State>,
    arrived: Condvar,
    /// Texts.
    limit: usize,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Waiting>,
    closed: bool,
}

/// One text on its way.
pub(crate) struct Waiting {
    pub(crate) ids: Vec<u32>,
    pub(crate) since: Instant,
    request: Arc<Request>,
    /// Place in its request.
    place: usize,
}

/// Owned by its texts alone: when they are dropped unfinished, the ticket resolves to `Closed`.
struct Request {
    abandoned: Arc<AtomicBool>,
    progress: Mutex<Progress>,
}

struct Progress {
    values: Vec<f32>,
    missing: usize,
    answer: Option<oneshot::Sender<Result<Vec<f32>, EmbedError>>>,
}

/// Resolves to `[texts, dim]`, row-major.
pub(crate) struct Ticket {
    answer: oneshot::Receiver<Result<Vec<f32>, EmbedError>>,
    abandoned: Arc<AtomicBool>,
}

impl Ticket {
    pub(crate) async fn vectors(mut self) -> Result<Vec<f32>, EmbedError> {
        // No answer: the batcher is gone.
        (&mut self.answer).await.unwrap_or(Err(EmbedError::Closed))
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.abandoned.store(true, Ordering::Relaxed);
    }
}

impl Waiting {
    /// Hands this text's vector (or why there is none) to its request.
    pub(crate) fn finish(self, vector: Result<&[f32], EmbedError>) {
        let mut progress = self.request.progress.lock().unwrap_or_else(PoisonError::into_inner);
        match vector {
            Ok(vector) => {
                let start = self.place * vector.len();
                progress.values[start..start + vector.len()].copy_from_slice(vector);
                progress.missing -= 1;
                if progress.missing > 0 {
                    return;
                }
                let values = std::mem::take(&mut progress.values);
                if let Some(answer) = progress.answer.take() {
                    // No receiver: the client left meanwhile.
                    let _ = answer.send(Ok(values));
                }
            }
            Err(error) => {
                if let Some(answer) = progress.answer.take() {
                    let _ = answer.send(Err(error));
                }
            }
        }
    }
}

impl Queue {
    pub(crate) fn new(limit: usize) -> Self {
        Self { state: Mutex::default(), arrived: Condvar::new(), limit }
    }

    /// Whether so many texts would be taken now: asked before the work of tokenising.
    pub(crate) fn admits(&self, texts: usize) -> Result<(), EmbedError> {
        self.check(&self.lock(), texts)
    }

    fn check(&self, state: &State, texts: usize) -> Result<(), EmbedError> {
        if state.closed {
            return Err(EmbedError::Closed);
        }
        let waiting = state.waiting.len();
        if waiting + texts > self.limit {
            return Err(EmbedError::Full { waiting, limit: self.limit });
        }
        Ok(())
    }

    /// All texts or none.
    pub(crate) fn submit(&self, texts: Vec<Vec<u32>>, dim: usize) -> Result<Ticket, EmbedError> {
        let (sender, answer) = oneshot::channel();
        let missing = texts.len();
        let progress = Mutex::new(Progress { values: vec![0.0; missing * dim], missing, answer: Some(sender) });
        let abandoned = Arc::new(AtomicBool::new(false));
        let request = Arc::new(Request { abandoned: Arc::clone(&abandoned), progress });
        let ticket = Ticket { answer, abandoned };
        let since = Instant::now();
        let mut state = self.lock();
        self.check(&state, missing)?;
        let waiting = texts.into_iter().enumerate();
        state.waiting.extend(waiting.map(|(place, ids)| Waiting { ids, since, request: Arc::clone(&request), place }));
        self.arrived.notify_one();
        Ok(ticket)
    }

    /// Blocks until texts wait, then takes those that `choose` picks from their lengths (in order of arrival).
    /// `None`: closed, and everything accepted has been handed out.
    pub(crate) fn next(&self, choose: impl Fn(&[usize]) -> Vec<usize>) -> Option<Vec<Waiting>> {
        let mut state = self.lock();
        loop {
            state.waiting.retain(|text| !text.request.abandoned.load(Ordering::Relaxed));
            if !state.waiting.is_empty() {
                break;
            }
            if state.closed {
                return None;
            }
            state = self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let lengths: Vec<usize> = state.waiting.iter().take(WINDOW).map(|text| text.ids.len()).collect();
        let mut places = choose(&lengths);
        places.sort_unstable();
        // From the back, so that places stay true.
        let taken = places.into_iter().rev().map(|place| state.waiting.remove(place)).collect();
        if !state.waiting.is_empty() {
            // A request of many texts woke one batcher; the rest is for the next.
            self.arrived.notify_one();
        }
        taken
    }

    pub(crate) fn depth(&self) -> usize {
        self.lock().waiting.len()
    }

    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.arrived.notify_all();
    }

    /// The batcher is gone: texts that wait end with `Closed`.
    pub(crate) fn abort(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.waiting.clear();
    }

    pub(crate) fn closed(&self) -> bool {
        self.lock().closed
    }

    /// Every critical section leaves the state whole, so a panic elsewhere does not spoil it.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The texts among which a batch is chosen: enough to find equal lengths, few enough to sort in microseconds.
const WINDOW: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn all(lengths: &[usize]) -> Vec<usize> {
        (0..lengths.len()).collect()
    }

    #[tokio::test]
    async fn vectors_come_back_in_the_order_of_the_texts() {
        let queue = Queue::new(10);
        let ticket = queue.submit(vec![vec![7], vec![8], vec![9]], 1).expect("room");
        for text in queue.next(all).expect("texts") {
            let vector = [text.ids[0] as f32];
            text.finish(Ok(&vector));
        }
        assert_eq!(ticket.vectors().await.expect("vectors"), vec![7.0, 8.0, 9.0]);
    }

    #[test]
    fn a_full_queue_refuses_the_whole_request() {
        let queue = Queue::new(3);
        let _held = queue.submit(vec![vec![1]; 2], 1).expect("room");
        assert!(matches!(queue.submit(vec![vec![1]; 2], 1), Err(EmbedError::Full { waiting: 2, limit: 3 })));
        assert_eq!(queue.depth(), 2);
        let _third = queue.submit(vec![vec![1]], 1).expect("room for one");
    }

    #[test]
    fn texts_of_a_client_that_left_are_not_computed() {
        let queue = Queue::new(10);
        let gone = queue.submit(vec![vec![1], vec![2]], 1).expect("room");
        let _stays = queue.submit(vec![vec![3]], 1).expect("room");
        drop(gone);
        let batch = queue.next(all).expect("texts");
        assert_eq!(batch.iter().map(|text| text.ids[0]).collect::<Vec<_>>(), vec![3]);
    }

    #[tokio::test]
    async fn closing_refuses_new_texts_and_hands_out_the_old() {
        let queue = Queue::new(10);
        let ticket = queue.submit(vec![vec![1]], 1).expect("room");
        queue.close();
        assert!(matches!(queue.submit(vec![vec![2]], 1), Err(EmbedError::Closed)));
        for text in queue.next(all).expect("the old text") {
            text.finish(Ok(&[0.5]));
        }
        assert_eq!(ticket.vectors().await.expect("vectors"), vec![0.5]);
        assert!(queue.next(all).is_none());
    }

    #[tokio::test]
    async fn a_batcher_that_dies_leaves_nobody_waiting() {
        let queue = Queue::new(10);
        let ticket = queue.submit(vec![vec![1], vec![2]], 1).expect("room");
        let in_flight = queue.next(|_| vec![0]).expect("a text");
        queue.abort();
        drop(in_flight);
        assert!(matches!(ticket.vectors().await, Err(EmbedError::Closed)));
    }

    #[tokio::test]
    async fn one_failed_batch_fails_its_request_only() {
        let queue = Queue::new(10);
        let bad = queue.submit(vec![vec![1], vec![1]], 1).expect("room");
        let good = queue.submit(vec![vec![2]], 1).expect("room");
        for text in queue.next(all).expect("texts") {
            let failed = text.ids[0] == 1;
            text.finish(if failed { Err(EmbedError::Closed) } else { Ok(&[1.0]) });
        }
        assert!(bad.vectors().await.is_err());
        assert_eq!(good.vectors().await.expect("vectors"), vec![1.0]);
    }
}
