//! The thread that hands out the planned send times of an open loop.
//!
//! A thread of its own with absolute sleeps, because the runtime's timers step by a millisecond: at 2,000 requests per second
//! they slip by 1 ms in the median, the thread by 0.1 ms.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustix::thread::{ClockId, clock_nanosleep_absolute, set_current_timer_slack};
use rustix::time::clock_gettime;
use tokio::sync::mpsc::UnboundedSender;

use super::{Handed, Users};
use crate::clock::{Nanos, SECOND};
use crate::schedule::Schedule;

/// Longest sleep, so that a closed window or a cancelled trial is noticed at low rates too.
const LOOK_UP: Nanos = SECOND / 20;

/// Hands out each planned request when its time has come, from `begin` on, until the window has closed. Runs on a thread of its own.
pub(crate) fn pace(users: &Arc<Users>, schedule: Schedule, begin: Nanos, handed: &UnboundedSender<Handed>) {
    // The default slack of 50 µs would be half of the slip. Where it cannot be set, slip says so.
    let _ = set_current_timer_slack(NonZeroU64::new(1));
    for planned in schedule {
        let due = begin.saturating_add(planned.at);
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
        let free = users.waiting.fetch_sub(1, Ordering::Relaxed) > 0;
        if handed.send(Handed { due, planned, free }).is_err() {
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
