//! When samples can carry a percentile, and how high its true value may lie.
//!
//! Early-stopping bound of MLPerf Inference (inference rules, appendix "Early stopping"; `loadgen/early_stopping.cc`): of n
//! independent samples, the number above the true percentile p is binomial with 1−p. The sample with t samples above it is an
//! upper bound of the percentile with confidence c when P(Binomial(n, 1−p) ≤ t) ≤ 1−c. As there, t must be at least 1: a
//! maximum alone is no estimate. That asks for 64 samples for a p90 and 662 for a p99 at 99 % confidence.
//! Requests of one run are not quite independent, so these are floors.

use hdrhistogram::Histogram;
use statrs::function::beta::beta_reg;

/// The confidence that MLPerf asks for.
pub const CONFIDENCE: f64 = 0.99;

/// The least number of samples that carry the percentile `p` (0.5 for the median) with `confidence`.
pub fn least_samples(p: f64, confidence: f64) -> u64 {
    let (mut low, mut high) = (1, 2);
    while most_above(high, p, confidence).is_none_or(|above| above < 1) {
        low = high;
        high *= 2;
    }
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if most_above(middle, p, confidence).is_some_and(|above| above >= 1) { high = middle } else { low = middle }
    }
    high
}

/// The largest t with P(Binomial(n, 1−p) ≤ t) ≤ 1−confidence; `None` when even t = 0 is too likely.
fn most_above(n: u64, p: f64, confidence: f64) -> Option<u64> {
    // P(Binomial(n, 1−p) ≤ t) is the regularised incomplete beta function I_p(n−t, t+1).
    let fits = |t: u64| t < n && beta_reg((n - t) as f64, (t + 1) as f64, p) <= 1.0 - confidence;
    if !fits(0) {
        return None;
    }
    let (mut low, mut high) = (0, n);
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if fits(middle) { low = middle } else { high = middle }
    }
    Some(low)
}

/// A percentile of a histogram, in its unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    pub value: f64,
    /// With `CONFIDENCE` the true percentile is not above this (MLPerf's early-stopping estimate).
    pub upper: f64,
}

/// Too few samples for this percentile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{samples} requests cannot carry this percentile; it takes {needed} (early-stopping bound of MLPerf Inference, 99 % confidence)"
)]
pub struct Withheld {
    pub samples: u64,
    pub needed: u64,
}

/// `p` between 0 and 1, exclusive.
pub fn of(histogram: &Histogram<u64>, p: f64) -> Result<Estimate, Withheld> {
    let samples = histogram.len();
    match most_above(samples, p, CONFIDENCE) {
        Some(above) if above >= 1 => Ok(Estimate {
            value: histogram.value_at_quantile(p) as f64,
            upper: histogram.value_at_quantile((samples - above) as f64 / samples as f64) as f64,
        }),
        _ => Err(Withheld { samples, needed: least_samples(p, CONFIDENCE) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn the_floors_are_those_that_mlperf_publishes() {
        assert_eq!(least_samples(0.90, 0.99), 64);
        assert_eq!(least_samples(0.99, 0.99), 662);
        // One late request allowed among n at 95 %: the well-known 473 of Wilks' tables.
        assert_eq!(least_samples(0.99, 0.95), 473);
        assert_eq!(least_samples(0.95, 0.99), 130);
        assert_eq!(least_samples(0.50, 0.99), 11);
    }

    #[test]
    fn a_p99_of_661_requests_is_withheld_and_of_662_shown() {
        let mut histogram = crate::histogram::new();
        for value in 1..=661u64 {
            histogram.saturating_record(value * 1_000);
        }
        assert_eq!(of(&histogram, 0.99), Err(Withheld { samples: 661, needed: 662 }));
        histogram.saturating_record(662_000);
        let estimate = of(&histogram, 0.99).expect("carried");
        // The 656th of 662 values, and the last but one as its bound.
        assert!((estimate.value / 656_000.0 - 1.0).abs() < 0.001, "{estimate:?}");
        assert!((estimate.upper / 661_000.0 - 1.0).abs() < 0.001, "{estimate:?}");
    }

    #[test]
    fn nothing_carries_no_percentile() {
        assert_eq!(of(&crate::histogram::new(), 0.5), Err(Withheld { samples: 0, needed: 11 }));
    }

    #[test]
    fn the_bound_holds_as_often_as_it_says() {
        // Uniform latencies: the true p90 is 900,000. Of 1,000 runs of 200 samples at most about 1 % may lie below it.
        let mut random = ChaCha8Rng::seed_from_u64(7);
        let mut below = 0;
        for _ in 0..1_000 {
            let mut histogram = crate::histogram::new();
            for _ in 0..200 {
                histogram.saturating_record(random.random_range(1..1_000_000));
            }
            if of(&histogram, 0.9).expect("carried").upper < 899_000.0 {
                below += 1;
            }
        }
        assert!(below <= 20, "{below} of 1000 bounds lay below the true percentile");
    }

    proptest! {
        #[test]
        fn more_samples_never_take_a_percentile_away(n in 11u64..5_000, p in 0.5f64..0.99) {
            let now = most_above(n, p, CONFIDENCE);
            let later = most_above(n + 1, p, CONFIDENCE);
            prop_assert!(later >= now, "{:?} then {:?}", now, later);
        }
    }
}
