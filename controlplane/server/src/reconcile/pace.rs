//! How often Slurm is asked and how fast jobs are submitted. Never above the budgets, whatever the number of jobs.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::Timing;

const MINUTE: Duration = Duration::from_secs(60);
/// How long the fast poll lasts after something happened.
const HOT_FOR: Duration = Duration::from_secs(60);
/// Without any open experiment the listing is only for strays.
const IDLE_FACTOR: u32 = 4;
/// Pauses before one job is tried again at Slurm's limit double up to this.
const LONGEST_LIMIT_PAUSE: Duration = Duration::from_secs(120);

pub(super) struct Pace {
    timing: Timing,
    reads: Window,
    submissions: Bucket,
    last_listing: Option<Instant>,
    hot_until: Option<Instant>,
    limit: Option<Limit>,
    /// Why the controller could not be reached last time.
    pub(super) unreachable: Option<String>,
}

/// Slurm takes no more jobs for now.
struct Limit {
    words: String,
    pause: Duration,
    until: Instant,
}

impl Pace {
    pub(super) fn new(timing: Timing) -> Self {
        let submissions = Bucket::new(timing.submit_burst, timing.submit_per_second);
        Self {
            timing,
            reads: Window::new(timing.reads_per_minute),
            submissions,
            last_listing: None,
            hot_until: None,
            limit: None,
            unreachable: None,
        }
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
        due.max(self.reads.available_at(now, if lookup_follows { 2 } else { 1 }))
    }

    /// Takes a read out of the budget for a listing, when one is due.
    pub(super) fn take_listing(&mut self, now: Instant, idle: bool, lookup_follows: bool) -> bool {
        let due = self.last_listing.is_none_or(|last| now >= last + self.interval(now, idle));
        // Listings would else use up the budget of the look-ups that they call for.
        let enough = self.reads.available_at(now, if lookup_follows { 2 } else { 1 }) <= now;
        let taken = due && enough && self.take_read(now);
        if taken {
            self.last_listing = Some(now);
        }
        taken
    }

    pub(super) fn take_read(&mut self, now: Instant) -> bool {
        self.reads.take(now)
    }

    pub(super) fn reads_left(&self, now: Instant) -> i64 {
        i64::try_from(self.reads.left(now)).unwrap_or(i64::MAX)
    }

    /// At Slurm's limit none, and after a pause a single one that tries it.
    pub(super) fn submissions_left(&mut self, now: Instant) -> u32 {
        let allowed = self.submissions.whole_tokens(now);
        match &self.limit {
            Some(limit) if now < limit.until => 0,
            Some(_) => allowed.min(1),
            None => allowed,
        }
    }

    /// When a submission that is held back may go.
    pub(super) fn submission_due(&mut self, now: Instant) -> Instant {
        let due = now + self.submissions.until_one(now);
        self.limit.as_ref().map_or(due, |limit| due.max(limit.until))
    }

    pub(super) fn take_submission(&mut self, now: Instant) {
        self.submissions.take(now);
    }

    /// Slurm took a job: neither away nor at its limit.
    pub(super) fn submitted(&mut self) {
        self.unreachable = None;
        self.limit = None;
    }

    /// Slurm takes no more jobs. Whether that is news.
    pub(super) fn limited(&mut self, now: Instant, words: String) -> bool {
        let before = self.limit.take();
        let pause = before.as_ref().map_or(self.timing.limit_pause, |limit| (limit.pause * 2).min(LONGEST_LIMIT_PAUSE));
        self.limit = Some(Limit { words, pause, until: now + pause });
        before.is_none()
    }

    pub(super) fn submit_limit(&self) -> Option<String> {
        self.limit.as_ref().map(|limit| limit.words.clone())
    }
}

/// Reads of the last minute. The first half of the budget may go at once; the rest is spread, so that a busy second is not paid for
/// by a blind minute.
struct Window {
    limit: usize,
    taken: VecDeque<Instant>,
}

impl Window {
    fn new(limit: u32) -> Self {
        Self { limit: limit as usize, taken: VecDeque::new() }
    }

    fn used(&self, now: Instant) -> usize {
        self.taken.iter().filter(|at| now.saturating_duration_since(**at) < MINUTE).count()
    }

    fn left(&self, now: Instant) -> usize {
        self.limit.saturating_sub(self.used(now))
    }

