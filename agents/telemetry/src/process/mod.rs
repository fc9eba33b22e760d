//! CPU, memory, threads of a process tree, from `/proc`.
//!
//! The tree is every descendant of the root, and every member of its process group (a grandchild whose parent has died is adopted
//! by init, but keeps the group). **CPU** is own time plus that of waited-for children, over all members: what a child used passes
//! to its parent when it is waited for, so that the sum does not fall with it and short-lived children are not missed. It counts
//! in ticks of 10 ms. **Memory** is the proportional set size (`smaps_rollup`: pages shared by workers count once); reading it
//! walks the page tables, so it is read once a second, less often where that would take more than 1 % of a core, and holds until
//! the next reading; on kernels without it, resident set size.

mod stat;

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use stat::{Stat, read_stat};

/// New members are looked for, and memory is read, this often; known members are read with every sample.
const SCAN_EVERY: Duration = Duration::from_secs(1);
/// A reading of memory may cost one part in so many of the time until the next.
const MEMORY_SHARE: u32 = 100;

/// One reading of a tree.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct TreeSample {
    /// Mean since the sample before; absent in the first.
    pub(crate) cpu_cores: Option<f64>,
    pub(crate) memory_bytes: u64,
    pub(crate) threads: u32,
    pub(crate) processes: u32,
}

/// A process tree that is sampled again and again.
pub(crate) struct Tree {
    root: u32,
    /// Of the root, ticks since boot: a reused pid has another.
    root_started: u64,
    members: HashSet<u32>,
    next_scan: Instant,
    memory_bytes: u64,
    next_memory: Instant,
    /// CPU ticks of all members, and when they were read.
    last: Option<(u64, Instant)>,
    ticks_per_second: f64,
}

impl Tree {
    /// `None`: there is no such process.
    pub(crate) fn of(root: u32) -> Option<Self> {
        let stat = read_stat(root)?;
        let now = Instant::now();
        Some(Self {
            root,
            root_started: stat.started,
            members: HashSet::new(),
            next_scan: now,
            memory_bytes: 0,
            next_memory: now,
            last: None,
            ticks_per_second: rustix::param::clock_ticks_per_second() as f64,
        })
    }

    /// `None`: the root has ended.
    pub(crate) fn sample(&mut self) -> Option<TreeSample> {
        let now = Instant::now();
        if now >= self.next_scan {
            self.members = members_of(self.root);
            self.next_scan = now + SCAN_EVERY;
        }
        let stats: HashMap<u32, Stat> = self.members.iter().filter_map(|&pid| Some((pid, read_stat(pid)?))).collect();
        if stats.get(&self.root).is_none_or(|root| root.started != self.root_started || root.ended()) {
            return None;
        }
        if now >= self.next_memory {
            self.memory_bytes = memory(&stats);
            self.next_memory = now + SCAN_EVERY.max(now.elapsed() * MEMORY_SHARE);
        }
        let ticks = stats.values().map(|stat| stat.cpu_ticks).sum();
        let cpu_cores = self.last.map(|(before, at)| {
            // It falls only when a member is waited for outside of the tree: then this sample is too low, and no later one.
            let used = u64::saturating_sub(ticks, before) as f64 / self.ticks_per_second;
            used / now.duration_since(at).as_secs_f64().max(1e-6)
        });
        self.last = Some((ticks, now));
        let threads = stats.values().map(|stat| stat.threads).sum();
        let processes = u32::try_from(stats.len()).unwrap_or(u32::MAX);
        Some(TreeSample { cpu_cores, memory_bytes: self.memory_bytes, threads, processes })
    }
}

pub(crate) fn lives(pid: u32) -> bool {
    read_stat(pid).is_some_and(|stat| !stat.ended())
}

/// Whether a process is of the tree of `root`, as [`Tree`] counts them; seen from the process, which is cheap for a few.
pub(crate) fn belongs(pid: u32, root: u32) -> bool {
    let mut next = pid;
    // A chain of parents is short, and a reused pid could close it to a ring.
    for _ in 0..64 {
        let Some(stat) = read_stat(next) else { return false };
        if next == root || stat.group == root {
            return true;
        }
        next = stat.parent;
    }
    false
}

/// Descendants and group members of `root`, itself included.
fn members_of(root: u32) -> HashSet<u32> {
    let mut members = HashSet::from([root]);
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    let mut open = vec![root];
    for pid in all_pids() {
        let Some(stat) = read_stat(pid) else { continue };
        children.entry(stat.parent).or_default().push(pid);
        if stat.group == root && members.insert(pid) {
            open.push(pid);
        }
    }
    while let Some(parent) = open.pop() {
        for &child in children.get(&parent).into_iter().flatten() {
            if members.insert(child) {
                open.push(child);
            }
        }
    }
    members
}

fn all_pids() -> impl Iterator<Item = u32> {
    std::fs::read_dir("/proc").into_iter().flatten().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// Proportional set size of all members, or resident set size of all where one cannot say (two measures are not added up).
fn memory(stats: &HashMap<u32, Stat>) -> u64 {
    let living = || stats.iter().filter(|(_, stat)| !stat.ended());
    let proportional: Option<u64> = living().map(|(&pid, _)| proportional_bytes(pid)).sum();
    proportional.unwrap_or_else(|| living().map(|(_, stat)| stat.resident_bytes).sum())
}

/// `Some(0)` for a process that has just ended.
fn proportional_bytes(pid: u32) -> Option<u64> {
    match std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")) {
        Ok(text) => {
            let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
            Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1_024)
        }
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) => Some(0),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && read_stat(pid).is_none() => Some(0),
        Err(_) => None,
    }
}
