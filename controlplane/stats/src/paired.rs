//! Two backends against each other, paired inside blocks: what a slow node or a warm afternoon does to both cancels in each
//! block's ratio, so far fewer repetitions tell them apart than if the two means were compared.

use crate::interval::{self, CONFIDENCE, Interval, LogScatter, student_quantile};

/// Below so many common blocks no verdict is given: with two, t is 12.7 and everything or nothing looks different.
pub const LEAST_BLOCKS: u32 = 3;

/// How often a difference of the smallest detectable size would be found.
pub const POWER: f64 = 0.8;

/// What the rates of two backends say about each other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Contrast {
    /// Of the first over the second.
    pub ratio: Interval,
    pub verdict: Verdict,
    /// exp((t₀.₉₇₅ + t₀.₈)·s/√n): the smallest true ratio above 1 that so many blocks with this scatter find four times in five.
    pub smallest_detectable: Option<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The whole interval of the ratio is above 1.
    Faster,
    /// The whole interval is below 1.
    Slower,
    NoDifferenceShown,
    TooFewBlocks,
}

/// `pairs`: a rate of the first and of the second, one pair a block. `None` when there is no block, or a rate is not positive.
pub fn compare(pairs: &[(f64, f64)]) -> Option<Contrast> {
    let ratios: Vec<f64> = pairs.iter().map(|(first, second)| first / second).collect();
    let ratio = interval::geometric(&ratios)?;
    let scatter = LogScatter::of(&ratios)?;
    let smallest_detectable = scatter.standard_error.filter(|_| ratio.n >= LEAST_BLOCKS).map(|error| {
        let degrees = ratio.n - 1;
        ((student_quantile(degrees, 0.5 + CONFIDENCE / 2.0) + student_quantile(degrees, POWER)) * error).exp()
    });
    Some(Contrast { ratio, verdict: verdict(&ratio), smallest_detectable })
}

pub(crate) fn verdict(ratio: &Interval) -> Verdict {
    let enough = ratio.n >= LEAST_BLOCKS;
    match (ratio.low, ratio.high) {
        (Some(low), _) if enough && low > 1.0 => Verdict::Faster,
        (_, Some(high)) if enough && high < 1.0 => Verdict::Slower,
        _ if enough => Verdict::NoDifferenceShown,
        _ => Verdict::TooFewBlocks,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_common_slow_block_does_not_hide_a_difference() {
        // Means overlap widely (100 to 400), ratios hardly scatter.
        let paired = compare(&[(200.0, 100.0), (404.0, 200.0), (792.0, 400.0)]).expect("positive");
        assert_eq!(paired.verdict, Verdict::Faster);
        assert!((paired.ratio.mean - 2.0).abs() < 0.01, "{paired:?}");
        assert!(paired.ratio.low.expect("n") > 1.9 && paired.ratio.high.expect("n") < 2.1, "{paired:?}");
    }

    #[test]
    fn the_smallest_detectable_ratio_worked_by_hand() {
        // Ratios 1/1.1, 1, 1.1: logs ±0.09531 and 0; s 0.09531; se 0.05503; (4.30265 + 1.06066)·0.05503 = 0.29513 → 1.3433
        let paired = compare(&[(1.0, 1.1), (1.0, 1.0), (1.1, 1.0)]).expect("positive");
        assert_eq!(paired.verdict, Verdict::NoDifferenceShown);
        assert!((paired.smallest_detectable.expect("n = 3") - 1.3433).abs() < 0.001, "{paired:?}");
    }

    #[test]
    fn two_blocks_give_no_verdict() {
        let paired = compare(&[(300.0, 100.0), (301.0, 100.0)]).expect("positive");
        assert_eq!(paired.verdict, Verdict::TooFewBlocks);
        assert_eq!(paired.smallest_detectable, None);
        assert_eq!(compare(&[]), None);
        assert_eq!(compare(&[(1.0, 0.0)]), None);
    }

    proptest! {
        #[test]
        fn swapping_the_two_turns_the_verdict_around(pairs in prop::collection::vec((1.0f64..1e4, 1.0f64..1e4), 1..10)) {
            let there = compare(&pairs).expect("positive");
            let swapped: Vec<(f64, f64)> = pairs.iter().map(|(a, b)| (*b, *a)).collect();
            let back = compare(&swapped).expect("positive");
            prop_assert!((there.ratio.mean * back.ratio.mean - 1.0).abs() < 1e-9);
            let expected = match there.verdict {
                Verdict::Faster => Verdict::Slower,
                Verdict::Slower => Verdict::Faster,
                same => same,
            };
            prop_assert_eq!(back.verdict, expected);
        }
    }
}
