//! Versions of the REST API. Each release of Slurm speaks three or four of them: 22.05 has v0.0.36 to v0.0.38, 26.05 has v0.0.42 to
//! v0.0.45. This is the only place that says what a version is called and in what the versions differ.

use std::fmt;
use std::str::FromStr;

/// `v0.0.36` to `v0.0.45`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(u8);

impl Version {
    pub const OLDEST: Self = Self(36);
    pub const NEWEST: Self = Self(45);

    /// The newest first: in this order they are looked for.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        (Self::OLDEST.0..=Self::NEWEST.0).rev().map(Self)
    }

    pub(super) fn number(self) -> u8 {
        self.0
    }

    pub(super) fn from_number(number: u8) -> Option<Self> {
        (Self::OLDEST.0..=Self::NEWEST.0).contains(&number).then_some(Self(number))
    }

    /// Up to v0.0.38 a job is a dictionary of sbatch's options, whose values slurmrestd reads as sbatch does, and unknown keys are
    /// refused. Since v0.0.39 it is a record of typed fields, in which **unknown keys are ignored**.
    pub(super) fn describes_by_options(self) -> bool {
        self.0 <= 38
    }

    /// TERM some time before the time limit can be asked for.
    pub(super) fn warns_before_time_limit(self) -> bool {
        !self.describes_by_options()
    }

    /// Since v0.0.40 a listing tells the time that it is as of, so that the next one can ask whether anything has changed.
    pub(super) fn tells_update_time(self) -> bool {
        self.0 >= 40
    }

    /// Since v0.0.40 a time may be written as sbatch takes it (`now+1hour`).
    pub(super) fn reads_times(self) -> bool {
        self.0 >= 40
    }

    /// `gres:gpu` became `gres/gpu` with 23.11.
    pub(super) fn tres(self) -> &'static str {
        if self.0 >= 40 { "gres/" } else { "gres:" }
    }

    /// What stands before a count in `tres_per_task`: `gres/gpu:2` became `gres/gpu=2` with 24.05.
    pub(super) fn before_count(self) -> char {
        if self.0 >= 41 { '=' } else { ':' }
    }

    /// Since 23.11 sbatch binds a task's GPUs to it by the job's record.
    pub(super) fn binds_gpus_by_record(self) -> bool {
        self.0 >= 40
    }

    /// Accounting of v0.0.36 to v0.0.38 gives the exit code 0 for every script that ended by itself.
    pub(super) fn accounts_exit_codes(self) -> bool {
        self.0 >= 39
    }

    /// The controller's configuration can be read.
    pub(super) fn has_configuration(self) -> bool {
        self.0 >= 45
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v0.0.{}", self.0)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no version of Slurm's REST API that we speak: v0.0.36 to v0.0.45")]
pub struct UnknownVersion(String);

impl FromStr for Version {
    type Err = UnknownVersion;

    fn from_str(text: &str) -> Result<Self, UnknownVersion> {
        let number = text.strip_prefix("v0.0.").and_then(|number| number.parse().ok());
        number.and_then(Self::from_number).ok_or_else(|| UnknownVersion(text.to_owned()))
    }
}
