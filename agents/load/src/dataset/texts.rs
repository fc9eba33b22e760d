//! The loaded texts in their drawn order.

use em_api::measurement::DatasetReport;
use em_api::spec::{DatasetSource, TokenRange};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use sha2::{Digest, Sha256};

use super::{DatasetError, Tally};

/// Texts in the order of their files, in one string: 500,000 passages take little more than their file.
#[derive(Default)]
pub(super) struct Lines {
    bytes: String,
    /// End of each text in `bytes`.
    ends: Vec<u64>,
    /// Words (separated by white space) of each text.
    words: Vec<u32>,
}

impl Lines {
    pub(super) fn push(&mut self, text: &str) {
        self.bytes.push_str(text);
        self.ends.push(self.bytes.len() as u64);
        self.words.push(u32::try_from(text.split_whitespace().count()).unwrap_or(u32::MAX));
    }
}

pub struct Texts {
    lines: Lines,
    /// Position in the file of the i-th drawn text.
    order: Vec<u32>,
    report: DatasetReport,
}

impl Texts {
    pub(super) fn drawn(mut lines: Lines, tally: &Tally, source: DatasetSource, seed: u64) -> Self {
        lines.bytes.shrink_to_fit();
        let order = drawn_order(u32::try_from(lines.ends.len()).unwrap_or(u32::MAX), seed);
        let mut texts = Self {
            order,
            report: DatasetReport {
                source: source.as_str().to_owned(),
                texts: lines.ends.len() as u64,
                seed,
                sha256: String::new(),
                malformed_lines: tally.malformed + tally.empty,
            },
            lines,
        };
        let mut hash = Sha256::new();
        for index in 0..texts.len() {
            hash.update(texts.get(index).as_bytes());
            hash.update([0]);
        }
        texts.report.sha256 = hex::encode(hash.finalize());
        texts
    }

    /// Texts that can be drawn; never 0.
    #[expect(clippy::len_without_is_empty, reason = "an empty data set is refused when it is loaded")]
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// The text drawn as number `index`, from 0; after the last one the first comes again.
    pub fn get(&self, index: usize) -> &str {
        let line = self.line(index);
        let start = if line == 0 { 0 } else { self.lines.ends[line - 1] };
        &self.lines.bytes[start as usize..self.lines.ends[line] as usize]
    }

    /// Words of the text drawn as number `index`.
    pub fn words(&self, index: usize) -> u32 {
        self.lines.words[self.line(index)]
    }

    /// Of all loaded texts. `sha256`: over each text in drawn order, followed by a NUL.
    pub fn report(&self) -> DatasetReport {
        self.report.clone()
    }

    /// Keeps the texts of so many words, in the same order.
    pub fn of_length(mut self, range: TokenRange) -> Result<Self, DatasetError> {
        let words = &self.lines.words;
        self.order.retain(|&line| (range.min..=range.max).contains(&words[line as usize]));
        if self.order.is_empty() {
            return Err(DatasetError::NoneOfThatLength { texts: self.report.texts, min: range.min, max: range.max });
        }
        Ok(self)
    }

    fn line(&self, index: usize) -> usize {
        self.order[index % self.order.len()] as usize
    }
}

/// See the module's head; changing this changes what is measured.
fn drawn_order(count: u32, seed: u64) -> Vec<u32> {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    let mut random = ChaCha8Rng::from_seed(key);
    let mut order: Vec<u32> = (0..count).collect();
    for last in (1..order.len()).rev() {
        let other = random.next_u64() % (last as u64 + 1);
        order.swap(last, other as usize);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The order is a promise to everybody who reads results of an older version.
    #[test]
    fn the_order_of_a_seed_never_changes() {
        assert_eq!(drawn_order(8, 42), [3, 6, 0, 4, 5, 2, 1, 7]);
        assert_ne!(drawn_order(8, 42), drawn_order(8, 43));
    }

    proptest! {
        #[test]
        fn every_text_is_drawn_exactly_once(count in 1_u32..2_000, seed: u64) {
            let mut order = drawn_order(count, seed);
            order.sort_unstable();
            prop_assert_eq!(order, (0..count).collect::<Vec<_>>());
        }
    }
}
