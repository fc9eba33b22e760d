//! Two backends that ran in different jobs: nothing cancels between them, so their own scatter is all that tells them apart. Welch's
//! t test on logarithms (B. L. Welch, Biometrika 34, 1947): the two may scatter differently.

use crate::interval::{CONFIDENCE, Interval, LogScatter, student_quantile};
use crate::paired::{Contrast, LEAST_BLOCKS, POWER, verdict};

/// `first`, `second`: rates, one a repetition. `None` when one side has no rate, or one that is not positive. `ratio.n` is the number of
/// repetitions of the side that has fewer.
pub fn compare(first: &[f64], second: &[f64]) -> Option<Contrast> {
    let (first, second) = (LogScatter::of(first)?, LogScatter::of(second)?);
    let n = first.n.min(second.n);
    let difference = first.mean - second.mean;
    let scatter = first.standard_error.zip(second.standard_error).map(|(one, other)| {
        let (one, other) = (one * one, other * other);
        let error = (one + other).sqrt();
        let degrees = (one + other).powi(2) / (one * one / f64::from(first.n - 1) + other * other / f64::from(second.n - 1));
        // Without any scatter the fraction is 0/0. Rounded down, which widens the interval.
        (error, if degrees.is_finite() { (degrees as u32).max(1) } else { n - 1 })
    });
    let half = scatter.map(|(error, degrees)| student_quantile(degrees, 0.5 + CONFIDENCE / 2.0) * error);
    let ratio = Interval {
        mean: difference.exp(),
        low: half.map(|half| (difference - half).exp()),
        high: half.map(|half| (difference + half).exp()),
        n,
    };
    let smallest_detectable = scatter.filter(|_| n >= LEAST_BLOCKS).map(|(error, degrees)| {
        ((student_quantile(degrees, 0.5 + CONFIDENCE / 2.0) + student_quantile(degrees, POWER)) * error).exp()
    });
    Some(Contrast { ratio, verdict: verdict(&ratio), smallest_detectable })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paired::{self, Verdict};

    #[test]
    fn worked_by_hand() {
        // Logs of e^{0, 0.1, 0.2} and e^{1, 1.2, 1.4}: means 0.1 and 1.2; s² 0.01 and 0.04, each /3; se √(0.05/3) = 0.129099.
        // Degrees (0.05/3)² / ((0.01/3)²/2 + (0.04/3)²/2) = 2.941, so 2: t 4.30265; half 0.555471.
        let e = |logs: [f64; 3]| logs.map(f64::exp);
        let contrast = compare(&e([1.0, 1.2, 1.4]), &e([0.0, 0.1, 0.2])).expect("positive");
        assert!((contrast.ratio.mean.ln() - 1.1).abs() < 1e-9, "{contrast:?}");
        assert!((contrast.ratio.low.expect("n = 3").ln() - (1.1 - 0.555_471)).abs() < 1e-4, "{contrast:?}");
        assert_eq!((contrast.ratio.n, contrast.verdict), (3, Verdict::Faster));
    }

    #[test]
    fn what_pairing_shows_scatter_between_jobs_hides() {
        let (first, second) = ([200.0, 404.0, 792.0], [100.0, 200.0, 400.0]);
        let pairs: Vec<(f64, f64)> = first.into_iter().zip(second).collect();
        assert_eq!(paired::compare(&pairs).expect("positive").verdict, Verdict::Faster);
        assert_eq!(compare(&first, &second).expect("positive").verdict, Verdict::NoDifferenceShown);
    }

    #[test]
    fn two_repetitions_give_no_verdict_and_a_side_without_rates_no_contrast() {
        assert_eq!(compare(&[300.0, 301.0], &[100.0, 101.0, 102.0]).expect("positive").verdict, Verdict::TooFewBlocks);
        assert_eq!(compare(&[], &[100.0]), None);
        assert_eq!(compare(&[100.0], &[0.0]), None);
        assert_eq!(compare(&[2.0; 3], &[1.0; 3]).expect("positive").verdict, Verdict::Faster, "no scatter at all");
    }
}
