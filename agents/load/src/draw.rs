//! Which texts a request carries: in the drawn order of the data set, or of wanted lengths; how many is the plan's batch size, or
//! drawn by shares. All of it follows from the seed and the request's number, so that every backend gets the same.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::dataset::Texts;
use crate::plan::LoadPlan;
use crate::schedule::Planned;

/// Texts within this share of a wanted length are as good as that length.
const NEAR_LENGTH: f64 = 0.1;

/// What one request carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Portion {
    /// Number of its first text in this trial.
    pub(crate) first: u64,
    pub(crate) texts: u32,
    /// Wanted words of each text.
    pub(crate) words: Option<u32>,
}

pub(crate) struct Draw {
    pub(crate) texts: Arc<Texts>,
    offset: u64,
    seed: u64,
    batch: Shares,
    lengths: Option<Shares>,
    by_length: Option<ByLength>,
    drawn: AtomicU64,
}

impl Draw {
    /// `of_lengths`: whether requests will ask for lengths (a trace may).
    pub(crate) fn new(texts: Arc<Texts>, plan: &LoadPlan, of_lengths: bool) -> Self {
        let batch = match &plan.batch_mix {
            None => Shares(vec![(1.0, plan.batch_size)]),
            Some(mix) => Shares::new(mix.iter().map(|one| (one.share, one.texts))),
        };
        let lengths = plan.length_mix.as_ref().map(|mix| Shares::new(mix.iter().map(|one| (one.share, one.words))));
        let by_length = (of_lengths || lengths.is_some()).then(|| ByLength::new(&texts));
        Self { texts, offset: plan.text_offset, seed: plan.dataset.seed, batch, lengths, by_length, drawn: AtomicU64::new(0) }
    }

    /// The portion of request `number`.
    pub(crate) fn portion(&self, number: u64, planned: Option<&Planned>) -> Portion {
        let texts = planned.and_then(|planned| planned.texts).unwrap_or_else(|| self.batch.pick(uniform(self.seed, number)));
        let first = self.drawn.fetch_add(u64::from(texts), Ordering::Relaxed);
        Portion { first, texts, words: planned.and_then(|planned| planned.words) }
    }

    /// Texts drawn so far.
    pub(crate) fn drawn(&self) -> u64 {
        self.drawn.load(Ordering::Relaxed)
    }

    /// Numbers, in drawn order, of the texts of a portion.
    pub(crate) fn indices(&self, portion: Portion) -> impl Iterator<Item = usize> {
        let first = self.offset + portion.first;
        (first..first + u64::from(portion.texts)).map(move |turn| match &self.by_length {
            None => turn as usize,
            Some(by_length) => {
                let mixed = || self.lengths.as_ref().map(|lengths| lengths.pick(uniform(self.seed ^ LENGTHS, turn)));
                portion.words.or_else(mixed).map_or(turn as usize, |words| by_length.pick(words, turn))
            }
        })
    }
}

/// Another stream of numbers than that of batch sizes.
const LENGTHS: u64 = 0x6C65_6E67_7468;

