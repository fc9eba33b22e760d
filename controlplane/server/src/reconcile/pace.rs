//! How often Slurm is asked and how fast jobs are submitted. Never above the budgets, whatever the number of jobs.

use std::time::{Duration, Instant};

use super::Timing;

/// Reads of jobs a minute at most: with those of the cluster 20, the budget of DESIGN 7.
const READS_PER_MINUTE: f64 = 16.0;
/// A look at the cluster, once a minute at most.
pub(super) const CLUSTER_READS: u64 = 4;
/// Slurm calls its hooks shortly before a job's end shows; also makes many hints one.
const HINT_SETTLES: Duration = Duration::from_secs(1);
/// Between two looks that hints ask for: a cluster that ends thousands of jobs a minute gives thousands of hints.
const HINT_GAP: Duration = Duration::from_secs(3);
/// Looks after a hint while a job is still seen completing.
const FOLLOW_UPS: u8 = 3;
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
    hinted: Option<Hinted>,
    /// Of the hint that led to the last listing.
    follow_ups: Option<u8>,
    /// Why the controller could not be reached last time.
    pub(super) unreachable: Option<String>,
}

impl Pace {
    pub(super) fn new(timing: Timing) -> Self {
        let reads = Bucket::new(READS_PER_MINUTE, READS_PER_MINUTE / 60.0);
        let submissions = Bucket::new(timing.submit_burst, timing.submit_per_second);
        Self { timing, reads, submissions, last_listing: None, hot_until: None, hinted: None, follow_ups: None, unreachable: None }
    }

    /// Something changes soon: a submit, a cancel, a claim, a farewell.
    pub(super) fn hot(&mut self, now: Instant) {
        self.hot_until = Some(now + HOT_FOR);
    }

    /// A hook of Slurm's says that something has ended: one more look soon, whatever the interval.
    pub(super) fn hint(&mut self, now: Instant) {
        let due = self.hinted.map_or(now + HINT_SETTLES, |hinted| hinted.due);
        self.hinted = Some(Hinted { due, follow_ups: FOLLOW_UPS });
    }

    /// The listing that a hint asked for, if it was one, still showed a job on its way out.
    pub(super) fn still_completing(&mut self, now: Instant) {
        if let Some(follow_ups) = self.follow_ups.take().and_then(|left| left.checked_sub(1)) {
            self.hinted = Some(Hinted { due: now + HINT_SETTLES, follow_ups });
        }
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
        let due = self.due(now, idle);
        due.max(now + self.reads.until_available(if lookup_follows { 2.0 } else { 1.0 }))
    }

    fn due(&self, now: Instant, idle: bool) -> Instant {
        let Some(last) = self.last_listing else { return now };
        let due = last + self.interval(now, idle);
        self.hinted.map_or(due, |hinted| due.min(hinted.due.max(last + HINT_GAP)))
    }

    /// Takes a read out of the budget for a listing, when one is due.
    pub(super) fn take_listing(&mut self, now: Instant, idle: bool, lookup_follows: bool) -> bool {
        let due = now >= self.due(now, idle);
        self.reads.refill(now);
        // Listings would else use up the budget of the look-ups that they call for.
        let enough = !lookup_follows || self.reads.tokens >= 2.0;
        let taken = due && enough && self.take_read(now);
        if taken {
            self.last_listing = Some(now);
            self.follow_ups = self.hinted.take_if(|hinted| hinted.due <= now).map(|hinted| hinted.follow_ups);
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

#[derive(Clone, Copy)]
struct Hinted {
    due: Instant,
    /// Further looks that it may lead to.
    follow_ups: u8,
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
    fn reads_with_those_of_the_cluster_never_exceed_twenty_a_minute_however_hot_it_is() {
        let mut pace = Pace::new(Timing::default());
        let start = Instant::now();
        let mut reads = 0_u64;
        for second in 0..600 {
            let now = start + Duration::from_secs(second);
            pace.hot(now);
            pace.hint(now);
            reads += u64::from(pace.take_listing(now, false, false));
            reads += u64::from(pace.take_read(now));
        }
        assert!(reads + 10 * CLUSTER_READS <= 20 * 10 + 16, "{reads} reads in ten minutes, and ten looks at the cluster");
        assert!(reads >= 165, "the budget is used: {reads}");
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

    #[test]
    fn a_hint_brings_one_look_soon_and_a_flood_of_hints_no_more_than_the_fast_poll() {
        let mut pace = Pace::new(Timing { poll_interval: Duration::from_secs(600), ..Timing::default() });
        let start = Instant::now();
        let at = |seconds: f64| start + Duration::from_secs_f64(seconds);
        assert!(pace.take_listing(at(0.0), false, false));
        pace.hint(at(100.0));
        assert_eq!(pace.listing_due(at(100.0), false, false), at(101.0));
        assert!(!pace.take_listing(at(100.5), false, false), "the end does not show yet");
        assert!(pace.take_listing(at(101.0), false, false));
        assert!(!pace.take_listing(at(160.0), false, false), "one look");
        let mut listings = 0;
        for tenth in 2_000..2_600 {
            pace.hint(at(f64::from(tenth) / 10.0));
            listings += u32::from(pace.take_listing(at(f64::from(tenth) / 10.0), false, false));
        }
        assert!((18..=20).contains(&listings), "{listings} listings in a minute of hints");
    }

    #[test]
    fn a_job_that_is_still_completing_is_looked_at_again_but_not_for_ever() {
        let mut pace = Pace::new(Timing { poll_interval: Duration::from_secs(600), ..Timing::default() });
        let start = Instant::now();
        assert!(pace.take_listing(start, false, false));
        pace.hint(start);
        let mut listings = 0;
        for second in 1..600 {
            let now = start + Duration::from_secs(second);
            if pace.take_listing(now, false, false) {
                listings += 1;
                pace.still_completing(now);
            }
        }
        assert_eq!(listings, 1 + u32::from(FOLLOW_UPS));
        pace.still_completing(start);
        assert!(!pace.take_listing(start + Duration::from_secs(599), false, false), "no hint, no further look");
    }
}
