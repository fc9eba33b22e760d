//! How often Slurm is asked and how fast jobs are submitted. Never above the budgets, whatever the number of jobs.

use std::time::{Duration, Instant};

use super::Timing;

/// Reads a minute at most.
const READS_PER_MINUTE: f64 = 20.0;
/// How long the fast poll lasts after something happened.
const HOT_FOR: Duration = Duration::from_secs(60);
/// Without any open experiment the listing is only for strays.
const IDLE_FACTOR: u32 = 4;

pub(super) struct Pace {
    timing: Timing,
    reads: Bucket,
    submissions: Bucket,
    last_listing: Option<Instant>,
    hot_until: Option<Instant>,
    /// Why the controller could not be reached last time.
    pub(super) unreachable: Option<String>,
}

impl Pace {
    pub(super) fn new(timing: Timing) -> Self {
        let reads = Bucket::new(READS_PER_MINUTE, READS_PER_MINUTE / 60.0);
        let submissions = Bucket::new(timing.submit_burst, timing.submit_per_second);
        Self { timing, reads, submissions, last_listing: None, hot_until: None, unreachable: None }
    }

    /// Something changes soon: a submit, a cancel, a claim, a farewell.
    pub(super) fn hot(&mut self, now: Instant) {
        self.hot_until = Some(now + HOT_FOR);
    }

    fn interval(&self, now: Instant, idle: bool) -> Duration {
        match self.hot_until {
            Some(until) if now < until => self.timing.fast_poll_interval,
            _ if idle => self.timing.poll_interval * IDLE_FACTOR,
            _ => self.timing.poll_interval,
        }
    }

    /// When the next listing is due.
    pub(super) fn listing_due(&self, now: Instant, idle: bool, lookup_follows: bool) -> Instant {
        let due = self.last_listing.map_or(now, |last| last + self.interval(now, idle));
        due.max(now + self.reads.until_available(if lookup_follows { 2.0 } else { 1.0 }))
    }

    /// Takes a read out of the budget for a listing, when one is due.
    pub(super) fn take_listing(&mut self, now: Instant, idle: bool, lookup_follows: bool) -> bool {
        let due = self.last_listing.is_none_or(|last| now >= last + self.interval(now, idle));
        self.reads.refill(now);
        // Listings would else use up the budget of the look-ups that they call for.
        let enough = !lookup_follows || self.reads.tokens >= 2.0;
        let taken = due && enough && self.take_read(now);
        if taken {
            self.last_listing = Some(now);
        }
        taken
    }

    pub(super) fn take_read(&mut self, now: Instant) -> bool {
        self.reads.refill(now);
        self.reads.take()
    }

    pub(super) fn reads_left(&self) -> i64 {
        self.reads.tokens as i64
    }

    pub(super) fn submissions_left(&mut self, now: Instant) -> u32 {
        self.submissions.refill(now);
        self.submissions.tokens as u32
    }

    pub(super) fn take_submission(&mut self, now: Instant) {
        self.submissions.refill(now);
        self.submissions.take();
    }
}

struct Bucket {
    tokens: f64,
    burst: f64,
    per_second: f64,
    filled_at: Instant,
}

impl Bucket {
    fn new(burst: f64, per_second: f64) -> Self {
        Self { tokens: burst, burst, per_second, filled_at: Instant::now() }
    }

    fn refill(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.filled_at).as_secs_f64();
        self.tokens = (self.tokens + elapsed * self.per_second).min(self.burst);
        self.filled_at = now;
    }

    fn take(&mut self) -> bool {
        let enough = self.tokens >= 1.0;
        if enough {
            self.tokens -= 1.0;
        }
        enough
    }

    fn until_available(&self, tokens: f64) -> Duration {
        Duration::from_secs_f64(((tokens - self.tokens) / self.per_second).max(0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_never_exceed_twenty_a_minute_however_hot_it_is() {
        let mut pace = Pace::new(Timing::default());
        let start = Instant::now();
        let mut reads = 0;
        for second in 0..600 {
            let now = start + Duration::from_secs(second);
            pace.hot(now);
            reads += u32::from(pace.take_listing(now, false, false));
            reads += u32::from(pace.take_read(now));
        }
        assert!(reads <= 20 * 10 + 20, "{reads} reads in ten minutes");
        assert!(reads >= 190, "the budget is used: {reads}");
    }

    #[test]
    fn listings_leave_reads_for_the_lookups_that_they_call_for() {
        let mut pace = Pace::new(Timing { fast_poll_interval: Duration::from_millis(100), ..Timing::default() });
        let start = Instant::now();
        let mut lookups = 0;
        for tenth in 0..600 {
            let now = start + Duration::from_millis(tenth * 100);
            pace.hot(now);
            if pace.take_listing(now, false, true) {
                lookups += u32::from(pace.take_read(now));
            }
        }
        assert!(lookups >= 15, "{lookups} look-ups in a minute");
    }

    #[test]
    fn the_poll_is_fast_for_a_minute_after_something_happened() {
        let mut pace = Pace::new(Timing::default());
        let start = Instant::now();
        assert!(pace.take_listing(start, false, false));
        assert!(!pace.take_listing(start + Duration::from_secs(4), false, false), "15 s by default");
        pace.hot(start);
        assert!(pace.take_listing(start + Duration::from_secs(4), false, false), "3 s when hot");
    }
}
