//! Places between two effects where the simulation stops the server: to kill it there, or to let others act in between. In a build
//! that is no test they are nothing.

/// What holds at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Others may write here.
    Free,
    /// Inside a transaction.
    Locked,
}

#[cfg(not(test))]
#[expect(clippy::unused_async, reason = "in tests it waits")]
pub(crate) async fn point(_: Place) {}

#[cfg(test)]
pub(crate) use simulated::point;

#[cfg(test)]
pub(crate) mod simulated {
    use std::cell::{Cell, RefCell};
    use std::future::poll_fn;
    use std::task::{Poll, Waker};

    use super::Place;

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) enum Probe {
        Off,
        /// Stops at the place after so many more, for good.
        Kill(u32),
        /// Stops at the free place after so many more, until it is resumed.
        Pause(u32),
        Stopped,
        /// Goes on, to stop again at the free place after so many more, if any.
        Resumed(Option<u32>),
    }

    thread_local! {
        static PROBE: Cell<Probe> = const { Cell::new(Probe::Off) };
        static STOPPED: RefCell<Option<Waker>> = const { RefCell::new(None) };
    }

    pub(crate) fn set(probe: Probe) {
        PROBE.set(probe);
        if let Some(stopped) = STOPPED.take() {
            stopped.wake();
        }
    }

    pub(crate) fn get() -> Probe {
        PROBE.get()
    }

    pub(crate) async fn point(place: Place) {
        match PROBE.get() {
            Probe::Kill(0) => PROBE.set(Probe::Stopped),
            Probe::Kill(left) => return PROBE.set(Probe::Kill(left - 1)),
            Probe::Pause(_) if place == Place::Locked => return,
            Probe::Pause(0) => PROBE.set(Probe::Stopped),
            Probe::Pause(left) => return PROBE.set(Probe::Pause(left - 1)),
            Probe::Off | Probe::Stopped | Probe::Resumed(_) => return,
        }
        poll_fn(|context| match PROBE.get() {
            Probe::Resumed(next) => {
                PROBE.set(next.map_or(Probe::Off, Probe::Pause));
                Poll::Ready(())
            }
            _ => {
                STOPPED.replace(Some(context.waker().clone()));
                Poll::Pending
            }
        })
        .await;
    }
}
