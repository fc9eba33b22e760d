//! What goes wrong again and again for one experiment: it rests for a while, longer each time, and says why; all others go on. Kept
//! in memory: a new start tries everything at once.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use em_api::ExperimentUid;
use rand::Rng as _;

use super::world::{Action, Step, Trouble};
use crate::store::experiments::Stored;

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Slurm is asked by the pace of listings anyway.
const LONGEST_CANCEL_PAUSE: Duration = Duration::from_secs(8);
/// A trouble that was not met again for so long after its rest is over.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(super) struct Troubles(HashMap<(ExperimentUid, Step), Entry>);

#[derive(Debug)]
struct Entry {
    failures: u32,
    rests_until: Instant,
    /// What the user wanted then: another wish is tried at once.
    wish: (u64, bool),
    reason: &'static str,
    message: String,
}

fn wish(stored: &Stored) -> (u64, bool) {
    (stored.generation, stored.deleted_at.is_some())
}

impl Troubles {
    /// A step failed: the experiment rests in it. Whether that is news.
    pub(super) fn failed(&mut self, now: Instant, stored: &Stored, step: Step, reason: &'static str, message: String) -> bool {
        let before = self.0.get(&(stored.uid, step));
        let news = before.is_none_or(|before| before.reason != reason);
        let failures = before.map_or(0, |before| before.failures).saturating_add(1);
        let entry = Entry { failures, rests_until: now + pause(step, failures), wish: wish(stored), reason, message };
        self.0.insert((stored.uid, step), entry);
        news
    }

    pub(super) fn succeeded(&mut self, uid: ExperimentUid, step: Step) {
        self.0.remove(&(uid, step));
    }

    /// Of one experiment, in a fixed order.
    pub(super) fn of(&self, now: Instant, stored: &Stored) -> Vec<Trouble> {
        let found = Step::ALL.iter().filter_map(|step| Some((*step, self.0.get(&(stored.uid, *step))?)));
        found
            .map(|(step, entry)| Trouble {
                step,
                reason: entry.reason,
                message: entry.message.clone(),
                rests: now < entry.rests_until && entry.wish == wish(stored),
            })
            .collect()
    }

    /// When the next one may be tried again.
    pub(super) fn next_due(&self, now: Instant) -> Option<Instant> {
        self.0.values().map(|entry| entry.rests_until).filter(|until| *until > now).min()
    }

    /// Forgets what is over: experiments that are gone, steps that nobody wants any more.
    pub(super) fn tidy(&mut self, now: Instant, open: &HashSet<ExperimentUid>) {
        self.0.retain(|(uid, _), entry| open.contains(uid) && now < entry.rests_until + FORGOTTEN_AFTER);
    }
}

/// Doubles with each failure; a fifth more or less, so that what failed together is not tried together.
fn pause(step: Step, failures: u32) -> Duration {
    let longest = if step == Step::Cancel { LONGEST_CANCEL_PAUSE } else { LONGEST_PAUSE };
    let doubled = FIRST_PAUSE.saturating_mul(1_u32.checked_shl(failures.saturating_sub(1).min(16)).unwrap_or(u32::MAX));
    doubled.min(longest).mul_f64(rand::rng().random_range(0.8..1.2))
}

impl Step {
    pub(super) const ALL: [Self; 8] =
        [Self::Decide, Self::Inputs, Self::Record, Self::Submit, Self::Cancel, Self::Collect, Self::Show, Self::Remove];

    /// The step that an action is; `None` for those of no experiment.
    pub(super) fn of(action: &Action) -> Option<Self> {
        Some(match action {
            Action::CreateAttempt { .. } | Action::Move { .. } => Self::Record,
            Action::Submit { .. } => Self::Submit,
            Action::CancelJob { .. } | Action::CancelDuplicate { .. } => Self::Cancel,
            Action::ReadSpool { .. } => Self::Collect,
            Action::Show { .. } => Self::Show,
            Action::Remove { .. } => Self::Remove,
            Action::CancelStray { .. } => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::stored;
    use super::*;

    #[test]
    fn pauses_grow_to_a_minute_and_differ() {
        let seconds = |failures| pause(Step::Submit, failures).as_secs_f64();
        assert!((0.8..1.2).contains(&seconds(1)) && (3.2..4.8).contains(&seconds(3)));
        assert!((48.0..72.0).contains(&seconds(500)), "bounded");
        assert!(pause(Step::Cancel, 500) < Duration::from_secs(10));
        assert!((0..20).any(|_| seconds(9) != seconds(9)), "with jitter");
    }

    #[test]
    fn a_trouble_rests_until_its_pause_is_over_the_user_changes_the_wish_or_it_succeeds() {
        let (mut troubles, mut stored, now) = (Troubles::default(), stored(), Instant::now());
        assert!(troubles.failed(now, &stored, Step::Submit, "Disk", "full".to_owned()), "news");
        assert!(!troubles.failed(now, &stored, Step::Submit, "Disk", "full".to_owned()), "the same again is none");
        let rests = |troubles: &Troubles, stored: &Stored, at| troubles.of(at, stored).first().map(|one| one.rests);
        assert_eq!(rests(&troubles, &stored, now), Some(true));
        assert_eq!(rests(&troubles, &stored, now + Duration::from_secs(3)), Some(false), "tried again, and still told");
        stored.generation += 1;
        assert_eq!(rests(&troubles, &stored, now), Some(false));
        troubles.tidy(now, &HashSet::from([stored.uid]));
        assert_eq!(troubles.of(now, &stored).len(), 1);
        troubles.tidy(now + Duration::from_secs(70), &HashSet::from([stored.uid]));
        assert!(troubles.of(now, &stored).is_empty(), "nobody met it again");
        troubles.failed(now, &stored, Step::Submit, "Disk", "full".to_owned());
        troubles.succeeded(stored.uid, Step::Submit);
        assert!(troubles.of(now, &stored).is_empty());
    }
}
