//! Notices when the wall clock is set: stored times and the time that has really passed then say different things.

use std::time::Instant;

use em_api::Timestamp;
use jiff::SignedDuration;

/// Less is drift, or a slow moment between two readings.
const JUMP: SignedDuration = SignedDuration::from_secs(5);

#[derive(Debug)]
pub(super) struct Wall {
    /// Since when stored times can be compared with now.
    pub(super) awake_since: Timestamp,
    last: Option<(Instant, Timestamp)>,
}

impl Wall {
    pub(super) fn new(awake_since: Timestamp) -> Self {
        Self { awake_since, last: None }
    }

    /// Compares both clocks with the last look. By how much the wall clock was set, if it was.
    pub(super) fn look(&mut self, clock: Instant, now: Timestamp) -> Option<SignedDuration> {
        let (before, then) = self.last.replace((clock, now))?;
        let passed = SignedDuration::try_from(clock.saturating_duration_since(before)).unwrap_or(SignedDuration::MAX);
        let jump = now.duration_since(then).saturating_sub(passed);
        if jump.abs() <= JUMP {
            return None;
        }
        self.awake_since = now;
        Some(jump)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn setting_the_clock_is_noticed_in_both_directions_and_passing_time_is_not() {
        let (clock, at) = (Instant::now(), |seconds: i64| Timestamp::from_second(1_800_000_000 + seconds).expect("small"));
        let mut wall = Wall::new(at(0));
        let later = |seconds| clock + Duration::from_secs(seconds);
        assert_eq!(wall.look(clock, at(0)), None);
        assert_eq!(wall.look(later(600), at(601)), None, "both went on");
        assert_eq!(wall.awake_since, at(0));
        assert_eq!(wall.look(later(601), at(602 + 7200)), Some(SignedDuration::from_hours(2)));
        assert_eq!(wall.awake_since, at(602 + 7200));
        assert_eq!(wall.look(later(602), at(603)), Some(SignedDuration::from_hours(-2)));
        assert_eq!(wall.awake_since, at(603));
    }
}