    fn take(&mut self, now: Instant) -> bool {
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
    fn available_at(&self, now: Instant, reads: u32) -> Instant {
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

    fn whole_tokens(&mut self, now: Instant) -> u32 {
        if self.per_second == 0.0 {
            return u32::MAX;
        }
        self.refill(now);
        self.tokens as u32
    }

    fn take(&mut self, now: Instant) {
        self.refill(now);
        self.tokens = (self.tokens - 1.0).max(0.0);
    }

    fn until_one(&mut self, now: Instant) -> Duration {
        if self.per_second == 0.0 {
            return Duration::ZERO;
        }
        self.refill(now);
        Duration::from_secs_f64(((1.0 - self.tokens) / self.per_second).max(0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_never_exceed_twenty_in_any_minute_however_hot_it_is() {
        let mut pace = Pace::new(Timing { fast_poll_interval: Duration::from_millis(500), ..Timing::default() });
        let start = Instant::now();
        let mut reads = Vec::new();
        for tenth in 0..6_000 {
            let now = start + Duration::from_millis(tenth * 100);
            pace.hot(now);
            if pace.take_listing(now, false, false) {
                reads.push(now);
            }
            if tenth % 7 == 0 && pace.take_read(now) {
                reads.push(now);
            }
        }
        for (index, at) in reads.iter().enumerate() {
            let within = reads[index..].iter().filter(|other| **other - *at < MINUTE).count();
            assert!(within <= 20, "{within} reads in a minute");
        }
        assert!(reads.len() >= 190, "the budget is used: {}", reads.len());
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
        assert!(lookups >= 10, "{lookups} look-ups in a minute");
    }

    #[test]
    fn a_listing_that_the_budget_holds_back_is_due_when_the_oldest_read_is_a_minute_old() {
        let mut pace = Pace::new(Timing::default());
        let start = Instant::now();
        for second in 0..20 {
            assert!(pace.take_read(start + Duration::from_secs(second)));
        }
        let now = start + Duration::from_secs(50);
        assert!(!pace.take_listing(now, false, false) && pace.reads_left(now) == 0);
        assert_eq!(pace.listing_due(now, false, false), start + MINUTE);
        assert_eq!(pace.listing_due(now, false, true), start + MINUTE + Duration::from_secs(1), "room for the look-up too");
        assert!(pace.take_listing(start + MINUTE, false, false));
    }

    #[test]
    fn the_second_half_of_the_budget_is_spread() {
        let mut pace = Pace::new(Timing { fast_poll_interval: Duration::from_millis(10), ..Timing::default() });
        let start = Instant::now();
        pace.hot(start);
        let reads =
            (0..3_000).filter(|hundredth| pace.take_listing(start + Duration::from_millis(hundredth * 10), false, false)).count();
        assert!((19..=20).contains(&reads), "{reads} in half a minute");
        let mut last = None;
        for hundredth in 3_000..6_100 {
            let now = start + Duration::from_millis(hundredth * 10);
            if pace.take_listing(now, false, false) {
                last = Some(hundredth);
            }
        }
        assert!(last.is_some(), "and goes on when the first are a minute old");
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
    fn at_slurms_limit_one_job_tries_after_pauses_that_grow_and_the_first_success_lifts_it() {
        let mut pace = Pace::new(Timing::default());
        let start = Instant::now();
        assert_eq!(pace.submissions_left(start), 20);
        assert!(pace.limited(start, "AssocMaxSubmitJobLimit".to_owned()), "news");
        assert_eq!(pace.submissions_left(start + Duration::from_secs(14)), 0);
        let tried = start + Duration::from_secs(15);
        assert_eq!((pace.submission_due(start), pace.submissions_left(tried)), (tried, 1));
        assert!(!pace.limited(tried, "AssocMaxSubmitJobLimit".to_owned()), "known");
        assert_eq!(pace.submission_due(tried), tried + Duration::from_secs(30));
        pace.submitted();
        assert_eq!((pace.submissions_left(tried), pace.submit_limit()), (20, None));
    }

    #[test]
    fn a_rate_of_zero_is_no_limit() {
        let mut pace = Pace::new(Timing { submit_per_second: 0.0, ..Timing::default() });
        let now = Instant::now();
        pace.take_submission(now);
        assert_eq!((pace.submissions_left(now), pace.submission_due(now)), (u32::MAX, now));
    }
}
