//! A session of the CPU's graph without padding: the texts of a batch lie one after another. Only attention spreads them
//! out to the longest, so a batch takes texts in order of arrival and needs no equal lengths.

use std::path::Path;

use em_api::spec::Pooling;
use ort::environment::Environment;
use ort::session::Session;
use ort::value::TensorRef;

use super::EngineError;
use super::error::BatchError;
use super::session::cpu_session;

/// Places of attention a token of the budget: what a batch of very unequal texts may waste there.
const SLOTS_A_TOKEN: usize = 2;

pub(crate) struct UnpaddedSession {
    session: Session,
    dim: usize,
    pooling: Pooling,
}

impl UnpaddedSession {
    pub(crate) fn load(
        environment: &Environment,
        graph: &Path,
        threads: usize,
        dim: usize,
        pooling: Pooling,
    ) -> Result<Self, EngineError> {
        Ok(Self { session: cpu_session(environment, graph, threads)?, dim, pooling })
    }

    /// `[texts, dim]`, row-major, and the tokens computed.
    pub(crate) fn run(&mut self, texts: &[&[u32]]) -> Result<(Vec<f32>, usize), BatchError> {
        let layout = Layout::of(texts, self.pooling);
        let (tokens, rows, longest) = (layout.ids.len(), texts.len(), layout.longest);
        let outputs = self.session.run(ort::inputs![
            "ids" => TensorRef::from_array_view(([tokens], layout.ids.as_slice()))?,
            "places" => TensorRef::from_array_view(([tokens], layout.places.as_slice()))?,
            "rows" => TensorRef::from_array_view(([tokens], layout.rows.as_slice()))?,
            "slots" => TensorRef::from_array_view(([rows, longest], layout.slots.as_slice()))?,
            "bias" => TensorRef::from_array_view(([rows, 1, 1, longest], layout.bias.as_slice()))?,
            "share" => TensorRef::from_array_view(([rows, tokens], layout.share.as_slice()))?,
        ])?;
        let (shape, values) = outputs[0].try_extract_tensor::<f32>()?;
        if values.len() != rows * self.dim {
            return Err(BatchError::Shape { found: shape.to_vec(), texts: rows, dim: self.dim });
        }
        Ok((values.to_vec(), tokens))
    }
}

/// Places of the next batch: in order of arrival whatever fits `budget` tokens and keeps attention small. The oldest text
/// always runs, so none waits for more batches than there are texts before it.
pub(crate) fn choose(lengths: &[usize], budget: usize) -> Vec<usize> {
    let (mut chosen, mut tokens, mut longest) = (Vec::new(), 0, 0);
    for (place, &length) in lengths.iter().enumerate() {
        let spread = (chosen.len() + 1) * longest.max(length);
        if place > 0 && (tokens + length > budget || spread > budget * SLOTS_A_TOKEN) {
            continue;
        }
        tokens += length;
        longest = longest.max(length);
        chosen.push(place);
        if tokens >= budget {
            break;
        }
    }
    chosen
}

/// The graph's inputs, see `prepare/bert.rs`.
#[derive(Debug, Default, PartialEq)]
struct Layout {
    ids: Vec<i64>,
    places: Vec<i64>,
    rows: Vec<i64>,
    slots: Vec<i64>,
    bias: Vec<f32>,
    share: Vec<f32>,
    longest: usize,
}

impl Layout {
    fn of(texts: &[&[u32]], pooling: Pooling) -> Self {
        let tokens: usize = texts.iter().map(|text| text.len()).sum();
        let longest = texts.iter().map(|text| text.len()).max().unwrap_or(0);
        let spread = texts.len() * longest;
        let mut layout = Self {
            ids: Vec::with_capacity(tokens),
            places: Vec::with_capacity(tokens),
            rows: Vec::with_capacity(tokens),
            slots: vec![0; spread],
            bias: vec![f32::MIN; spread],
            share: vec![0.0; texts.len() * tokens],
            longest,
        };
        for (row, text) in texts.iter().enumerate() {
            let start = layout.ids.len();
            layout.ids.extend(text.iter().map(|&id| i64::from(id)));
            layout.places.extend(0..text.len() as i64);
            layout.rows.resize(start + text.len(), row as i64);
            for place in 0..text.len() {
                layout.slots[row * longest + place] = (start + place) as i64;
                layout.bias[row * longest + place] = 0.0;
            }
            let share = &mut layout.share[row * tokens + start..][..text.len()];
            match pooling {
                Pooling::Mean => share.fill((text.len() as f32).recip()),
                Pooling::Cls => share[0] = 1.0,
                Pooling::Last => share[text.len() - 1] = 1.0,
            }
        }
        layout
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn texts_lie_one_after_another_and_attention_finds_them() {
        let got = Layout::of(&[&[7, 8, 9], &[5]], Pooling::Mean);
        assert_eq!((got.ids, got.places, got.rows), (vec![7, 8, 9, 5], vec![0, 1, 2, 0], vec![0, 0, 0, 1]));
        assert_eq!((got.slots, got.longest), (vec![0, 1, 2, 3, 0, 0], 3));
        assert_eq!(got.bias, [0.0, 0.0, 0.0, 0.0, f32::MIN, f32::MIN]);
        let third = 1.0 / 3.0;
        assert_eq!(got.share, [third, third, third, 0.0, 0.0, 0.0, 0.0, 1.0]);
        assert_eq!(Layout::of(&[&[7, 8], &[5]], Pooling::Last).share, [0.0, 1.0, 0.0, 0.0, 0.0, 1.0]);
    }

    #[test]
    fn one_long_text_does_not_spread_many_short_ones() {
        // Twelve rows of 100 places would be 1,200 for 120 + 100 tokens.
        let mut lengths = vec![10; 12];
        lengths.push(100);
        assert_eq!(choose(&lengths, 300), (0..12).collect::<Vec<_>>());
    }

    proptest! {
        #[test]
        fn a_batch_holds_the_oldest_and_keeps_the_budget(lengths in prop::collection::vec(1_usize..300, 1..200), budget in 1_usize..3000) {
            let batch = choose(&lengths, budget);
            prop_assert_eq!(batch[0], 0);
            let tokens: usize = batch.iter().map(|&place| lengths[place]).sum();
            let longest = batch.iter().map(|&place| lengths[place]).max().expect("not empty");
            prop_assert!(batch.len() == 1 || (tokens <= budget && batch.len() * longest <= budget * SLOTS_A_TOKEN));
        }

        /// Nothing starves, whatever comes after it: a text runs within as many batches as there were texts before it, and one.
        #[test]
        fn every_text_runs_however_many_come_after_it(
            bursts in prop::collection::vec(prop::collection::vec(1_usize..300, 0..40), 1..30),
            budget in 1_usize..2000,
        ) {
            let mut waiting: Vec<(usize, usize)> = Vec::new();
            let mut bursts = bursts.into_iter();
            let mut batches = 0;
            loop {
                let more = bursts.next();
                let ended = more.is_none();
                for length in more.unwrap_or_default() {
                    waiting.push((length, batches + waiting.len() + 1));
                }
                if waiting.is_empty() {
                    if ended { break } else { continue }
                }
                let lengths: Vec<usize> = waiting.iter().map(|(length, _)| *length).collect();
                let batch = choose(&lengths, budget);
                batches += 1;
                for &place in &batch {
                    prop_assert!(batches <= waiting[place].1, "batch {} came after {}", batches, waiting[place].1);
                }
                waiting = (0..waiting.len()).filter(|place| !batch.contains(place)).map(|place| waiting[place]).collect();
            }
        }
    }
}
