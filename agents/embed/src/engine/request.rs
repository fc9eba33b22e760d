//! One request through the engine: texts are tokenised, wait in the queue, run in batches, and come back in order with the
//! time of each phase.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::queue::{Answer, Request, Ticket};
use super::tokenizer::Tokens;
use super::{EmbedError, Engine, Phase};

/// `[texts, dim]` f32, row-major, in the order of the texts.
#[derive(Clone, Debug)]
pub struct Embedded {
    pub values: Vec<f32>,
    pub dim: usize,
    /// After truncation, special tokens included, padding not.
    pub tokens: usize,
    pub times: Times,
}

/// Where a request's time went.
#[derive(Clone, Copy, Debug, Default)]
pub struct Times {
    /// Until its texts were in the queue.
    pub tokenise: Duration,
    /// Until the first of them went into a batch.
    pub queue: Duration,
    /// From there until the last vector.
    pub compute: Duration,
}

/// What a request may choose.
#[derive(Clone, Copy, Debug)]
pub struct Wishes {
    /// Texts above the model's length: cut them, or refuse the request.
    pub truncate: bool,
    /// From the call of `embed`; texts that wait longer are taken out.
    pub deadline: Option<Duration>,
}

impl Default for Wishes {
    fn default() -> Self {
        Self { truncate: true, deadline: None }
    }
}

impl Embedded {
    pub fn vectors(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        self.values.chunks_exact(self.dim)
    }
}

impl Engine {
    /// One vector a text, in order. Dropping the future takes the texts out of the queue.
    /// Errors: [`EmbedError::Full`] when the queue holds `max_queue` texts, [`EmbedError::TooLong`] without `truncate`,
    /// [`EmbedError::Deadline`], [`EmbedError::Closed`] after [`Engine::close`]. Needs a tokio runtime.
    pub async fn embed_with(&self, texts: Vec<String>, wishes: Wishes) -> Result<Embedded, EmbedError> {
        self.queue.admits(texts.len())?;
        let (request, ticket) = Request::open(self.info.embedding_dim);
        let (queue, most) = (Arc::clone(&self.queue), self.info.max_length);
        let truncated = self.metrics.truncated_texts();
        let (count, abandoned) = (texts.len() as u64, ticket.abandoned());
        // From the tokenising thread straight into the queue: no event loop in between.
        self.tokenisers.encode(texts, ticket.abandoned(), move |tokens| match tokens.and_then(|all| cut(all, most, wishes)) {
            Ok((texts, cut)) => {
                truncated.inc_by(cut);
                queue.submit(request, texts);
            }
            Err(error) => {
                if abandoned() {
                    queue.dropped.inc_by(count);
                }
                request.refuse(error);
            }
        });
        self.wait(ticket, wishes).await
    }

    /// Like [`Engine::embed_with`] for token ids of this model's vocabulary, special tokens included.
    pub async fn embed_tokens_with(&self, tokens: Vec<Vec<u32>>, wishes: Wishes) -> Result<Embedded, EmbedError> {
        let vocab_size = self.info.vocab_size;
        for (list, ids) in tokens.iter().enumerate() {
            if let Some(&id) = ids.iter().find(|&&id| id as usize >= vocab_size) {
                return Err(EmbedError::TokenId { list, id, vocab_size });
            }
        }
        let tokens = tokens.into_iter().map(|ids| Tokens { length: ids.len(), ids }).collect();
        let (texts, cut) = cut(tokens, self.info.max_length, wishes)?;
        self.metrics.truncated_texts().inc_by(cut);
        let (request, ticket) = Request::open(self.info.embedding_dim);
        self.queue.submit(request, texts);
        self.wait(ticket, wishes).await
    }

    /// With the defaults of [`Wishes`].
    pub async fn embed(&self, texts: Vec<String>) -> Result<Embedded, EmbedError> {
        self.embed_with(texts, Wishes::default()).await
    }

    /// With the defaults of [`Wishes`].
    pub async fn embed_tokens(&self, tokens: Vec<Vec<u32>>) -> Result<Embedded, EmbedError> {
        self.embed_tokens_with(tokens, Wishes::default()).await
    }

    /// The ids of each text, cut to the model's length. Errors: [`EmbedError::Tokenise`].
    pub async fn tokenise(&self, texts: Vec<String>) -> Result<Vec<Tokens>, EmbedError> {
        let (sender, answer) = tokio::sync::oneshot::channel();
        let done = move |tokens| {
            // No receiver: the client left meanwhile.
            let _ = sender.send(tokens);
        };
        self.tokenisers.encode(texts, || false, done);
        answer.await.unwrap_or(Err(EmbedError::Closed))
    }

    async fn wait(&self, ticket: Ticket, wishes: Wishes) -> Result<Embedded, EmbedError> {
        let started = Instant::now();
        let answer = match wishes.deadline {
            None => ticket.vectors().await?,
            Some(deadline) => match tokio::time::timeout(deadline, ticket.vectors()).await {
                Ok(answer) => answer?,
                Err(_) => return Err(EmbedError::Deadline { waited: started.elapsed() }),
            },
        };
        let Answer { values, tokens, tokenise, queue, compute } = answer;
        self.metrics.phase(Phase::Tokenise, tokenise);
        Ok(Embedded { values, dim: self.info.embedding_dim, tokens, times: Times { tokenise, queue, compute } })
    }
}

/// The ids, and how many texts were cut.
fn cut(tokens: Vec<Tokens>, most: usize, wishes: Wishes) -> Result<(Vec<Vec<u32>>, u64), EmbedError> {
    let mut count = 0;
    let texts = tokens.into_iter().enumerate().map(|(text, Tokens { mut ids, length })| {
        if length > most {
            if !wishes.truncate {
                return Err(EmbedError::TooLong { text, length, most });
            }
            count += 1;
        }
        ids.truncate(most);
        Ok(ids)
    });
    let texts = texts.collect::<Result<Vec<_>, _>>()?;
    Ok((texts, count))
}
