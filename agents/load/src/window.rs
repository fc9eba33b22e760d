//! When the measured window opens and closes, and on which side of it a moment lies. Pure: moments are values.
//!
//! A window that lacks valid answers when its time is over is extended by whole seconds, at most to three times its length.
//! Whole seconds, and not "until the last missing answer", because a window that ends with an event overstates the rate.

use crate::clock::{Nanos, SECOND};

/// Longest window, as a multiple of the asked length.
const MAX_EXTENSION: u64 = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Before,
    Inside,
    After,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub(crate) start: Nanos,
    length: Nanos,
    min_requests: u64,
    /// The next moment at which closing is decided; the end once `closed`.
    boundary: Nanos,
    closed: bool,
}

impl Window {
    pub(crate) fn new(start: Nanos, length: Nanos, min_requests: u64) -> Self {
        Self { start, length, min_requests, boundary: start.saturating_add(length), closed: false }
    }

    /// Closes or extends the window for each boundary that `now` has reached. `valid`: answers counted so far.
    pub(crate) fn advance(&mut self, now: Nanos, valid: u64) {
        let longest = self.start.saturating_add(self.length.saturating_mul(MAX_EXTENSION));
        while !self.closed && now >= self.boundary {
            if valid >= self.min_requests || self.boundary >= longest {
                self.closed = true;
            } else {
                self.boundary = (self.boundary + SECOND).min(longest);
            }
        }
    }

    /// Ends it now: more of it would tell nothing new.
    pub(crate) fn cut(&mut self, now: Nanos) {
        self.boundary = now.max(self.start + 1).min(self.boundary);
        self.min_requests = 0;
    }

    pub(crate) fn place(&self, at: Nanos) -> Place {
        if at < self.start {
            Place::Before
        } else if self.closed && at >= self.boundary {
            Place::After
        } else {
            Place::Inside
        }
    }

    pub(crate) fn boundary(&self) -> Nanos {
        self.boundary
    }

    /// The end as soon as it is certain, which is before it comes when there are answers enough: then nothing is planned beyond it.
    pub(crate) fn certain_end(&self, valid: u64) -> Option<Nanos> {
        (self.closed || valid >= self.min_requests).then_some(self.boundary)
    }

    /// The end, once it has come.
    pub(crate) fn end(&self) -> Option<Nanos> {
        self.closed.then_some(self.boundary)
    }

    pub(crate) fn extended(&self) -> bool {
        self.boundary > self.start.saturating_add(self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_with_enough_answers_closes_at_its_length() {
        let mut window = Window::new(5 * SECOND, 10 * SECOND, 100);
        window.advance(14 * SECOND, 500);
        assert_eq!((window.end(), window.certain_end(99), window.certain_end(100)), (None, None, Some(15 * SECOND)));
        window.advance(15 * SECOND, 100);
        assert_eq!(window.end(), Some(15 * SECOND));
        assert!(!window.extended());
        assert_eq!(window.place(5 * SECOND - 1), Place::Before);
        assert_eq!(window.place(5 * SECOND), Place::Inside);
        assert_eq!(window.place(15 * SECOND - 1), Place::Inside);
        assert_eq!(window.place(15 * SECOND), Place::After);
    }

    #[test]
    fn a_poor_window_grows_by_seconds_until_it_has_enough() {
        let mut window = Window::new(0, 10 * SECOND, 100);
        window.advance(10 * SECOND, 80);
        window.advance(11 * SECOND, 99);
        assert_eq!(window.end(), None);
        window.advance(12 * SECOND, 101);
        assert_eq!(window.end(), Some(12 * SECOND));
        assert!(window.extended());
    }

    #[test]
    fn a_window_never_grows_beyond_three_times_its_length() {
        let mut window = Window::new(0, 10 * SECOND + 1, 100);
        window.advance(500 * SECOND, 0);
        assert_eq!(window.end(), Some(30 * SECOND + 3));
    }
}
