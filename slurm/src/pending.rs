//! Why a pending job waits, and whether waiting can help. Many sites accept jobs that can never start (Slurm's default
//! `EnforcePartLimits=NO`), so this is where a wrong partition or time limit is noticed.

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PendingReason {
    /// Something will, or may, change by itself or by a person: resources, priority, a hold, a node, a dependency.
    Waiting(String),
    /// The job asks for what it cannot get: it pends until someone changes it or the site.
    NeverStarts(String),
}

/// Seen on 22.05: the first four and `BadConstraints`; the others from Slurm's list of reasons.
const NEVER: [&str; 15] = [
    "DependencyNeverSatisfied",
    "PartitionTimeLimit",
    "PartitionConfig",
    "PartitionNodeLimit",
    "BadConstraints",
    "AccountNotAllowed",
    "InvalidAccount",
    "QOSNotAllowed",
    "InvalidQOS",
    "ReservationDeleted",
    "QOSMinCpuNotSatisfied",
    "QOSMinGRES",
    "QOSMinMemory",
    "QOSMinNode",
    "QOSMinBB",
];

impl PendingReason {
    /// Judges a reason as squeue prints it; `None` where there is none yet. Words that we do not know wait.
    pub fn parse(reason: &str) -> Option<Self> {
        let text = reason.trim().trim_matches(['(', ')']);
        if text.is_empty() || matches!(text, "None" | "null") {
            return None;
        }
        let word = text.split([',', ' ', ':', '(']).next().unwrap_or(text);
        if NEVER.contains(&word) || limit_of_one_job(word) {
            return Some(Self::NeverStarts(text.to_owned()));
        }
        Some(Self::Waiting(text.to_owned()))
    }

    /// Slurm's words.
    pub fn text(&self) -> &str {
        match self {
            Self::Waiting(text) | Self::NeverStarts(text) => text,
        }
    }
}

/// `AssocMaxWallDurationPerJobLimit`, `QOSMaxGRESPerJob`, …: this one job is above a limit, so that an emptier queue does not
/// help. Limits per user, per account and per group (`QOSMaxJobsPerUserLimit`, `AssocGrpGRES`) do wait.
fn limit_of_one_job(word: &str) -> bool {
    let word = word.strip_suffix("Limit").unwrap_or(word);
    ["AssocMax", "QOSMax"].iter().any(|prefix| word.starts_with(prefix))
        && (["PerJob", "PerNode"].iter().any(|suffix| word.ends_with(suffix)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_that_can_never_be_met_are_told_from_those_that_wait() {
        for reason in [
            "PartitionTimeLimit",
            "PartitionConfig",
            "DependencyNeverSatisfied",
            "(DependencyNeverSatisfied)",
            "BadConstraints",
            "InvalidQOS",
            "AssocMaxWallDurationPerJobLimit",
            "QOSMaxGRESPerJob",
            "QOSMaxCpuPerNode",
        ] {
            assert!(matches!(PendingReason::parse(reason), Some(PendingReason::NeverStarts(_))), "{reason}");
        }
        for reason in [
            "Resources",
            "Priority",
            "BeginTime",
            "JobHeldUser",
            "JobHeldAdmin",
            "PartitionDown",
            "QOSMaxJobsPerUserLimit",
            "QOSMaxGRESPerUser",
            "AssocGrpGRES",
            "ReqNodeNotAvail, UnavailableNodes:node3",
            "launch failed requeued held",
            "Nodes required for job are DOWN, DRAINED or reserved for jobs in higher priority partitions",
            "SomethingNew",
        ] {
            assert!(matches!(PendingReason::parse(reason), Some(PendingReason::Waiting(_))), "{reason}");
        }
        for reason in ["None", "", "(null)", "(None)"] {
            assert_eq!(PendingReason::parse(reason), None, "{reason}");
        }
    }

    #[test]
    fn the_words_are_kept() {
        let reason = PendingReason::parse("ReqNodeNotAvail, UnavailableNodes:node3").expect("a reason");
        assert_eq!(reason.text(), "ReqNodeNotAvail, UnavailableNodes:node3");
    }
}
