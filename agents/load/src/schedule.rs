//! When an open loop plans to send: evenly or at random (Poisson), at a rate that may change, or by the times of a trace.
//!
//! One rule for all rates: the n-th request is due when the rate, summed over time, reaches n (evenly) or the sum of n
//! exponential steps (Poisson, by time change: E. Çinlar, *Introduction to Stochastic Processes*, 1975, section 4.7).

use std::sync::Arc;

use em_api::spec::Arrival;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use crate::clock::{Nanos, SECOND};
use crate::plan::{LoadPlan, Shape};
use crate::trace::Trace;

/// One planned request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Planned {
    /// Relative to the begin of the load.
    pub(crate) at: Nanos,
    /// Of a trace: texts of this request, and words of each; absent: as the plan says for all.
    pub(crate) texts: Option<u32>,
    pub(crate) words: Option<u32>,
}

/// Planned requests, endless.
pub(crate) struct Schedule {
    rate: Profile,
    /// Poisson arrivals; absent: evenly spaced.
    random: Option<ChaCha8Rng>,
    /// Requests due so far; in a Poisson schedule the sum of exponential steps.
    due: f64,
    count: u64,
    /// From this moment on the trace says when.
    trace: Option<(Nanos, Arc<Trace>)>,
    of_trace: u64,
}

impl Schedule {
    /// `None` for a closed loop. `seed`: of Poisson arrivals; equal seeds give equal schedules.
    pub(crate) fn of(plan: &LoadPlan, trace: Option<Arc<Trace>>, seed: u64) -> Option<Self> {
        let window = plan.warmup.0.as_secs_f64();
        let rate = match (&plan.shape, &trace) {
            (Some(Shape::Ramp { from, to, over }), _) => Profile::new(*from, &[(window, *from), (over.0.as_secs_f64(), *to)]),
            (Some(Shape::Steps(steps)), _) => {
                let first = steps.first()?.rate;
                let mut points = vec![(window, first)];
                for (step, next) in steps.iter().zip(steps.iter().skip(1).chain(steps.last())) {
                    points.extend([(step.length.0.as_secs_f64(), step.rate), (0.0, next.rate)]);
                }
                Profile::new(first, &points)
            }
            (_, Some(trace)) => Profile::new(trace.mean_rate(), &[]),
            _ => Profile::new(plan.planned_rate()?, &[]),
        };
        let random = (plan.arrival == Arrival::Poisson).then(|| ChaCha8Rng::seed_from_u64(seed));
        let trace = trace.map(|trace| (crate::clock::nanos(plan.warmup.0), trace));
        Some(Self { rate, random, due: 0.0, count: 0, trace, of_trace: 0 })
    }

    fn by_rate(&mut self) -> Nanos {
        match &mut self.random {
            None => self.due = self.count as f64,
            Some(random) => {
                // Uniform in (0, 1], from the upper 53 bits.
                let uniform = ((random.next_u64() >> 11) + 1) as f64 / (1_u64 << 53) as f64;
                self.due -= uniform.ln();
            }
        }
        self.count += 1;
        (self.rate.when(self.due) * SECOND as f64) as Nanos
    }
}

impl Iterator for Schedule {
    type Item = Planned;

    fn next(&mut self) -> Option<Planned> {
        if self.of_trace == 0 {
            let at = self.by_rate();
            match &self.trace {
                Some((begin, _)) if at >= *begin => {}
                _ => return Some(Planned { at, texts: None, words: None }),
            }
        }
        let (begin, trace) = self.trace.as_ref()?;
        let entry = trace.entry(self.of_trace);
        self.of_trace += 1;
        Some(Planned { at: begin + entry.at, texts: entry.texts, words: entry.words })
    }
}

/// A rate over time: straight pieces, the last one level and endless.
struct Profile(Vec<Piece>);

struct Piece {
    start_s: f64,
    rate: f64,
    /// Requests per second, per second.
    slope: f64,
    /// Requests due before this piece.
    due: f64,
}

impl Profile {
    /// `points`: (seconds after the point before, rate there); the rate runs straight from point to point and stays at the last.
    fn new(from: f64, points: &[(f64, f64)]) -> Self {
        let mut pieces = Vec::new();
        let (mut start_s, mut rate, mut due) = (0.0, from, 0.0);
        for (length, to) in points {
            if *length > 0.0 {
                pieces.push(Piece { start_s, rate, slope: (to - rate) / length, due });
                due += (rate + to) / 2.0 * length;
                start_s += length;
            }
            rate = *to;
        }
        pieces.push(Piece { start_s, rate, slope: 0.0, due });
        Self(pieces)
    }

