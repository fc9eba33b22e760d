//! How many experiments may have jobs at one time: of the whole server, and for each value of a label. Those beyond wait, the one
//! with the highest priority first, then the oldest. Pure.

use std::collections::{BTreeMap, HashMap};

use em_api::ExperimentUid;

use super::world::{Step, View, World};
use crate::store::attempts::EndKind;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// All together.
    pub experiments: Option<u32>,
    /// By the key of a label: so many for each of its values.
    pub by_label: BTreeMap<String, u32>,
}

/// Why an experiment waits for its turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wait {
    pub(super) message: String,
}

/// Places up to here are told exactly: else each end would change what thousands show.
const EXACT_PLACES: usize = 20;

/// The experiments that may not start now.
pub(super) fn waiting(world: &World) -> HashMap<ExperimentUid, Wait> {
    let limits = &world.knobs.limits;
    let mut waits = HashMap::new();
    if *limits == Limits::default() {
        return waits;
    }
    let mut used: HashMap<Group<'_>, u32> = HashMap::new();
    for group in world.experiments.iter().filter(|view| active(view)).flat_map(|view| groups(limits, view)) {
        *used.entry(group).or_default() += 1;
    }
    let mut queues: HashMap<Group<'_>, usize> = HashMap::new();
    for view in world.experiments.iter().filter(|view| wants_to_start(view)) {
        let full = groups(limits, view).find(|group| used.get(group).copied().unwrap_or(0) >= group.most);
        match full {
            None => groups(limits, view).for_each(|group| *used.entry(group).or_default() += 1),
            Some(group) => {
                let place = queues.entry(group).or_default();
                *place += 1;
                let message = group.words(used.get(&group).copied().unwrap_or(0), *place);
                waits.insert(view.open.stored.uid, Wait { message });
            }
        }
    }
    waits
}

/// What is counted together: everything, or what has one value of a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Group<'a> {
    label: Option<(&'a str, &'a str)>,
    most: u32,
}

fn groups<'a>(limits: &'a Limits, view: &'a View) -> impl Iterator<Item = Group<'a>> {
    let all = limits.experiments.map(|most| Group { label: None, most });
    let labels = &view.open.stored.labels;
    let of_label = |(key, most): (&'a String, &'a u32)| {
        let value = labels.get(key)?;
        Some(Group { label: Some((key, value)), most: *most })
    };
    all.into_iter().chain(limits.by_label.iter().filter_map(of_label))
}

impl Group<'_> {
    fn words(&self, used: u32, place: usize) -> String {
        let place = if place <= EXACT_PLACES {
            format!("place {place} among those that wait")
        } else {
            format!("more than {} others wait before it", rounded(place - 1))
        };
        match self.label {
            None => {
                format!("{used} of {} experiments are active (--max-active-experiments): {place}, by priority and age", self.most)
            }
            Some((key, value)) => format!(
                "{used} of {} experiments with {key}={value} are active (--max-active {key}={}): {place}, by priority and age",
                self.most, self.most
            ),
        }
    }
}

/// Down to 20, 50, 100, 200, 500, …
fn rounded(number: usize) -> usize {
    let mut step = EXACT_PLACES;
    for factor in [5, 2, 2].iter().cycle() {
        let next = if *factor == 5 { step / 2 * 5 } else { step * 2 };
        if next > number {
            return step;
        }
        step = next;
    }
    step
}

/// It has a job, or is between two jobs of one run. What was paused takes its turn anew.
fn active(view: &View) -> bool {
    let attempts = &view.open.attempts;
    if attempts.iter().any(|attempt| !attempt.ended()) {
        return true;
    }
    let last = attempts.iter().max_by_key(|attempt| attempt.id).and_then(|attempt| attempt.end());
    let goes_on = last.is_some_and(|(end, _)| end.kind != EndKind::Cancelled);
    goes_on && !view.unwanted() && !view.open.stored.phase.ended()
}

/// One that prepares, or cannot be decided about, takes nobody's turn.
fn wants_to_start(view: &View) -> bool {
    let ready = !view.lacks_inputs() && !view.rests(Step::Inputs) && !view.rests(Step::Decide);
    ready && !active(view) && !view.unwanted() && !view.open.stored.phase.ended()
}

#[cfg(test)]
mod tests {
    use super::rounded;

    #[test]
    fn many_are_told_in_round_numbers() {
        for (number, wanted) in [(20, 20), (49, 20), (50, 50), (99, 50), (100, 100), (499, 200), (500, 500), (12_345, 10_000)] {
            assert_eq!(rounded(number), wanted, "{number}");
        }
    }
}
