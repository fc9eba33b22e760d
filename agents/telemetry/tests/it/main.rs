//! Sampling real processes. What is seen is held against the kernel's own account of the same processes, not against a clock:
//! on a busy box a child that wants a whole core gets what it gets.

mod gpus;

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use em_api::Timestamp;
use em_api::measurement::{Resource, Series};
use em_telemetry::{Exposition, Sampler, Snapshot, Target, environment, visible_gpus};

/// A shell that leads its own process group, killed with it.
struct Group(Child);

impl Group {
    fn shell(script: &str) -> Self {
        let child = Command::new("sh").args(["-c", script]).process_group(0).stdout(Stdio::null()).spawn();
        Self(child.expect("a shell"))
    }

    fn sampler(&self) -> Sampler {
        Sampler::start(Target { root_pid: Some(self.0.id()), gpus: true }, Duration::from_millis(100)).expect("a thread")
    }

    /// CPU seconds of the shell and the children it has waited for.
    fn cpu_s(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0.id())).expect("the shell lives");
        let fields: Vec<&str> = stat[stat.rfind(')').expect("a name") + 1..].split_whitespace().collect();
        let ticks: u64 = fields[11..15].iter().map(|field| field.parse::<u64>().expect("ticks")).sum();
        ticks as f64 / rustix::param::clock_ticks_per_second() as f64
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let group = rustix::process::Pid::from_child(&self.0);
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        let _ = self.0.wait();
    }
}

/// CPU seconds in a series: each sample is the mean since the one before.
fn integral(series: &Series) -> f64 {
    let times = series.t_ms.windows(2).map(|pair| (pair[1] - pair[0]) as f64 / 1000.0);
    times.zip(&series.columns["cpu_cores"][1..]).map(|(seconds, cores)| seconds * cores.unwrap_or(0.0)).sum()
}

fn until(sampler: &Sampler, what: &str, seen: impl Fn(&Snapshot) -> bool) -> Snapshot {
    let begin = Instant::now();
    loop {
        if let Some(last) = sampler.latest()
            && seen(&last)
        {
            return last;
        }
        assert!(begin.elapsed() < Duration::from_secs(30), "{what} was not seen: {:?}", sampler.latest());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Samples for two seconds; returns CPU seconds as sampled and as the kernel counted.
fn sampled_and_true(group: &Group) -> (f64, f64) {
    let sampler = group.sampler();
    until(&sampler, "a first sample", |last| last.cpu_cores.is_some());
    let (from, before) = (Timestamp::now(), group.cpu_s());
    std::thread::sleep(Duration::from_secs(2));
    let (to, after) = (Timestamp::now(), group.cpu_s());
    let series = sampler.series(from, to);
    assert_eq!(series.resource, Resource::Process, "no GPU here");
    assert!(series.t_ms.len() >= 8, "sampled at 10 Hz: {:?}", series.t_ms);
    assert!(series.t_ms.iter().all(|t| (0..=2_500).contains(t)) && series.t_ms.is_sorted());
    assert!(!series.columns.keys().any(|name| name.starts_with("gpu")), "GPU columns are absent, not zero");
    (integral(&series), after - before)
}

#[test]
fn a_busy_child_reads_as_the_cpu_it_got() {
    let (sampled, truth) = sampled_and_true(&Group::shell("while :; do :; done"));
    assert!(truth > 0.2, "the child got {truth} s of CPU");
    assert!((sampled - truth).abs() < 0.35, "{sampled} s sampled, {truth} s used");
}

/// None of the children lives long enough for the scan of once a second; their time arrives through their parent.
#[test]
fn children_that_come_and_go_are_not_missed() {
    let group = Group::shell("while :; do sh -c 'i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done'; done");
    let (sampled, truth) = sampled_and_true(&group);
    assert!(truth > 0.2, "the children got {truth} s of CPU");
    assert!((sampled - truth).abs() < 0.35, "{sampled} s sampled, {truth} s used");
}

/// `tail` keeps the 200 MB that have no line end, and is stuck with them because nobody reads what it writes.
#[test]
fn memory_of_a_grandchild_is_seen() {
    let group = Group::shell("sh -c 'head -c 200000000 /dev/zero | tail | sleep 60; :'; :");
    let sampler = group.sampler();
    let last = until(&sampler, "200 MB", |last| last.memory_bytes >= Some(200_000_000));
    assert!(last.memory_bytes < Some(600_000_000), "{last:?}");
    assert!(last.processes >= Some(4) && last.threads >= last.processes, "{last:?}");
}

/// A daemon's way: the middle process ends, init adopts the grandchild; only the group still tells whose it is.
#[test]
fn an_orphan_of_the_group_still_counts() {
    let group = Group::shell("(sleep 60 & sleep 61 &) ; exec sleep 62");
    let last = until(&group.sampler(), "the orphans", |last| last.processes == Some(3));
    assert_eq!(last.threads, Some(3));
}

#[test]
fn the_series_ends_with_its_root() {
    let mut group = Group::shell("sleep 1");
    let sampler = group.sampler();
    let from = Timestamp::now();
    until(&sampler, "the child", |last| last.processes >= Some(1));
    group.0.wait().expect("the child ends");
    let begin = Instant::now();
    while sampler.latest().is_some() {
        assert!(begin.elapsed() < Duration::from_secs(10), "still sampling");
        std::thread::sleep(Duration::from_millis(20));
    }
    let series = sampler.series(from, Timestamp::now());
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(sampler.series(from, Timestamp::now()).t_ms, series.t_ms, "no sample after the end");
    assert!(!series.t_ms.is_empty());
    sampler.stop();
}

#[test]
fn a_target_that_is_not_there_gives_nothing_and_no_panic() {
    for root_pid in [None, Some(u32::MAX)] {
        let sampler = Sampler::start(Target { root_pid, gpus: true }, Duration::from_millis(10)).expect("a thread");
        std::thread::sleep(Duration::from_millis(200));
        assert_eq!(sampler.latest(), None);
        assert!(sampler.series(Timestamp::UNIX_EPOCH, Timestamp::now()).columns.is_empty());
    }
}

/// True on machines without an NVIDIA driver; where there is one, what it lists must be complete.
#[test]
fn the_machine_is_described() {
    let gpus = visible_gpus().expect("no library means no GPUs");
    assert_eq!(gpus.is_empty(), !std::path::Path::new("/proc/driver/nvidia/version").exists());
    let machine = environment();
    assert_eq!(machine.gpus, gpus);
    assert_eq!(machine.driver.is_some(), !gpus.is_empty());
    assert!(!machine.node.is_empty() && !machine.cpu_model.is_empty() && !machine.kernel.is_empty(), "{machine:?}");
    assert!(machine.cores_allowed >= 1 && machine.memory_bytes > 1 << 28, "{machine:?}");
}

#[test]
fn prometheus_sees_what_is_there_and_nothing_else() {
    let group = Group::shell("exec sleep 60");
    let sampler = group.sampler();
    let registry = prometheus::Registry::new();
    let exposition = Exposition::register(&registry).expect("new names");
    until(&sampler, "a second sample", |last| last.cpu_cores.is_some());
    exposition.observe(&sampler.latest().expect("a sample"));
    let text = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).expect("encodes");
    for name in ["em_process_cpu_cores ", "em_process_memory_bytes ", "em_process_threads 1\n"] {
        assert!(text.contains(name), "{name} in\n{text}");
    }
    assert!(!text.contains("em_gpu_"), "no GPU, no line:\n{text}");
    exposition.clear();
    assert!(registry.gather().is_empty(), "no service, no line");
    assert!(Exposition::register(&registry).is_err());
}
