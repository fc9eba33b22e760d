//! Deliberate mistakes, each of which the simulation has to catch. In a build that is no test none of them can be made.

/// Named after what somebody would have to believe to write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mutant {
    AbsentIsFinished,
    ResubmitWithoutLookup,
    LowestIdThoughAnotherClaimed,
    FencedMeasurementCounts,
    StatusWithoutVersionCheck,
    ContinuationIsARetry,
    UnknownWordIsAnEnd,
}

#[cfg(not(test))]
pub(crate) const fn made(_: Mutant) -> bool {
    false
}

#[cfg(test)]
pub(crate) use tests_only::{made, make};

#[cfg(test)]
mod tests_only {
    use std::cell::Cell;

    use super::Mutant;

    thread_local! {
        static MADE: Cell<Option<Mutant>> = const { Cell::new(None) };
    }

    /// From here this thread makes the mistake.
    pub(crate) fn make(mutant: Option<Mutant>) {
        MADE.set(mutant);
    }

    pub(crate) fn made(mutant: Mutant) -> bool {
        MADE.get() == Some(mutant)
    }
}
