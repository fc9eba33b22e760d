//! Whether a measured window was one steady state: proved from its per-second throughput instead of assumed.
//!
//! Two classic tests, each of which must be significant *and* large enough to matter: a trend through ten batch means (batch
//! means: Law, *Simulation Modeling and Analysis*, section 9.5.3), and the transient that MSER would cut off (White, "An
//! effective truncation heuristic for bias reduction in simulation output", *Simulation* 69(6), 1997). A standstill counts too.
//! Short windows get no statement: ten bins cannot tell a trend from noise.

use std::fmt;

use crate::interval::student_quantile;

/// Below so many whole seconds nothing is said.
pub const LEAST_SECONDS: usize = 20;
/// Batches of the trend test.
const BATCHES: usize = 10;
/// A trend below this share of the mean, first second to last, does not matter.
const DRIFT_THAT_MATTERS: f64 = 0.10;
/// A slow start that moves the mean by less does not matter.
const BIAS_THAT_MATTERS: f64 = 0.05;
/// One-sided significance of both tests; strict, because every trial is tested.
const SIGNIFICANCE: f64 = 0.999;
/// A second within so many standard deviations of the rest is part of it.
const EXPLAINED: f64 = 2.5;
/// A pause is a standstill when at least so many requests were due in it (e⁻¹² if they came at random), in at least 3 s.
const REQUESTS_DUE: f64 = 12.0;
const SECONDS_STILL: usize = 3;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Steadiness {
    Steady,
    Unsteady(Unsteady),
    /// Too few whole seconds to say anything.
    NoStatement {
        seconds: usize,
    },
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Unsteady {
    /// No request ended for `seconds`, from second `from` on.
    StoodStill { from: usize, seconds: usize },
    /// Throughput rose (positive) or fell by this share of its mean over the window.
    Drifted { change: f64 },
    /// The first `seconds` were off the rest by this share: the warm-up was too short.
    SlowStart { seconds: usize, change: f64 },
}

impl fmt::Display for Unsteady {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = |change: f64| if change < 0.0 { "slower" } else { "faster" };
        match self {
            Self::StoodStill { from, seconds } => {
                write!(f, "no request ended for {seconds} s, from second {from} of the window on")
            }
            Self::Drifted { change } if *change < 0.0 => write!(f, "throughput fell by {:.0} % over the window", -change * 100.0),
            Self::Drifted { change } => write!(f, "throughput rose by {:.0} % over the window", change * 100.0),
            Self::SlowStart { seconds, change } => {
                write!(
                    f,
                    "the first {seconds} s were {:.0} % {} than the rest: the warm-up was too short",
                    change.abs() * 100.0,
                    word(*change)
                )
            }
        }
    }
}

