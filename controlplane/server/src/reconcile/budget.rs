//! Two ways to count what may be asked of Slurm: reads by a window that is never exceeded, submissions by tokens.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::clock;

pub(super) const MINUTE: Duration = Duration::from_secs(60);

/// Reads of the last minute. The first half of the budget may go at once; the rest is spread, so that a busy second is not paid for
/// by a blind minute.
pub(super) struct Window {
    limit: usize,
    taken: VecDeque<Instant>,
}

impl Window {
    pub(super) fn new(limit: u32) -> Self {
        Self { limit: limit as usize, taken: VecDeque::new() }
    }

    fn used(&self, now: Instant) -> usize {
        self.taken.iter().filter(|at| now.saturating_duration_since(**at) < MINUTE).count()
    }

    pub(super) fn left(&self, now: Instant) -> usize {
        self.limit.saturating_sub(self.used(now))
    }

    pub(super) fn take(&mut self, now: Instant) -> bool {
        while self.taken.front().is_some_and(|at| now.saturating_duration_since(*at) >= MINUTE) {
            self.taken.pop_front();
        }
        let enough = self.taken.len() < self.limit;
        if enough {
            self.taken.push_back(now);
        }
        enough
    }

    /// When so many reads may be made at once.
    pub(super) fn available_at(&self, now: Instant, reads: u32) -> Instant {
        let (used, wanted) = (self.used(now), reads as usize);
        let over = (self.taken.len() + wanted).saturating_sub(self.limit);
        let left = over.checked_sub(1).and_then(|index| self.taken.get(index)).map_or(now, |at| *at + MINUTE);
        let apart = MINUTE / u32::try_from(self.limit).unwrap_or(u32::MAX).max(1) * reads;
        let spread = match self.taken.back() {
            Some(last) if used + wanted > self.limit / 2 => *last + apart,
            _ => now,
        };
        left.max(spread).max(now)
    }
}

/// Tokens for submissions. A rate of zero: no limit.
pub(super) struct Bucket {
    tokens: f64,
    burst: f64,
    per_second: f64,
    filled_at: Instant,
}

impl Bucket {
    pub(super) fn new(burst: f64, per_second: f64) -> Self {
        Self { tokens: burst, burst, per_second, filled_at: clock::instant() }
    }

    fn refill(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.filled_at).as_secs_f64();
        self.tokens = (self.tokens + elapsed * self.per_second).min(self.burst);
        self.filled_at = now;
    }

    pub(super) fn whole_tokens(&mut self, now: Instant) -> u32 {
        if self.per_second == 0.0 {
            return u32::MAX;
        }
        self.refill(now);
        self.tokens as u32
    }

    pub(super) fn take(&mut self, now: Instant) {
        self.refill(now);
        self.tokens = (self.tokens - 1.0).max(0.0);
    }

    pub(super) fn until_one(&mut self, now: Instant) -> Duration {
        if self.per_second == 0.0 {
            return Duration::ZERO;
        }
        self.refill(now);
        Duration::from_secs_f64(((1.0 - self.tokens) / self.per_second).max(0.0))
    }
}
