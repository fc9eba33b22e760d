//! Why a pending job waits, and whether waiting can help. Many sites accept jobs that can never start (Slurm's default
//! `EnforcePartLimits=NO`), so this is where a wrong partition or time limit is noticed.

/// A pending job's reason (squeue(1), JOB REASON CODES), judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PendingReason {
    /// Something will, or may, change by itself or by a person: resources, priority, a hold, a node, a dependency.
    Waiting(String),
    /// The job asks for what it cannot get: it pends until someone changes it or the site.
    NeverStarts(String),
}

/// The reasons that waiting does not help, beside the limits on one job below.
const NEVER: [&str; 12] = [
    "DependencyNeverSatisfied",
    "BadConstraints",
    "PartitionTimeLimit",
    "PartitionNodeLimit",
    "PartitionConfig",
    // More memory for a CPU or a node than the site allows.
    "MaxMemPerLimit",
    "AccountNotAllowed",
    "InvalidAccount",
    "QOSNotAllowed",
    "InvalidQOS",
    "ReservationDeleted",
    "ReservationInvalid",
];

/// In place of those words Slurm may print a sentence of its own (`state_desc` in its source): parts of those that are final.
const NEVER_SENTENCES: [&str; 4] = [
    "not permitted to use this partition",
    "not in group permitted to use this partition",
    "so it can't use this partition",
    "is no longer valid, holding job",
];

impl PendingReason {
    /// Judges a reason as squeue prints it; `None` where there is none yet. Words that we do not know wait.
    pub fn parse(reason: &str) -> Option<Self> {
        let text = reason.trim();
        let text = text.strip_prefix('(').and_then(|text| text.strip_suffix(')')).unwrap_or(text);
        if text.is_empty() || matches!(text, "None" | "null") {
            return None;
        }
        Some(if never(text) { Self::NeverStarts(text.to_owned()) } else { Self::Waiting(text.to_owned()) })
    }

    /// Slurm's words.
    pub fn text(&self) -> &str {
        match self {
            Self::Waiting(text) | Self::NeverStarts(text) => text,
        }
    }
}

fn never(text: &str) -> bool {
    // scontrol prints `_` for a blank.
    let sentence = text.replace('_', " ");
    let word = sentence.split([',', ' ', ':', '(']).next().unwrap_or_default();
    let no_reservation = word == "Reservation" && ["was deleted", "is invalid"].iter().any(|end| sentence.ends_with(end));
    NEVER.contains(&word) || limit_of_one_job(word) || no_reservation || NEVER_SENTENCES.iter().any(|part| sentence.contains(part))
}

/// `AssocMaxWallDurationPerJobLimit`, `QOSMaxGRESPerNode`, `QOSMinCpuNotSatisfied`, …: this one job is outside a limit, so that an
/// emptier queue does not help. Limits per user, per account and per group (`QOSMaxJobsPerUserLimit`, `AssocGrpGRES`) do wait: a
/// job that alone is above one of those cannot be told by its reason.
fn limit_of_one_job(word: &str) -> bool {
    let word = word.strip_suffix("Limit").unwrap_or(word);
    let most = ["AssocMax", "QOSMax"].iter().any(|prefix| word.starts_with(prefix));
    word.starts_with("QOSMin") || (most && ["PerJob", "PerNode"].iter().any(|suffix| word.ends_with(suffix)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every reason of Slurm's source, 22.05 to 26.05, and its sentences; each beside the class that we mean.
    const REASONS: &str = include_str!("../tests/fixtures/written-26.05-pending-reasons.txt");

    #[test]
    fn every_reason_of_slurm_is_judged_as_meant() {
        let mut judged = [0, 0];
        for line in REASONS.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (class, reason) = line.split_once(' ').expect("a class and a reason");
            // As squeue -O, squeue %R and scontrol print it.
            for reason in [reason.to_owned(), format!("({reason})"), reason.replace(' ', "_")] {
                match (class, PendingReason::parse(&reason)) {
                    ("waits", Some(PendingReason::Waiting(_))) => judged[0] += 1,
                    ("never", Some(PendingReason::NeverStarts(_))) => judged[1] += 1,
                    (_, other) => panic!("{reason} is meant as `{class}`: {other:?}"),
                }
            }
        }
        assert!(judged[0] > 3 * 140 && judged[1] > 3 * 60, "the list is cut: {judged:?}");
    }

    #[test]
    fn no_reason_yet_is_none_and_a_new_one_waits() {
        for reason in ["None", "", "(null)", "(None)", " "] {
            assert_eq!(PendingReason::parse(reason), None, "{reason}");
        }
        for reason in ["SomethingNew", "MaxPerJob", "QOS", "PartitionTimeLimitOfTheFuture", "AssocMaxTeaPerUser"] {
            assert_eq!(PendingReason::parse(reason), Some(PendingReason::Waiting(reason.to_owned())));
        }
    }

    #[test]
    fn the_words_are_kept() {
        let reason = PendingReason::parse("ReqNodeNotAvail, UnavailableNodes:node3").expect("a reason");
        assert_eq!(reason.text(), "ReqNodeNotAvail, UnavailableNodes:node3");
    }
}
