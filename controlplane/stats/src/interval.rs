//! What repetitions say together: a geometric mean with a t interval on the log scale. Rates and ratios are positive and
//! scatter by factors rather than by amounts, so logarithms are where they are symmetric and where halves and doubles weigh alike.

use statrs::distribution::{ContinuousCDF, StudentsT};

/// Two-sided confidence of every interval of this crate.
pub const CONFIDENCE: f64 = 0.95;

/// `mean` is the geometric mean exp(m), `low` and `high` are exp(m ± t·s/√n), with m and s of the logarithms and t of n−1
/// degrees of freedom. Below two values there is no interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    pub mean: f64,
    pub low: Option<f64>,
    pub high: Option<f64>,
    pub n: u32,
}

/// `None` when there is no value, or one of them is not a positive finite number.
pub fn geometric(values: &[f64]) -> Option<Interval> {
    let scatter = LogScatter::of(values)?;
    let half = scatter.standard_error.map(|error| student_quantile(scatter.n - 1, 0.5 + CONFIDENCE / 2.0) * error);
    Some(Interval {
        mean: scatter.mean.exp(),
        low: half.map(|half| (scatter.mean - half).exp()),
        high: half.map(|half| (scatter.mean + half).exp()),
        n: scatter.n,
    })
}

/// Mean and standard error of logarithms.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogScatter {
    pub(crate) n: u32,
    pub(crate) mean: f64,
    pub(crate) standard_error: Option<f64>,
}

impl LogScatter {
    pub(crate) fn of(values: &[f64]) -> Option<Self> {
        if values.is_empty() || values.iter().any(|value| !value.is_finite() || *value <= 0.0) {
            return None;
        }
        let logs: Vec<f64> = values.iter().map(|value| value.ln()).collect();
        let n = u32::try_from(logs.len()).ok()?;
        let mean = logs.iter().sum::<f64>() / f64::from(n);
        let standard_error = (n >= 2).then(|| {
            let squares: f64 = logs.iter().map(|log| (log - mean).powi(2)).sum();
            (squares / f64::from(n - 1) / f64::from(n)).sqrt()
        });
        Some(Self { n, mean, standard_error })
    }
}

/// The value below which a t-distributed number of `degrees` (at least 1) lies with `probability` (0.5 to 1, exclusive).
///
/// Found by bisection on the distribution function: statrs' own inverse is off by 2 % at 2 degrees and 0.8, as its tests admit.
pub fn student_quantile(degrees: u32, probability: f64) -> f64 {
    let distribution = StudentsT::new(0.0, 1.0, f64::from(degrees.max(1))).expect("at least one degree of freedom");
    let (mut low, mut high) = (0.0, 1.0);
    while distribution.cdf(high) < probability && high < 1e12 {
        high *= 2.0;
    }
    for _ in 0..80 {
        let middle = 0.5 * (low + high);
        if distribution.cdf(middle) < probability { low = middle } else { high = middle }
    }
    0.5 * (low + high)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn t_quantiles_are_those_of_the_tables() {
        for (degrees, probability, expected) in [
            (1, 0.975, 12.7062),
            (2, 0.975, 4.30265),
            (4, 0.975, 2.77645),
            (9, 0.975, 2.26216),
            (30, 0.975, 2.04227),
            (2, 0.8, 1.06066),
            (4, 0.8, 0.94096),
            (4, 0.995, 4.60409),
        ] {
            let seen = student_quantile(degrees, probability);
            assert!((seen - expected).abs() < 1e-4, "t({degrees}, {probability}) = {seen}");
        }
    }

    #[test]
    fn three_repetitions_worked_by_hand() {
        // ln: 4.60517, 4.70048, 4.78749; mean 4.69771; s 0.09119; se 0.05265; t(2) 4.30265 → ± 0.22653
        let interval = geometric(&[100.0, 110.0, 120.0]).expect("positive");
        assert!((interval.mean - 109.696).abs() < 0.001, "{interval:?}");
        assert!((interval.low.expect("n = 3") - 87.460).abs() < 0.01, "{interval:?}");
        assert!((interval.high.expect("n = 3") - 137.586).abs() < 0.01, "{interval:?}");
    }

    #[test]
    fn one_repetition_has_no_interval() {
        assert_eq!(geometric(&[5.0]).map(|i| (i.low, i.high, i.n)), Some((None, None, 1)));
    }

    #[test]
    fn nothing_positive_has_no_mean() {
        for values in [&[][..], &[1.0, 0.0], &[1.0, -1.0], &[f64::NAN], &[f64::INFINITY]] {
            assert_eq!(geometric(values), None, "{values:?}");
        }
    }

    proptest! {
        #[test]
        fn an_interval_holds_its_mean_and_scales_with_the_unit(values in prop::collection::vec(0.001f64..1e6, 2..12), factor in 0.01f64..100.0) {
            let interval = geometric(&values).expect("positive");
            let (low, high) = (interval.low.expect("n"), interval.high.expect("n"));
            prop_assert!(low <= interval.mean * (1.0 + 1e-12) && interval.mean <= high * (1.0 + 1e-12));
            let scaled: Vec<f64> = values.iter().map(|value| value * factor).collect();
            let scaled = geometric(&scaled).expect("positive");
            prop_assert!((scaled.mean / interval.mean / factor - 1.0).abs() < 1e-9);
            prop_assert!((scaled.high.expect("n") / high / factor - 1.0).abs() < 1e-6);
        }
    }
}
