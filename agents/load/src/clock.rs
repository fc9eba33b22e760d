//! One monotonic time base per trial: nanoseconds since its begin, and the wall time of that begin.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

/// Nanoseconds since the clock was made.
pub(crate) type Nanos = u64;

pub(crate) const SECOND: Nanos = 1_000_000_000;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    origin: Instant,
    origin_at: Timestamp,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { origin: Instant::now(), origin_at: Timestamp::now() }
    }

    pub(crate) fn now(&self) -> Nanos {
        nanos(self.origin.elapsed())
    }

    pub(crate) fn instant(&self, at: Nanos) -> Instant {
        self.origin + Duration::from_nanos(at)
    }

    pub(crate) fn wall(&self, at: Nanos) -> Timestamp {
        let offset = SignedDuration::from_nanos(i64::try_from(at).unwrap_or(i64::MAX));
        self.origin_at.checked_add(offset).unwrap_or(self.origin_at)
    }
}

/// Saturates after 584 years.
pub(crate) fn nanos(duration: Duration) -> Nanos {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

pub(crate) fn seconds(duration: Nanos) -> f64 {
    duration as f64 / SECOND as f64
}
