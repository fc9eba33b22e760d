//! How far the mean of one run may be off: a circular block bootstrap over its seconds. Seconds of one run depend on each other
//! (a batch that ends late takes from the next second), so whole blocks of them are drawn, not single ones (D. N. Politis & J. P.
//! Romano, "A circular block-resampling procedure for stationary data", 1992). Only within a run: what differs between runs is
//! for repetitions to show.

use crate::interval::CONFIDENCE;

/// Below so many values nothing is said.
pub const LEAST_VALUES: usize = 10;
const RESAMPLES: usize = 1_000;

/// The mean and its percentile interval at `CONFIDENCE`. `None` below [`LEAST_VALUES`]. The same values give the same interval: the
/// random numbers start from a fixed seed.
pub fn mean(values: &[f64]) -> Option<(f64, f64, f64)> {
    let n = values.len();
    if n < LEAST_VALUES || values.iter().any(|value| !value.is_finite()) {
        return None;
    }
    let average = values.iter().sum::<f64>() / n as f64;
    let length = block_length(values, average);
    let blocks = n.div_ceil(length);
    let mut random = SplitMix(0x5EED);
    let mut means: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            let mut sum = 0.0;
            for block in 0..blocks {
                let start = random.below(n);
                let take = length.min(n - block * length);
                sum += (start..start + take).map(|at| values[at % n]).sum::<f64>();
            }
            sum / n as f64
        })
        .collect();
    means.sort_by(f64::total_cmp);
    // Few blocks scatter too little: by the factor that an estimate of a variance from so many blocks is short by.
    let widen = (blocks as f64 / (blocks as f64 - 1.0).max(1.0)).sqrt();
    let at = |share: f64| average + widen * (means[((RESAMPLES - 1) as f64 * share).round() as usize] - average);
    Some((average, at((1.0 - CONFIDENCE) / 2.0), at((1.0 + CONFIDENCE) / 2.0)))
}

/// The cube root of `n` at least (H. R. Künsch, *Ann. Statist.* 17, 1989), longer where neighbours depend on each other: twice
/// the lag at which their correlation has gone, at most a fifth of the run.
fn block_length(values: &[f64], average: f64) -> usize {
    let n = values.len();
    let variance: f64 = values.iter().map(|value| (value - average).powi(2)).sum();
    let least = (n as f64).cbrt().ceil() as usize;
    let bound = 2.0 / (n as f64).sqrt();
    let correlated = |lag: &usize| {
        let products: f64 = (0..n - lag).map(|at| (values[at] - average) * (values[at + lag] - average)).sum();
        variance > 0.0 && products / variance > bound
    };
    let gone = (1..n / 5).take_while(correlated).count();
    (2 * gone).clamp(least, (n / 5).max(least))
}

/// SplitMix64 (G. L. Steele et al., OOPSLA 2014): enough to draw blocks, and the same everywhere.
struct SplitMix(u64);

impl SplitMix {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % n as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    /// Made up: 120 s around 100, each second `memory` times the last one's deviation and a new one.
    fn run(memory: f64, random: &mut ChaCha8Rng) -> Vec<f64> {
        let mut off = 0.0;
        (0..120)
            .map(|_| {
                off = memory * off + random.random_range(-5.0..5.0);
                100.0 + off
            })
            .collect()
    }

    #[test]
    fn the_interval_covers_the_true_mean_whether_seconds_depend_on_each_other_or_not() {
        let mut random = ChaCha8Rng::seed_from_u64(5);
        // Where seconds depend on each other a lot it covers a little less than it says, as block bootstraps do.
        for (memory, least) in [(0.0, 364), (0.3, 352), (0.6, 336)] {
            let covered = (0..400)
                .filter(|_| {
                    let (_, low, high) = mean(&run(memory, &mut random)).expect("long enough");
                    (low..=high).contains(&100.0)
                })
                .count();
            assert!((least..=398).contains(&covered), "{covered} of 400 with a memory of {memory}");
        }
    }

    #[test]
    fn it_is_the_same_each_time_and_says_nothing_of_a_short_run() {
        let values = run(0.3, &mut ChaCha8Rng::seed_from_u64(1));
        assert_eq!(mean(&values), mean(&values));
        assert_eq!(mean(&values[..9]), None);
        assert_eq!(mean(&[3.0; 20]), Some((3.0, 3.0, 3.0)));
    }
}
