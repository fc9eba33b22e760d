//! Typed ids. Each is made by the server and opaque to everybody else.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use ulid::Ulid;

macro_rules! ulid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Ulid);

        impl $name {
            /// A fresh id; ids made later sort later (to the millisecond).
            pub fn generate() -> Self {
                Self(Ulid::generate())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }

        impl FromStr for $name {
            type Err = ulid::DecodeError;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Ok(Self(Ulid::from_string(text)?))
            }
        }
    };
}

ulid_id!(
    /// One experiment, for ever: a new one of the same name has another uid.
    ExperimentUid
);
ulid_id!(
    /// The blocks that go to one job at a time.
    ShardId
);
ulid_id!(
    /// All backend variants at one (repetition, batch size, load level).
    BlockId
);
ulid_id!(
    /// One measured repetition of a cell.
    TrialId
);
ulid_id!(
    /// Our record of one Slurm job.
    AttemptId
);
