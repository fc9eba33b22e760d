//! The one bounded queue over all requests, tokenised texts in, vectors out. Workers ask for the next batch; a request's
//! texts may run in different batches, and its ticket resolves when the last of them is there. A dropped ticket (the client
//! left, its time is over) takes its texts out.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use prometheus::IntCounter;
use tokio::sync::oneshot;

use super::EmbedError;

/// The texts among which a batch is chosen: enough to find equal lengths, few enough to sort in microseconds.
const WINDOW: usize = 1024;

pub(crate) struct Queue {
    state: Mutex<State>,
    arrived: Condvar,
    /// Texts.
    limit: usize,
    /// Tokens of a batch, as its worker counts them.
    budget: usize,
    /// Texts that were taken out because nobody waits for them.
    pub(crate) dropped: IntCounter,
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

/// A request that has no texts in the queue yet. Dropped, its ticket resolves to `Closed`.
pub(crate) struct Request {
    opened: Instant,
    dim: usize,
    /// Its first text went into a batch.
    started: OnceLock<Instant>,
    abandoned: Arc<AtomicBool>,
    progress: Mutex<Progress>,
}

struct Progress {
    values: Vec<f32>,
    missing: usize,
    tokens: usize,
    submitted: Instant,
    answer: Option<oneshot::Sender<Result<Answer, EmbedError>>>,
}

#[derive(Debug)]
pub(crate) struct Answer {
    /// `[texts, dim]`, row-major.
    pub(crate) values: Vec<f32>,
    pub(crate) tokens: usize,
    /// From opening the request to its place in the queue.
    pub(crate) tokenise: Duration,
    /// Until its first text went into a batch.
    pub(crate) queue: Duration,
    /// From there until its last vector.
    pub(crate) compute: Duration,
}

/// Resolves to the vectors.
pub(crate) struct Ticket {
    answer: oneshot::Receiver<Result<Answer, EmbedError>>,
    abandoned: Arc<AtomicBool>,
}

impl Ticket {
    pub(crate) async fn vectors(mut self) -> Result<Answer, EmbedError> {
        // No answer: the worker is gone.
        (&mut self.answer).await.unwrap_or(Err(EmbedError::Closed))
    }

    /// True once nobody waits for this ticket.
    pub(crate) fn abandoned(&self) -> impl Fn() -> bool + Send + Sync + 'static {
        let abandoned = Arc::clone(&self.abandoned);
        move || abandoned.load(Ordering::Relaxed)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.abandoned.store(true, Ordering::Relaxed);
    }
}

impl Request {
    /// `dim`: numbers of a vector.
    pub(crate) fn open(dim: usize) -> (Self, Ticket) {
        let (sender, answer) = oneshot::channel();
        let opened = Instant::now();
        let progress = Progress { values: Vec::new(), missing: 0, tokens: 0, submitted: opened, answer: Some(sender) };
        let abandoned = Arc::new(AtomicBool::new(false));
        let ticket = Ticket { answer, abandoned: Arc::clone(&abandoned) };
        (Self { opened, dim, started: OnceLock::new(), abandoned, progress: Mutex::new(progress) }, ticket)
    }

