//! How often Slurm is asked and how fast jobs are submitted. Never above the budgets, whatever the number of jobs.

use std::time::{Duration, Instant};

use super::Timing;
use super::budget::{Bucket, Window};

/// A look at the cluster, once a minute at most, is kept free for it in the budget of reads.
pub(super) const CLUSTER_READS: u32 = 4;
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
/// Pauses before one job is tried again at Slurm's limit double up to this.
const LONGEST_LIMIT_PAUSE: Duration = Duration::from_secs(120);

pub(super) struct Pace {
    timing: Timing,
    reads: Window,
    submissions: Bucket,
    last_listing: Option<Instant>,
    hot_until: Option<Instant>,
    limit: Option<Limit>,
    hinted: Option<Hinted>,
    /// Of the hint that led to the last listing.
    follow_ups: Option<u8>,
    /// Why the controller could not be reached last time.
    pub(super) unreachable: Option<String>,
}

/// Slurm takes no more jobs for now.
struct Limit {
    words: String,
    pause: Duration,
    until: Instant,
}

#[derive(Clone, Copy)]
struct Hinted {
    due: Instant,
    /// Further looks that it may lead to.
    follow_ups: u8,
}

impl Pace {
    pub(super) fn new(timing: Timing) -> Self {
        let submissions = Bucket::new(timing.submit_burst, timing.submit_per_second);
        Self {
            timing,
            reads: Window::new(timing.reads_per_minute.saturating_sub(CLUSTER_READS)),
            submissions,
            last_listing: None,
            hot_until: None,
            limit: None,
            hinted: None,
            follow_ups: None,
            unreachable: None,
        }
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
        self.due(now, idle).max(self.reads.available_at(now, if lookup_follows { 2 } else { 1 }))
    }

    fn due(&self, now: Instant, idle: bool) -> Instant {
        let Some(last) = self.last_listing else { return now };
        let due = last + self.interval(now, idle);
        self.hinted.map_or(due, |hinted| due.min(hinted.due.max(last + HINT_GAP)))
    }

    /// Takes a read out of the budget for a listing, when one is due.
    pub(super) fn take_listing(&mut self, now: Instant, idle: bool, lookup_follows: bool) -> bool {
        let due = now >= self.due(now, idle);
        // Listings would else use up the budget of the look-ups that they call for.
        let enough = self.reads.available_at(now, if lookup_follows { 2 } else { 1 }) <= now;
        let taken = due && enough && self.take_read(now);
        if taken {
            self.last_listing = Some(now);
            self.follow_ups = self.hinted.take_if(|hinted| hinted.due <= now).map(|hinted| hinted.follow_ups);
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

#[cfg(test)]
mod tests {
    use super::super::budget::MINUTE;
    use super::*;

    #[test]
    fn reads_with_those_of_the_cluster_never_exceed_twenty_in_any_minute_however_hot_it_is() {
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
            assert!(within as u32 + CLUSTER_READS <= 20, "{within} reads in a minute");
        }
        assert!(reads.len() >= 155, "the budget is used: {}", reads.len());
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
        assert!(lookups >= 7, "{lookups} look-ups in a minute");
    }

    #[test]
    fn a_listing_that_the_budget_holds_back_is_due_when_the_oldest_read_is_a_minute_old() {
        let mut pace = Pace::new(Timing::default());
        let start = Instant::now();
        for second in 0..16 {
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
        assert!((15..=16).contains(&reads), "{reads} in half a minute");
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
        assert!((15..=16).contains(&listings), "{listings} listings in a minute of hints");
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
