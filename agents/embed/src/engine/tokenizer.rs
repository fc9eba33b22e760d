//! Text → token ids by the model's own tokenizer.json, without the padding and truncation that such files bake in
//! (MiniLM's pads every text to 128), on threads of its own: batches are computed meanwhile and no event loop waits.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use tokenizers::{PostProcessor, Tokenizer, TruncationDirection};

use super::{EmbedError, EngineError};

/// Texts that one thread takes at a time: enough to be worth a hand-over (some 0.5 ms of work), few enough to spread a request
/// of 16 over four threads.
const CHUNK: usize = 4;

/// One text's ids, special tokens included.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tokens {
    /// `max_length` at most.
    pub ids: Vec<u32>,
    /// Tokens of the whole text; above `ids.len()` where it was cut.
    pub length: usize,
}

pub(crate) struct TextTokenizer {
    tokenizer: Tokenizer,
    /// Special tokens that each text gets.
    special: usize,
    max_length: usize,
}

impl TextTokenizer {
    pub(crate) fn load(model_dir: &Path, max_length: usize) -> Result<Self, EngineError> {
        let path = model_dir.join("tokenizer.json");
        let failed = |source| EngineError::Tokenizer { path: path.clone(), source };
        let mut tokenizer = Tokenizer::from_file(&path).map_err(failed)?;
        tokenizer.with_padding(None);
        tokenizer.with_truncation(None).map_err(failed)?;
        let special = tokenizer.get_post_processor().map_or(0, |processor| processor.added_tokens(false));
        Ok(Self { tokenizer, special, max_length })
    }

    fn encode(&self, text: &str) -> Result<Tokens, EmbedError> {
        let failed = |error| EmbedError::Tokenise(Arc::from(error));
        let mut encoding = self.tokenizer.encode_fast(text, false).map_err(failed)?;
        let length = encoding.get_ids().len() + self.special;
        if length > self.max_length {
            encoding.truncate(self.max_length.saturating_sub(self.special), 0, TruncationDirection::Right);
        }
        let encoding = self.tokenizer.post_process(encoding, None, true).map_err(failed)?;
        Ok(Tokens { ids: encoding.get_ids().to_vec(), length })
    }
}

/// The threads. Dropped, they end after the work that they hold.
pub(crate) struct Tokenisers {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    tokenizer: TextTokenizer,
    state: Mutex<State>,
    arrived: Condvar,
}

#[derive(Default)]
struct State {
    chunks: VecDeque<Chunk>,
    closed: bool,
}

/// Part of a request.
struct Chunk {
    request: Arc<Work>,
    from: usize,
}

struct Work {
    texts: Vec<String>,
    progress: Mutex<Progress>,
    /// Asked before each chunk: nobody waits for the result any more.
    abandoned: Box<dyn Fn() -> bool + Send + Sync>,
}

struct Progress {
    tokens: Vec<Tokens>,
    missing: usize,
    done: Option<Done>,
}

type Done = Box<dyn FnOnce(Result<Vec<Tokens>, EmbedError>) + Send>;

impl Tokenisers {
    pub(crate) fn start(tokenizer: TextTokenizer, threads: usize) -> Self {
        let shared = Arc::new(Shared { tokenizer, state: Mutex::default(), arrived: Condvar::new() });
        let start = |number| {
            let shared = Arc::clone(&shared);
            let thread = std::thread::Builder::new().name(format!("tokeniser-{number}"));
            thread.spawn(move || shared.work()).expect("the system has a thread left at start")
        };
        Self { threads: (0..threads.max(1)).map(start).collect(), shared }
    }

    /// `done` gets one entry a text, in order, on one of the threads; `Closed` if the request is abandoned before.
    pub(crate) fn encode(
        &self,
        texts: Vec<String>,
        abandoned: impl Fn() -> bool + Send + Sync + 'static,
        done: impl FnOnce(Result<Vec<Tokens>, EmbedError>) + Send + 'static,
    ) {
        let missing = texts.len();
        let progress = Progress { tokens: vec![Tokens::default(); missing], missing, done: Some(Box::new(done)) };
        let request = Arc::new(Work { texts, progress: Mutex::new(progress), abandoned: Box::new(abandoned) });
        let chunks = (0..missing).step_by(CHUNK).map(|from| Chunk { request: Arc::clone(&request), from });
        let mut state = self.shared.lock();
        let before = state.chunks.len();
        state.chunks.extend(chunks);
        let added = state.chunks.len() - before;
        drop(state);
        (0..added.min(self.threads.len())).for_each(|_| self.shared.arrived.notify_one());
    }
}

impl Drop for Tokenisers {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.arrived.notify_all();
        for thread in self.threads.drain(..) {
            // A panic was reported by the thread itself; its request ended with `Closed`.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn work(&self) {
        while let Some(chunk) = self.next() {
            // A tokenizer that panics on one text must not take the thread with it; the request ends as its `done` is dropped.
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| chunk.encode(&self.tokenizer)));
        }
    }

    fn next(&self) -> Option<Chunk> {
        let mut state = self.lock();
        loop {
            if let Some(chunk) = state.chunks.pop_front() {
                return Some(chunk);
            }
            if state.closed {
                return None;
            }
            state = self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Chunk {
    fn encode(self, tokenizer: &TextTokenizer) {
        if (self.request.abandoned)() {
            return self.request.finish(Err(EmbedError::Closed));
        }
        let texts = self.request.texts[self.from..].iter().take(CHUNK);
        let result: Result<Vec<Tokens>, EmbedError> = texts.map(|text| tokenizer.encode(text)).collect();
        let mut progress = self.request.progress.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = match result {
            Ok(tokens) => {
                progress.missing -= tokens.len();
                for (place, tokens) in progress.tokens[self.from..].iter_mut().zip(tokens) {
                    *place = tokens;
                }
                if progress.missing > 0 {
                    return;
                }
                Ok(std::mem::take(&mut progress.tokens))
            }
            Err(error) => Err(error),
        };
        drop(progress);
        self.request.finish(answer);
    }
}

impl Work {
    /// The first result counts.
    fn finish(&self, answer: Result<Vec<Tokens>, EmbedError>) {
        let done = self.progress.lock().unwrap_or_else(PoisonError::into_inner).done.take();
        if let Some(done) = done {
            done(answer);
        }
    }
}
