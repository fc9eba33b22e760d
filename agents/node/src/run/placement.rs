//! Which cores the load generator and the service run on. With four or more they get cores of their own, whole physical
//! cores each, so that neither steals from the other; with fewer they share, and the measurement says so.

use std::collections::BTreeMap;
use std::fs;

use rustix::thread::{CpuSet, sched_getaffinity};

/// `None`: not pinned, all allowed cores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Placement {
    pub(crate) generator: Option<Vec<u32>>,
    pub(crate) service: Option<Vec<u32>>,
    allowed: Vec<u32>,
}

impl Placement {
    /// For the cores that this process may use.
    pub(crate) fn of_this_process() -> Self {
        let allowed = allowed_cores();
        let mut by_core: BTreeMap<String, Vec<u32>> = BTreeMap::new();
        for &core in &allowed {
            let siblings = format!("/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list");
            let key = fs::read_to_string(siblings).map_or_else(|_| core.to_string(), |text| text.trim().to_owned());
            by_core.entry(key).or_default().push(core);
        }
        let mut groups: Vec<Vec<u32>> = by_core.into_values().collect();
        groups.sort();
        place(&groups)
    }

    /// For the environment capsule.
    pub(crate) fn describe(&self) -> String {
        match (&self.generator, &self.service) {
            (Some(generator), Some(service)) => {
                format!("generator on cores {}, service on cores {}", list(generator), list(service))
            }
            _ => format!("generator and service share cores {}", list(&self.allowed)),
        }
    }
}

/// `groups`: allowed hardware threads by physical core. The generator gets a quarter, at most eight.
fn place(groups: &[Vec<u32>]) -> Placement {
    let mut allowed = groups.concat();
    allowed.sort_unstable();
    if allowed.len() < 4 || groups.len() < 2 {
        return Placement { generator: None, service: None, allowed };
    }
    let wanted = (allowed.len() / 4).clamp(1, 8);
    let (mut generator, mut service) = (Vec::new(), Vec::new());
    for group in groups {
        let target = if generator.len() < wanted { &mut generator } else { &mut service };
        target.extend_from_slice(group);
    }
    generator.sort_unstable();
    service.sort_unstable();
    Placement { generator: Some(generator), service: Some(service), allowed }
}

fn allowed_cores() -> Vec<u32> {
    let Ok(set) = sched_getaffinity(None) else { return Vec::new() };
    (0..CpuSet::MAX_CPU).filter(|&core| set.is_set(core)).filter_map(|core| u32::try_from(core).ok()).collect()
}

/// `0-3,8` as Linux writes core lists.
fn list(cores: &[u32]) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut begin = 0;
    for end in 0..cores.len() {
        if cores.get(end + 1) != Some(&(cores[end] + 1)) {
            let (first, last) = (cores[begin], cores[end]);
            parts.push(if first == last { first.to_string() } else { format!("{first}-{last}") });
            begin = end + 1;
        }
    }
    parts.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alone(cores: impl IntoIterator<Item = u32>) -> Vec<Vec<u32>> {
        cores.into_iter().map(|core| vec![core]).collect()
    }

    #[test]
    fn few_cores_are_shared_and_said_to_be() {
        let placement = place(&alone([2, 3]));
        assert_eq!((&placement.generator, &placement.service), (&None, &None));
        assert_eq!(placement.describe(), "generator and service share cores 2-3");
    }

    #[test]
    fn from_four_cores_on_nothing_is_shared() {
        for cores in 4..64 {
            let placement = place(&alone(0..cores));
            let (generator, service) = (placement.generator.expect("pinned"), placement.service.expect("pinned"));
            assert!(!generator.is_empty() && generator.len() <= 8 && service.len() >= generator.len());
            assert!(generator.iter().all(|core| !service.contains(core)));
            assert_eq!(generator.len() + service.len(), cores as usize);
        }
    }

    #[test]
    fn threads_of_one_physical_core_stay_together() {
        let placement = place(&[vec![0, 4], vec![1, 5], vec![2, 6], vec![3, 7]]);
        assert_eq!(placement.describe(), "generator on cores 0,4, service on cores 1-3,5-7");
        assert_eq!(place(&[vec![0, 1, 2, 3]]).generator, None, "one physical core cannot be split");
    }
}