/// `per_second`: requests that ended in each whole second of the window.
pub fn judge(per_second: &[f64]) -> Steadiness {
    let seconds = per_second.len();
    if seconds < LEAST_SECONDS {
        return Steadiness::NoStatement { seconds };
    }
    [standstill(per_second), slow_start(per_second), drift(per_second)]
        .into_iter()
        .flatten()
        .next()
        .map_or(Steadiness::Steady, Steadiness::Unsteady)
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Sum of squared distances from the mean.
fn squares(values: &[f64]) -> f64 {
    let mean = mean(values);
    values.iter().map(|value| (value - mean).powi(2)).sum()
}

fn standstill(per_second: &[f64]) -> Option<Unsteady> {
    let rate = mean(per_second);
    let (mut from, mut longest) = (0, 0);
    let mut run = 0;
    for (second, requests) in per_second.iter().enumerate() {
        run = if *requests > 0.0 { 0 } else { run + 1 };
        if run > longest {
            (from, longest) = (second + 1 - run, run);
        }
    }
    (longest >= SECONDS_STILL && longest as f64 * rate >= REQUESTS_DUE).then_some(Unsteady::StoodStill { from, seconds: longest })
}

/// From which second on the window is steady: 0 when its begin does not differ from the rest by more than chance.
///
/// MSER (White 1997): the cut in the first half after which the mean has the smallest marginal standard error. On seconds, each a
/// mean of many requests already, in place of MSER-5's batches of five. MSER always cuts something, so the cut must be significant.
pub fn onset(per_second: &[f64]) -> usize {
    transient(per_second).map_or(0, |transient| transient.cut)
}

/// What lies before the cut, against the rest.
struct Transient {
    cut: usize,
    /// What MSER alone cuts.
    mser: usize,
    /// Mean of the rest.
    level: f64,
    change: f64,
}

fn transient(per_second: &[f64]) -> Option<Transient> {
    let n = per_second.len();
    let error_after = |cut: usize| squares(&per_second[cut..]) / ((n - cut) as f64).powi(2);
    let cut = (0..=n / 2).min_by(|a, b| error_after(*a).total_cmp(&error_after(*b)))?;
    let mser = cut;
    let cut = without_lucky_seconds(per_second, cut);
    let (head, rest) = per_second.split_at(cut);
    if head.is_empty() || rest.len() < 3 {
        return None;
    }
    let (level, degrees) = (mean(rest), rest.len() - 1);
    if level <= 0.0 {
        return None;
    }
    let error = (squares(rest) / degrees as f64 * (1.0 / head.len() as f64 + 1.0 / rest.len() as f64)).sqrt();
    // The cut was chosen among n/2, so the test must be that much stricter (Bonferroni).
    let probability = 1.0 - (1.0 - SIGNIFICANCE) / (n / 2) as f64;
    let significant = (mean(head) - level).abs() > student_quantile(degrees as u32, probability) * error;
    significant.then(|| Transient { cut, mser, level, change: mean(head) / level - 1.0 })
}

/// MSER also cuts seconds that only happened to lie off the mean: those that the rest's own scatter explains are given back.
fn without_lucky_seconds(per_second: &[f64], cut: usize) -> usize {
    let rest = &per_second[cut..];
    if rest.len() < 3 {
        return cut;
    }
    let (level, scatter) = (mean(rest), (squares(rest) / (rest.len() - 1) as f64).sqrt());
    let explained = per_second[..cut].iter().rev().take_while(|value| (*value - level).abs() <= EXPLAINED * scatter).count();
    cut - explained
}

fn slow_start(per_second: &[f64]) -> Option<Unsteady> {
    let found = transient(per_second)?;
    // A cut near the half means that no part is steady: a drift, not a start.
    let bias = (mean(per_second) / found.level - 1.0).abs();
    (found.mser <= per_second.len() / 3 && bias >= BIAS_THAT_MATTERS)
        .then_some(Unsteady::SlowStart { seconds: found.cut, change: found.change })
}

fn drift(per_second: &[f64]) -> Option<Unsteady> {
    let size = per_second.len() / BATCHES;
    let batches: Vec<f64> = per_second.chunks_exact(size).take(BATCHES).map(mean).collect();
    let (centre, level) = ((BATCHES - 1) as f64 / 2.0, mean(&batches));
    if level <= 0.0 {
        return None;
    }
    let places: f64 = (0..BATCHES).map(|place| (place as f64 - centre).powi(2)).sum();
    let slope = batches.iter().enumerate().map(|(place, value)| (place as f64 - centre) * (value - level)).sum::<f64>() / places;
    let unexplained = (squares(&batches) - slope.powi(2) * places).max(0.0);
    let error = (unexplained / (BATCHES - 2) as f64 / places).sqrt();
    let change = slope * BATCHES as f64 / level;
    let significant = slope.abs() > student_quantile((BATCHES - 2) as u32, SIGNIFICANCE) * error;
    (significant && change.abs() >= DRIFT_THAT_MATTERS).then_some(Unsteady::Drifted { change })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    /// Made up: a rate over time with uniform noise of the given half-width.
    fn window(seconds: usize, noise: f64, random: &mut ChaCha8Rng, rate: impl Fn(f64) -> f64) -> Vec<f64> {
        (0..seconds)
            .map(|second| (rate(second as f64 / seconds as f64) * (1.0 + random.random_range(-noise..=noise))).round().max(0.0))
            .collect()
    }

    #[test]
    fn a_flat_window_is_called_unsteady_less_than_once_in_a_hundred() {
        let mut random = ChaCha8Rng::seed_from_u64(11);
        for (seconds, noise, rate) in [(20, 0.3, 50.0), (30, 0.05, 400.0), (30, 1.0, 6.0), (60, 0.5, 20.0), (120, 0.2, 300.0)] {
            let flagged = (0..500).filter(|_| judge(&window(seconds, noise, &mut random, |_| rate)) != Steadiness::Steady).count();
            assert!(flagged < 5, "{flagged} of 500 flat windows of {seconds} s, noise {noise}, at {rate}/s");
        }
    }

    #[test]
    fn a_falling_rate_is_found() {
        let mut random = ChaCha8Rng::seed_from_u64(3);
        let judged = judge(&window(60, 0.05, &mut random, |at| 100.0 * (1.0 - 0.3 * at)));
        let Steadiness::Unsteady(Unsteady::Drifted { change }) = judged else { panic!("{judged:?}") };
        assert!((-0.45..-0.25).contains(&change), "{change}");
        assert!(Unsteady::Drifted { change: -0.31 }.to_string().contains("fell by 31 %"));
    }

    #[test]
    fn a_warm_up_inside_the_window_is_found_with_its_length() {
        let mut random = ChaCha8Rng::seed_from_u64(4);
        let judged = judge(&window(60, 0.05, &mut random, |at| if at < 0.2 { 50.0 } else { 100.0 }));
        let Steadiness::Unsteady(Unsteady::SlowStart { seconds, change }) = judged else { panic!("{judged:?}") };
        assert_eq!(seconds, 12);
        assert!((-0.55..-0.45).contains(&change), "{change}");
    }

    #[test]
    fn a_standstill_is_found_but_slow_requests_are_none() {
        let mut still = vec![20.0; 40];
        still[10..14].fill(0.0);
        assert_eq!(judge(&still), Steadiness::Unsteady(Unsteady::StoodStill { from: 10, seconds: 4 }));
        // One request each three seconds: pauses are its nature.
        let slow: Vec<f64> = (0..60).map(|second| if second % 3 == 0 { 1.0 } else { 0.0 }).collect();
        assert_eq!(judge(&slow), Steadiness::Steady);
    }

    #[test]
    fn ten_seconds_are_too_few_for_a_statement_whatever_they_hold() {
        assert_eq!(judge(&[100.0, 90.0, 80.0, 70.0, 60.0, 50.0, 40.0, 30.0, 20.0, 10.0]), Steadiness::NoStatement { seconds: 10 });
        assert_eq!(judge(&[]), Steadiness::NoStatement { seconds: 0 });
    }

    proptest! {
        #[test]
        fn any_window_is_judged_without_a_panic(window in prop::collection::vec(0.0f64..1e6, 0..200)) {
            let _ = judge(&window);
        }
    }
}