/// Uniform in [0, 1), by SplitMix64's finaliser: a number of its own for each (seed, turn), whoever asks first.
fn uniform(seed: u64, turn: u64) -> f64 {
    let mut z = seed.wrapping_add(turn.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
}

/// Values with the sums of their shares up to them, of 1.
struct Shares(Vec<(f64, u32)>);

impl Shares {
    fn new(shares: impl Iterator<Item = (f64, u32)> + Clone) -> Self {
        let total: f64 = shares.clone().map(|(share, _)| share).sum();
        let mut sum = 0.0;
        let summed = shares.map(|(share, value)| {
            sum += share / total;
            (sum, value)
        });
        Self(summed.collect())
    }

    fn pick(&self, uniform: f64) -> u32 {
        let at = self.0.partition_point(|(sum, _)| *sum <= uniform).min(self.0.len() - 1);
        self.0[at].1
    }
}

/// Drawn numbers of texts, by their words.
struct ByLength(Vec<(u32, u32)>);

impl ByLength {
    fn new(texts: &Texts) -> Self {
        let mut sorted: Vec<(u32, u32)> = (0..texts.len()).map(|index| (texts.words(index), index as u32)).collect();
        sorted.sort_unstable();
        Self(sorted)
    }

    /// One of the texts near `words`, another at each turn; of the nearest length where none is near.
    fn pick(&self, words: u32, turn: u64) -> usize {
        let slack = (f64::from(words) * NEAR_LENGTH) as u32;
        let mut range = self.range(words.saturating_sub(slack), words.saturating_add(slack));
        if range.is_empty() {
            let above = self.0.get(range.start).map(|(length, _)| *length);
            let below = range.start.checked_sub(1).map(|at| self.0[at].0);
            let nearest = match (below, above) {
                (Some(below), Some(above)) if words - below <= above - words => below,
                (_, Some(above)) => above,
                (Some(below), None) => below,
                (None, None) => return 0,
            };
            range = self.range(nearest, nearest);
        }
        let count = range.len() as u64;
        self.0[range.start + (turn % count) as usize].1 as usize
    }

    fn range(&self, least: u32, most: u32) -> std::ops::Range<usize> {
        self.0.partition_point(|(length, _)| *length < least)..self.0.partition_point(|(length, _)| *length <= most)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use em_api::spec::DatasetSource;

    use super::*;
    use crate::DatasetRef;
    use crate::plan::tests::plan;
    use crate::plan::{BatchShare, LengthShare};

    /// Texts of 1 to 100 words.
    fn texts() -> Arc<Texts> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("texts.txt");
        let lines: String = (1..=100).map(|words| format!("{}\n", vec!["word"; words].join(" "))).collect();
        std::fs::write(&path, lines).unwrap();
        Arc::new(crate::dataset::load(&DatasetRef { source: DatasetSource::Text, path, limit: 1_000, seed: 1 }).unwrap())
    }

    #[test]
    fn requests_without_a_mix_walk_through_the_texts() {
        let draw = Draw::new(texts(), &LoadPlan { batch_size: 3, text_offset: 10, ..plan() }, false);
        let portions: Vec<Vec<usize>> = (0..2).map(|number| draw.indices(draw.portion(number, None)).collect()).collect();
        assert_eq!(portions, [vec![10, 11, 12], vec![13, 14, 15]]);
    }

    #[test]
    fn sizes_and_lengths_come_by_their_shares_and_no_text_is_passed_over() {
        let batch_mix = Some(vec![BatchShare { texts: 1, share: 3.0 }, BatchShare { texts: 9, share: 1.0 }]);
        let length_mix = Some(vec![LengthShare { words: 20, share: 1.0 }, LengthShare { words: 80, share: 1.0 }]);
        let plan = LoadPlan { batch_mix, length_mix, ..plan() };
        assert_eq!(plan.mean_batch(), 3.0);
        let draw = Draw::new(texts(), &plan, false);
        let (mut large, mut short, mut all, mut next) = (0, 0, 0, 0);
        for number in 0..4_000 {
            let portion = draw.portion(number, None);
            assert_eq!(portion.first, next);
            next += u64::from(portion.texts);
            large += u32::from(portion.texts == 9);
            for index in draw.indices(portion) {
                let words = draw.texts.words(index);
                assert!((18..=22).contains(&words) || (72..=88).contains(&words), "{words}");
                short += u32::from(words <= 22);
                all += 1;
            }
        }
        assert_eq!(draw.drawn(), next);
        assert!((900..=1_100).contains(&large), "{large}");
        assert!((0.47..0.53).contains(&(f64::from(short) / f64::from(all))), "{short} of {all}");
        let again = Draw::new(draw.texts.clone(), &plan, false);
        assert_eq!(
            again.indices(again.portion(0, None)).collect::<Vec<_>>(),
            draw.indices(Portion { first: 0, ..again.portion(0, None) }).collect::<Vec<_>>()
        );
    }

    #[test]
    fn a_length_that_no_text_has_gets_the_nearest() {
        let draw = Draw::new(texts(), &plan(), true);
        let words = |wanted| draw.texts.words(draw.indices(Portion { first: 5, texts: 1, words: Some(wanted) }).next().unwrap());
        assert_eq!((words(500), words(0), words(1)), (100, 1, 1));
    }
}
