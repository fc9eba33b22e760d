//! The time, from one place: wall time for what is stored and compared with others, a monotonic one for pauses. The simulation puts its
//! own time in for both, per thread.

use std::time::Instant;

use em_api::Timestamp;

/// The time now, to the microsecond: what is stored reads back equal.
pub fn now() -> Timestamp {
    #[cfg(test)]
    if let Some(now) = simulated::now() {
        return now;
    }
    let now = Timestamp::now();
    Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now)
}

/// For durations inside this process: no jump of the wall clock moves it.
pub(crate) fn instant() -> Instant {
    #[cfg(test)]
    if let Some(instant) = simulated::instant() {
        return instant;
    }
    Instant::now()
}

#[cfg(test)]
pub(crate) mod simulated {
    use std::cell::Cell;
    use std::time::Duration;

    use super::{Instant, Timestamp};

    /// 2027-01-15T08:00:00Z, for the looks of it.
    const BEGIN_US: i64 = 1_800_000_000_000_000;

    thread_local! {
        /// The begin in real monotonic time, and the microseconds since.
        static TIME: Cell<Option<(Instant, i64)>> = const { Cell::new(None) };
    }

    /// From here this thread's time is made up.
    pub(crate) fn begin() {
        TIME.set(Some((Instant::now(), 0)));
    }

    pub(crate) fn end() {
        TIME.set(None);
    }

    pub(crate) fn pass(duration: Duration) {
        let micros = i64::try_from(duration.as_micros()).expect("a short time");
        TIME.set(TIME.get().map(|(base, past)| (base, past + micros)));
    }

    /// Each look at the clock takes a microsecond, so that no two events have the same time.
    pub(super) fn now() -> Option<Timestamp> {
        let (base, past) = TIME.get()?;
        TIME.set(Some((base, past + 1)));
        Some(Timestamp::from_microsecond(BEGIN_US + past).expect("in range"))
    }

    pub(super) fn instant() -> Option<Instant> {
        TIME.get().map(|(base, past)| base + Duration::from_micros(past.unsigned_abs()))
    }
}
