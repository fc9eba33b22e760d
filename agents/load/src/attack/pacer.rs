//! The schedule of an open loop, and the thread that hands out its planned send times.
//!
//! A thread of its own with absolute sleeps, because the runtime's timers step by a millisecond: at 2,000 requests per second
//! they slip by 1 ms in the median, the thread by 0.1 ms.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use em_api::spec::Arrival;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use rustix::thread::{ClockId, clock_nanosleep_absolute, set_current_timer_slack};
use rustix::time::clock_gettime;
use tokio::sync::mpsc::UnboundedSender;

use super::Users;
use crate::clock::{Nanos, SECOND};

/// Longest sleep, so that a closed window or a cancelled trial is noticed at low rates too.
const LOOK_UP: Nanos = SECOND / 20;

/// Planned send times, relative to the begin; endless.
pub(crate) struct Schedule {
    interval_ns: f64,
    /// Poisson arrivals; absent: constant spacing.
    random: Option<ChaCha8Rng>,
    next_ns: f64,
    count: u64,
}

impl Schedule {
    /// `seed`: of Poisson arrivals; equal seeds give equal schedules.
    pub(crate) fn new(rate: f64, arrival: Arrival, seed: u64) -> Self {
        let random = match arrival {
            Arrival::Constant => None,
            Arrival::Poisson => Some(ChaCha8Rng::seed_from_u64(seed)),
        };
        Self { interval_ns: SECOND as f64 / rate, random, next_ns: 0.0, count: 0 }
    }
}

impl Iterator for Schedule {
    type Item = Nanos;

    fn next(&mut self) -> Option<Nanos> {
        let planned = match &mut self.random {
            // By multiplication: a sum of rounded intervals would drift.
            None => self.count as f64 * self.interval_ns,
            Some(random) => {
                // Uniform in (0, 1], from the upper 53 bits.
                let uniform = ((random.next_u64() >> 11) + 1) as f64 / (1_u64 << 53) as f64;
                self.next_ns -= uniform.ln() * self.interval_ns;
                self.next_ns
            }
        };
        self.count += 1;
        Some(planned as Nanos)
    }
}

/// Hands out each planned time when it has come, from `begin` on, until the window has closed. Runs on a thread of its own.
pub(crate) fn pace(users: &Arc<Users>, schedule: Schedule, begin: Nanos, planned: &UnboundedSender<Nanos>) {
    // The default slack of 50 µs would be half of the slip. Where it cannot be set, slip says so.
    let _ = set_current_timer_slack(NonZeroU64::new(1));
    for offset in schedule {
        let due = begin.saturating_add(offset);
        loop {
            if users.cancel.is_cancelled() || due >= users.close.load(Ordering::Relaxed) {
                return;
            }
            let now = users.clock.now();
            if now >= due {
                break;
            }
            sleep(due.min(now + LOOK_UP) - now);
        }
        if planned.send(due).is_err() {
            return;
        }
    }
}

/// Until `duration` from now, by the monotonic clock's own time: a signal in between makes it no longer.
fn sleep(duration: Nanos) {
    let mut until = clock_gettime(rustix::time::ClockId::Monotonic);
    until.tv_nsec += (duration % SECOND) as i64;
    until.tv_sec += (duration / SECOND) as i64 + until.tv_nsec / SECOND as i64;
    until.tv_nsec %= SECOND as i64;
    while clock_nanosleep_absolute(ClockId::Monotonic, &until) == Err(rustix::io::Errno::INTR) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constant_arrivals_do_not_drift() {
        let planned: Vec<Nanos> = Schedule::new(3_000.0, Arrival::Constant, 0).take(3_000_001).collect();
        assert_eq!(planned[0], 0);
        assert_eq!(planned[3_000_000], 1_000 * SECOND);
        assert_eq!(planned[1], 333_333);
    }

    /// 20,000 exponential gaps of mean 1 ms: their sum is 20 s ± 0.14 s (one standard deviation), their spread equals their mean.
    #[test]
    fn poisson_arrivals_have_the_rate_and_the_spread_and_repeat_by_seed() {
        let planned: Vec<Nanos> = Schedule::new(1_000.0, Arrival::Poisson, 7).take(20_000).collect();
        let gaps: Vec<f64> = planned.windows(2).map(|pair| (pair[1] - pair[0]) as f64 / 1e6).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        assert!((0.97..1.03).contains(&mean), "mean gap {mean} ms");
        assert!((0.92..1.08).contains(&(variance.sqrt() / mean)), "spread {}", variance.sqrt());
        assert_eq!(planned, Schedule::new(1_000.0, Arrival::Poisson, 7).take(20_000).collect::<Vec<_>>());
        assert_ne!(planned, Schedule::new(1_000.0, Arrival::Poisson, 8).take(20_000).collect::<Vec<_>>());
    }
}