    pub(crate) fn refuse(self, error: EmbedError) {
        self.progress().finish(Err(error));
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Progress {
    fn finish(&mut self, answer: Result<Answer, EmbedError>) {
        if let Some(sender) = self.answer.take() {
            // No receiver: the client left meanwhile.
            let _ = sender.send(answer);
        }
    }
}

impl Waiting {
    /// Hands this text's vector (or why there is none) to its request.
    pub(crate) fn finish(self, vector: Result<&[f32], EmbedError>) {
        let request = self.request;
        let mut progress = request.progress();
        match vector {
            Ok(vector) => {
                let start = self.place * vector.len();
                progress.values[start..start + vector.len()].copy_from_slice(vector);
                progress.missing -= 1;
                if progress.missing > 0 {
                    return;
                }
                let started = request.started.get().copied().unwrap_or(progress.submitted);
                let answer = Answer {
                    values: std::mem::take(&mut progress.values),
                    tokens: progress.tokens,
                    tokenise: progress.submitted.saturating_duration_since(request.opened),
                    queue: started.saturating_duration_since(progress.submitted),
                    compute: started.elapsed(),
                };
                progress.finish(Ok(answer));
            }
            Err(error) => progress.finish(Err(error)),
        }
    }

    fn abandoned(&self) -> bool {
        self.request.abandoned.load(Ordering::Relaxed)
    }
}

impl Queue {
    pub(crate) fn new(limit: usize, budget: usize) -> Self {
        let dropped = IntCounter::new("em_embed_dropped_texts_total", "Texts taken out of the queue because nobody waits for them");
        Self { state: Mutex::default(), arrived: Condvar::new(), limit, budget, dropped: dropped.expect("a fixed, valid name") }
    }

    /// Tokens of a batch.
    pub(crate) fn budget(&self) -> usize {
        self.budget
    }

    /// Whether so many texts would be taken now: asked before the work of tokenising.
    pub(crate) fn admits(&self, texts: usize) -> Result<(), EmbedError> {
        self.check(&mut self.lock(), texts)
    }

    fn check(&self, state: &mut State, texts: usize) -> Result<(), EmbedError> {
        if state.closed {
            return Err(EmbedError::Closed);
        }
        if state.waiting.len() + texts > self.limit {
            self.sweep(state);
        }
        let waiting = state.waiting.len();
        if waiting + texts > self.limit {
            return Err(EmbedError::Full { waiting, limit: self.limit });
        }
        Ok(())
    }

    fn sweep(&self, state: &mut State) {
        let before = state.waiting.len();
        state.waiting.retain(|text| !text.abandoned());
        self.dropped.inc_by((before - state.waiting.len()) as u64);
    }

    /// All texts or none; the ticket says which.
    pub(crate) fn submit(&self, request: Request, texts: Vec<Vec<u32>>) {
        let count = texts.len();
        let now = Instant::now();
        let mut progress = request.progress();
        progress.values = vec![0.0; count * request.dim];
        progress.missing = count;
        progress.tokens = texts.iter().map(Vec::len).sum();
        progress.submitted = now;
        drop(progress);
        let mut state = self.lock();
        if let Err(error) = self.check(&mut state, count) {
            drop(state);
            return request.refuse(error);
        }
        let request = Arc::new(request);
        let waiting = texts.into_iter().enumerate();
        state.waiting.extend(waiting.map(|(place, ids)| Waiting { ids, since: now, request: Arc::clone(&request), place }));
        drop(state);
        self.arrived.notify_one();
    }

    /// Blocks until texts wait, then takes those that `choose` picks from their lengths (in order of arrival, the oldest
    /// always among them). Several workers may ask at once.
    /// `None`: closed, and everything accepted has been handed out.
    pub(crate) fn next(&self, choose: impl Fn(&[usize]) -> Vec<usize>) -> Option<Vec<Waiting>> {
        let mut state = self.lock();
        loop {
            self.sweep(&mut state);
            if !state.waiting.is_empty() {
                break;
            }
            if state.closed {
                return None;
            }
            state = self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let lengths: Vec<usize> = state.waiting.iter().take(WINDOW).map(|text| text.ids.len()).collect();
        let mut chosen = vec![false; lengths.len()];
        for place in choose(&lengths) {
            chosen[place] = true;
        }
        let window: Vec<Waiting> = state.waiting.drain(..lengths.len()).collect();
        let mut batch = Vec::new();
        let mut left = Vec::new();
        for (text, taken) in window.into_iter().zip(chosen) {
            if taken { batch.push(text) } else { left.push(text) }
        }
        for text in left.into_iter().rev() {
            state.waiting.push_front(text);
        }
        let more = !state.waiting.is_empty();
        drop(state);
        if more {
            // One request wakes one worker; what it left is for the next.
            self.arrived.notify_one();
        }
        let now = Instant::now();
        for text in &batch {
            let _ = text.request.started.set(now);
        }
        Some(batch)
    }

    pub(crate) fn depth(&self) -> usize {
        self.lock().waiting.len()
    }

    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.arrived.notify_all();
    }

    /// A worker is gone: texts that wait end with `Closed`.
    pub(crate) fn abort(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.waiting.clear();
        self.arrived.notify_all();
    }

    pub(crate) fn closed(&self) -> bool {
        self.lock().closed
    }

    /// Every critical section leaves the state whole, so a panic elsewhere does not spoil it.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(lengths: &[usize]) -> Vec<usize> {
        (0..lengths.len()).collect()
    }

    fn submit(queue: &Queue, texts: Vec<Vec<u32>>) -> Ticket {
        let (request, ticket) = Request::open(1);
        queue.submit(request, texts);
        ticket
    }

    /// What a ticket that is resolved already says.
    fn said(ticket: &mut Ticket) -> Result<Answer, EmbedError> {
        ticket.answer.try_recv().expect("an answer")
    }

    #[tokio::test]
    async fn vectors_come_back_in_the_order_of_the_texts() {
        let queue = Queue::new(10, 1);
        let ticket = submit(&queue, vec![vec![7], vec![8], vec![9]]);
        for text in queue.next(all).expect("texts") {
            let vector = [text.ids[0] as f32];
            text.finish(Ok(&vector));
        }
        let answer = ticket.vectors().await.expect("vectors");
        assert_eq!((answer.values, answer.tokens), (vec![7.0, 8.0, 9.0], 3));
    }

    #[test]
    fn a_full_queue_refuses_the_whole_request() {
        let queue = Queue::new(3, 1);
        let _held = submit(&queue, vec![vec![1]; 2]);
        let mut refused = submit(&queue, vec![vec![1]; 2]);
        assert!(matches!(said(&mut refused), Err(EmbedError::Full { waiting: 2, limit: 3 })));
        assert_eq!(queue.depth(), 2);
        let _third = submit(&queue, vec![vec![1]]);
        assert_eq!(queue.depth(), 3);
    }

    #[test]
    fn texts_of_a_client_that_left_are_not_computed_and_take_no_room() {
        let queue = Queue::new(3, 1);
        let gone = submit(&queue, vec![vec![1], vec![2]]);
        drop(gone);
        let _stays = submit(&queue, vec![vec![3], vec![4]]);
        let batch = queue.next(all).expect("texts");
        assert_eq!(batch.iter().map(|text| text.ids[0]).collect::<Vec<_>>(), vec![3, 4]);
        assert_eq!(queue.dropped.get(), 2);
    }

    #[tokio::test]
    async fn closing_refuses_new_texts_and_hands_out_the_old() {
        let queue = Queue::new(10, 1);
        let ticket = submit(&queue, vec![vec![1]]);
        queue.close();
        assert!(matches!(said(&mut submit(&queue, vec![vec![2]])), Err(EmbedError::Closed)));
        for text in queue.next(all).expect("the old text") {
            text.finish(Ok(&[0.5]));
        }
        assert_eq!(ticket.vectors().await.expect("vectors").values, vec![0.5]);
        assert!(queue.next(all).is_none());
    }

    #[tokio::test]
    async fn a_worker_that_dies_leaves_nobody_waiting() {
        let queue = Queue::new(10, 1);
        let ticket = submit(&queue, vec![vec![1], vec![2]]);
        let in_flight = queue.next(|_| vec![0]).expect("a text");
        queue.abort();
        drop(in_flight);
        assert!(matches!(ticket.vectors().await, Err(EmbedError::Closed)));
    }

    #[tokio::test]
    async fn one_failed_batch_fails_its_request_only() {
        let queue = Queue::new(10, 1);
        let bad = submit(&queue, vec![vec![1], vec![1]]);
        let good = submit(&queue, vec![vec![2]]);
        for text in queue.next(all).expect("texts") {
            let failed = text.ids[0] == 1;
            text.finish(if failed { Err(EmbedError::Closed) } else { Ok(&[1.0]) });
        }
        assert!(bad.vectors().await.is_err());
        assert_eq!(good.vectors().await.expect("vectors").values, vec![1.0]);
    }

    #[tokio::test]
    async fn what_one_worker_leaves_wakes_another() {
        let queue = Arc::new(Queue::new(10, 1));
        let workers: Vec<_> = (0..2)
            .map(|_| {
                let queue = Arc::clone(&queue);
                // Each takes one text and holds it until the other has one too.
                std::thread::spawn(move || queue.next(|_| vec![0]).expect("a text"))
            })
            .collect();
        let ticket = submit(&queue, vec![vec![1], vec![2]]);
        for worker in workers {
            for text in worker.join().expect("no panic") {
                text.finish(Ok(&[1.0]));
            }
        }
        assert_eq!(ticket.vectors().await.expect("vectors").values, vec![1.0, 1.0]);
    }
}
