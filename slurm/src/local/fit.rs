//! Who may start now, and on which GPUs and CPUs. Pure. First come, first served: a job that does not fit holds back those behind it.

use serde::{Deserialize, Serialize};

use super::machine::Machine;
use super::request::Request;

/// What a running job has to itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Allotment {
    pub(super) gpus: Vec<String>,
    /// Empty: bound to none in particular.
    pub(super) cpus: Vec<usize>,
}

/// Decides in the order of `pending`: one answer for each, `None` for those that wait.
pub(super) fn fit(
    pending: &[&Request],
    running: &[(&Request, &Allotment)],
    machine: &Machine,
    jobs_at_once: usize,
) -> Vec<Option<Allotment>> {
    let mut taken: Vec<(Request, Allotment)> = running.iter().map(|(request, has)| ((*request).clone(), (*has).clone())).collect();
    let mut answers = Vec::new();
    for request in pending {
        let waits_behind = answers.last().is_some_and(Option::is_none);
        let allotment = if waits_behind { None } else { room(request, &taken, machine, jobs_at_once) };
        if let Some(allotment) = &allotment {
            taken.push(((*request).clone(), allotment.clone()));
        }
        answers.push(allotment);
    }
    answers
}

fn room(request: &Request, taken: &[(Request, Allotment)], machine: &Machine, jobs_at_once: usize) -> Option<Allotment> {
    let alone = request.exclusive || taken.iter().any(|(other, _)| other.exclusive);
    if taken.len() >= jobs_at_once || (alone && !taken.is_empty()) {
        return None;
    }
    let cpus: usize = taken.iter().map(|(other, _)| count(other)).sum();
    let memory: u64 = taken.iter().map(|(other, _)| other.memory_mb).sum();
    if cpus + count(request) > machine.cpus.len() || memory + request.memory_mb > machine.memory_mb {
        return None;
    }
    let free_gpus = machine.gpus.devices.iter().filter(|gpu| !taken.iter().any(|(_, has)| has.gpus.contains(gpu)));
    let gpus: Vec<String> = free_gpus.take(request.gpus as usize).cloned().collect();
    let free_cpus = machine.cpus.iter().filter(|cpu| !taken.iter().any(|(_, has)| has.cpus.contains(cpu)));
    let cpus: Vec<usize> = free_cpus.take(request.cpus.unwrap_or(0) as usize).copied().collect();
    (gpus.len() == request.gpus as usize && cpus.len() == request.cpus.unwrap_or(0) as usize).then_some(Allotment { gpus, cpus })
}

/// CPUs that a job counts for.
pub(super) fn count(request: &Request) -> usize {
    request.cpus.unwrap_or(1) as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn machine() -> Machine {
        Machine {
            host: "box".to_owned(),
            cpus: (0..8).collect(),
            memory_mb: 16_000,
            gpus: "2".parse().expect("GPUs"),
            boot_id: String::new(),
            user: String::new(),
        }
    }

    fn gpu_job(gpus: u32) -> Request {
        Request { gpus, ..Request::default() }
    }

    #[test]
    fn each_gpu_has_one_job_and_the_queue_keeps_its_order() {
        let (one, two) = (gpu_job(1), gpu_job(2));
        let answers = fit(&[&one, &one, &one], &[], &machine(), 8);
        let gpus: Vec<_> = answers.iter().map(|answer| answer.as_ref().map(|has| has.gpus.join(","))).collect();
        assert_eq!(gpus, [Some("0".to_owned()), Some("1".to_owned()), None]);

        let has = Allotment { gpus: vec!["0".to_owned()], cpus: Vec::new() };
        let answers = fit(&[&two, &one], &[(&one, &has)], &machine(), 8);
        assert_eq!(answers, [None, None], "GPU 1 is free, but the job that waits for two came first");
    }

    #[test]
    fn one_at_a_time_and_alone_are_kept() {
        let (plain, alone) = (Request::default(), Request { exclusive: true, ..Request::default() });
        let none = Allotment::default();
        let starts = |pending: &[&Request], running: &[(&Request, &Allotment)], jobs| {
            fit(pending, running, &machine(), jobs).iter().filter(|answer| answer.is_some()).count()
        };
        assert_eq!(starts(&[&plain, &plain], &[], 1), 1);
        assert_eq!(starts(&[&alone, &plain], &[], 8), 1);
        assert_eq!(starts(&[&alone], &[(&plain, &none)], 8), 0);
        assert_eq!(starts(&[&plain], &[(&alone, &none)], 8), 0);
        let half = Request { memory_mb: 9_000, ..Request::default() };
        assert_eq!(starts(&[&half, &half], &[], 8), 1);
    }

    proptest! {
        #[test]
        fn no_gpu_and_no_bound_cpu_is_ever_shared(asked in prop::collection::vec((0..3u32, prop::option::of(1..5u32), any::<bool>()), 0..12), jobs in 1..6usize) {
            let pending: Vec<Request> =
                asked.iter().map(|(gpus, cpus, exclusive)| Request { gpus: *gpus, cpus: *cpus, exclusive: *exclusive, ..Request::default() }).collect();
            let answers = fit(&pending.iter().collect::<Vec<_>>(), &[], &machine(), jobs);
            let given: Vec<_> = answers.iter().flatten().collect();
            prop_assert!(given.len() <= jobs);
            let mut gpus: Vec<_> = given.iter().flat_map(|has| &has.gpus).collect();
            let mut cpus: Vec<_> = given.iter().flat_map(|has| &has.cpus).collect();
            let (all_gpus, all_cpus) = (gpus.len(), cpus.len());
            gpus.sort();
            gpus.dedup();
            cpus.sort();
            cpus.dedup();
            prop_assert_eq!((gpus.len(), cpus.len()), (all_gpus, all_cpus));
            let first_waiting = answers.iter().position(Option::is_none).unwrap_or(answers.len());
            prop_assert!(answers[first_waiting..].iter().all(Option::is_none), "none overtakes");
        }
    }
}