    /// Seconds until so many requests are due.
    fn when(&self, due: f64) -> f64 {
        let at = self.0.partition_point(|piece| piece.due <= due).max(1) - 1;
        let piece = &self.0[at];
        let left = due - piece.due;
        let into = if piece.slope == 0.0 {
            left / piece.rate
        } else {
            // rate·t + slope·t²/2 = left, in the form that loses no digits.
            2.0 * left / (piece.rate + (piece.rate * piece.rate + 2.0 * piece.slope * left).max(0.0).sqrt())
        };
        piece.start_s + into
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use em_api::HumanDuration;
    use em_api::spec::LoadLevel;

    use super::*;
    use crate::clock::seconds as offset_s;
    use crate::plan::Step;
    use crate::plan::tests::plan;

    fn times(plan: &LoadPlan, count: usize) -> Vec<Nanos> {
        Schedule::of(plan, None, 7).unwrap().take(count).map(|planned| planned.at).collect()
    }

    fn at_rate(rate: f64, arrival: Arrival) -> LoadPlan {
        LoadPlan { level: LoadLevel::RequestRate(rate), arrival, ..plan() }
    }

    #[test]
    fn constant_arrivals_do_not_drift() {
        let planned = times(&at_rate(3_000.0, Arrival::Constant), 3_000_001);
        assert_eq!((planned[0], planned[1], planned[3_000_000]), (0, 333_333, 1_000 * SECOND));
    }

    /// 20,000 exponential gaps of mean 1 ms: their sum is 20 s ± 0.14 s (one standard deviation), their spread equals their mean.
    #[test]
    fn poisson_arrivals_have_the_rate_and_the_spread_and_repeat_by_seed() {
        let plan = at_rate(1_000.0, Arrival::Poisson);
        let planned = times(&plan, 20_000);
        let gaps: Vec<f64> = planned.windows(2).map(|pair| (pair[1] - pair[0]) as f64 / 1e6).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        assert!((0.97..1.03).contains(&mean), "mean gap {mean} ms");
        assert!((0.92..1.08).contains(&(variance.sqrt() / mean)), "spread {}", variance.sqrt());
        assert_eq!(planned, times(&plan, 20_000));
        let other: Vec<Nanos> = Schedule::of(&plan, None, 8).unwrap().take(20_000).map(|planned| planned.at).collect();
        assert_ne!(planned, other);
    }

    /// Of 100/s for 2 s, then to 300/s within 4 s: 200 + 800 requests by second 6, 300 a second from there on.
    #[test]
    fn a_ramp_climbs_in_a_straight_line() {
        let mut plan = at_rate(300.0, Arrival::Constant);
        plan.warmup = HumanDuration::from_secs(2);
        plan.shape = Some(Shape::Ramp { from: 100.0, to: 300.0, over: HumanDuration::from_secs(4) });
        let planned = times(&plan, 2_001);
        let second = |number: usize| offset_s(planned[number]);
        assert!((second(200) - 2.0).abs() < 1e-6 && (second(1_000) - 6.0).abs() < 1e-6 && (second(1_300) - 7.0).abs() < 1e-6);
        // 100 + 50·t a second: after 2 s of the ramp 300 requests.
        assert!((second(500) - 4.0).abs() < 1e-6, "{}", second(500));
        plan.arrival = Arrival::Poisson;
        let random = times(&plan, 2_001);
        // 1,000 ± 32 requests: at 300/s that is 0.1 s, five times.
        assert!((offset_s(random[1_000]) - 6.0).abs() < 0.55, "{}", offset_s(random[1_000]));
    }

    #[test]
    fn steps_jump_and_the_last_stays() {
        let mut plan = at_rate(10.0, Arrival::Constant);
        plan.warmup = HumanDuration::from_secs(1);
        let step = |rate, seconds| Step { rate, length: HumanDuration::from_secs(seconds) };
        plan.shape = Some(Shape::Steps(vec![step(10.0, 2), step(100.0, 3)]));
        let planned = times(&plan, 1_000);
        let within = |from: u64, to: u64| planned.iter().filter(|at| (from * SECOND..to * SECOND).contains(*at)).count();
        assert_eq!([within(0, 1), within(1, 3), within(3, 6), within(6, 8)], [10, 20, 300, 200]);
    }

    #[test]
    fn a_trace_begins_with_the_window_after_a_warm_up_at_its_mean_rate() {
        let mut plan = at_rate(1.0, Arrival::Constant);
        plan.warmup = HumanDuration::from_secs(1);
        let trace = Trace::parse("at_s,texts,words\n0,3,10\n0.5,1,20\n0.6,2,\n").unwrap();
        let schedule = Schedule::of(&plan, Some(Arc::new(trace)), 7).unwrap();
        let planned: Vec<Planned> = schedule.filter(|planned| planned.at >= SECOND).take(4).collect();
        let one = |at_ms: u64, texts, words| Planned { at: SECOND + at_ms * 1_000_000, texts, words };
        assert_eq!(planned[..3], [one(0, Some(3), Some(10)), one(500, Some(1), Some(20)), one(600, Some(2), None)]);
        // Anew after its length and one mean gap.
        assert_eq!(planned[3], one(900, Some(3), Some(10)));
    }
}
