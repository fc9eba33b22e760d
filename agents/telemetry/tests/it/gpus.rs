//! Sampling GPUs, against a FAKE NVML (`tests/fake_nvml/nvml.c`) that `cc` builds here. The loader reads `LD_LIBRARY_PATH` when a
//! process starts, so each test runs again in a child of its own that finds the fake.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use em_api::Timestamp;
use em_api::measurement::{GpuInfo, Resource, Series, Spread};
use em_telemetry::{Exposition, Sampler, Target, environment, visible_gpus};

const H100: &str = "GPU-fa4e0000-0000-0000-0000-00000000aaaa";
const A100: &str = "GPU-fa4e0000-0000-0000-0000-00000000bbbb";
const SLICE: &str = "MIG-fa4e0000-0000-0000-0000-00000000cccc";
/// Set in the child.
const CHILD: &str = "EM_TEST_FAKE_NVML";

/// Runs `body` in a child of the test `name` where the fake answers as `script` says.
fn with_fake(name: &str, script: &[(&str, &str)], body: fn()) {
    if std::env::var_os(CHILD).is_some() {
        return body();
    }
    let output = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", &format!("gpus::{name}"), "--nocapture"])
        .env_remove("CUDA_VISIBLE_DEVICES")
        .envs(script.iter().copied())
        .env(CHILD, "1")
        .env("LD_LIBRARY_PATH", fake())
        .output()
        .expect("a child");
    let told = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && told.contains("1 passed"), "{told}");
}

/// The folder that holds the fake.
fn fake() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fake-nvml-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fake_nvml/nvml.c");
        let mut compiler = Command::new("cc");
        compiler.args(["-std=gnu11", "-O1", "-shared", "-fPIC", "-o"]).arg(folder.join("libnvidia-ml.so.1")).arg(source);
        assert!(compiler.status().expect("cc").success());
        folder
    })
}

/// What three seconds of sampling give.
fn sampled(root_pid: Option<u32>) -> Series {
    let sampler = Sampler::start(Target { root_pid, gpus: true }, Duration::from_millis(100)).expect("a thread");
    // The first second has no GPM yet: a metric is a difference.
    std::thread::sleep(Duration::from_millis(1_200));
    let from = Timestamp::now();
    std::thread::sleep(Duration::from_secs(3));
    sampler.series(from, Timestamp::now())
}

fn values(series: &Series, column: &str) -> Vec<f64> {
    series
        .columns
        .get(column)
        .unwrap_or_else(|| panic!("{column} in {:?}", series.columns.keys()))
        .iter()
        .flatten()
        .copied()
        .collect()
}

fn all(series: &Series, column: &str, expected: f64) {
    let values = values(series, column);
    assert!(!values.is_empty() && values.iter().all(|value| (value / expected - 1.0).abs() < 1e-9), "{column}: {values:?}");
}

/// Samples a second of a column, and the longest gap between two, seconds.
fn pace(series: &Series, column: &str) -> (f64, f64) {
    let known = series.t_ms.iter().zip(&series.columns[column]).filter(|(_, value)| value.is_some());
    let times: Vec<f64> = known.map(|(at, _)| *at as f64 / 1e3).collect();
    let gaps = times.windows(2).map(|pair| pair[1] - pair[0]);
    ((times.len() - 1) as f64 / (times[times.len() - 1] - times[0]), gaps.fold(0.0, f64::max))
}

#[test]
fn two_gpus_are_sampled_ten_times_a_second_with_their_own_values() {
    with_fake("two_gpus_are_sampled_ten_times_a_second_with_their_own_values", &[("FAKE_THROTTLE", "0x40")], || {
        let series = sampled(None);
        assert_eq!(series.resource, Resource::Gpu);
        assert!(series.t_ms.is_sorted());
        for (column, expected) in [
            ("gpu0_utilization_ratio", 0.4),
            ("gpu1_utilization_ratio", 0.6),
            ("gpu0_memory_utilization_ratio", 0.3),
            ("gpu0_memory_used_bytes", 10.0 * 1_073_741_824.0),
            ("gpu0_memory_reserved_bytes", 600.0 * 1_048_576.0),
            ("gpu0_sm_clock_hertz", 1.5e9),
            ("gpu1_sm_clock_hertz", 1.501e9),
            ("gpu0_memory_clock_hertz", 2.619e9),
            ("gpu0_temperature_celsius", 61.0),
            ("gpu1_temperature_celsius", 62.0),
            ("gpu0_throttle_reasons", 64.0),
            // GPM on the first; the second has the counter of 20 ms.
            ("gpu0_sm_activity_ratio", 0.415),
            ("gpu0_tensor_activity_ratio", 0.1225),
            ("gpu0_dram_activity_ratio", 0.33),
            ("gpu0_pcie_tx_bytes_per_s", 512.0 * 1_048_576.0),
            ("gpu0_pcie_rx_bytes_per_s", 1_024.0 * 1_048_576.0),
            ("gpu1_pcie_tx_bytes_per_s", 1e6),
            ("gpu1_pcie_rx_bytes_per_s", 2e6),
        ] {
            all(&series, column, expected);
        }
        for absent in ["gpu1_sm_activity_ratio", "gpu1_tensor_activity_ratio", "gpu0_foreign_processes", "cpu_cores"] {
            assert!(!series.columns.contains_key(absent), "{absent}");
        }
        for column in ["gpu0_power_watts", "gpu1_throttle_reasons"] {
            let (rate, _) = pace(&series, column);
            assert!(rate > 9.7, "{column} at {rate} Hz: {:?}", series.t_ms);
        }
        let (rate, gap) = pace(&series, "gpu0_energy_joules");
        assert!((0.9..1.1).contains(&rate) && gap < 1.3, "what is dear once a second: {rate} Hz, a gap of {gap} s");
        let used = series.sampler_cpu_ratio.expect("measured");
        // The fake burns 5 ms a second and GPU in the energy counter.
        assert!((0.008..0.2).contains(&used), "{used} cores");
    });
}

#[test]
fn seconds_have_a_lowest_a_mean_and_a_highest() {
    with_fake("seconds_have_a_lowest_a_mean_and_a_highest", &[], || {
        let series = sampled(None);
        let seconds = &series.per_second()["gpu0_power_watts"];
        assert!((3..=4).contains(&seconds.len()), "{seconds:?}");
        // Ten readings from 200 to 380 W in steps of 20; a second may have got one less.
        let near = |spread: &Spread| spread.min <= 220.0 && spread.max >= 360.0 && (spread.mean - 290.0).abs() < 20.0;
        let found = seconds[..3].iter().flatten().filter(|spread| near(spread)).count();
        assert_eq!(found, 3, "{seconds:?}");
        assert_eq!(series.per_second()["gpu0_energy_joules"].iter().take(3).flatten().count(), 3, "one reading is all three");
    });
}

/// 250 W by the fake's counter: two readings seconds apart must say the same.
#[test]
fn energy_is_timed_where_it_is_read() {
    with_fake("energy_is_timed_where_it_is_read", &[("FAKE_SLOW", "energy:300")], || {
        let series = sampled(None);
        let column = &series.columns["gpu0_energy_joules"];
        let read: Vec<(f64, f64)> =
            series.t_ms.iter().zip(column).filter_map(|(at, value)| Some((*at as f64 / 1e3, (*value)?))).collect();
        let ((first, before), (last, after)) = (read[0], read[read.len() - 1]);
        let watts = (after - before) / (last - first);
        assert!((watts / 250.0 - 1.0).abs() < 0.02, "{watts} W of 250: {read:?}");
        let (rate, _) = pace(&series, "gpu0_power_watts");
        assert!(rate > 9.7, "a slow counter holds up nobody: {rate} Hz");
    });
}

#[test]
fn a_call_that_is_slow_here_is_made_once_a_second_and_the_others_keep_their_pace() {
    let name = "a_call_that_is_slow_here_is_made_once_a_second_and_the_others_keep_their_pace";
    with_fake(name, &[("FAKE_SLOW", "power:150")], || {
        let series = sampled(None);
        let (rate, gap) = pace(&series, "gpu0_utilization_ratio");
        assert!(rate > 9.7 && gap < 0.25, "{rate} Hz, a gap of {gap} s");
        let (rate, _) = pace(&series, "gpu0_power_watts");
        assert!((0.8..1.2).contains(&rate), "{rate} Hz");
    });
}

#[test]
fn a_process_of_the_services_own_is_not_foreign() {
    let service = super::Group::shell("sleep 60 & wait");
    let pid = service.0.id().to_string();
    let script = [("FAKE_PIDS", pid.as_str()), ("SERVICE", &pid)];
    with_fake("a_process_of_the_services_own_is_not_foreign", &script, || processes(1, 0));
}

#[test]
fn a_process_of_somebody_else_is_foreign() {
    let service = super::Group::shell("sleep 60 & wait");
    let pid = service.0.id().to_string();
    let both = format!("{pid},{}", std::process::id());
    let script = [("FAKE_PIDS", both.as_str()), ("SERVICE", &pid)];
    with_fake("a_process_of_somebody_else_is_foreign", &script, || processes(2, 1));
}

/// On the first GPU; nobody is on the second.
fn processes(all: u32, foreign: u32) {
    let series = sampled(std::env::var("SERVICE").expect("set").parse().ok());
    let same = |column: &str, expected: u32| {
        let found = values(&series, column);
        assert!(found.len() >= 2 && found.iter().all(|count| *count == f64::from(expected)), "{column}: {found:?}");
    };
    same("gpu0_processes", all);
    same("gpu0_foreign_processes", foreign);
    same("gpu1_foreign_processes", 0);
}

fn uuids() -> Vec<(u32, String)> {
    visible_gpus().expect("the fake answers").into_iter().map(|gpu| (gpu.index, gpu.uuid)).collect()
}

#[test]
fn cuda_visible_devices_by_index() {
    with_fake("cuda_visible_devices_by_index", &[("CUDA_VISIBLE_DEVICES", "1")], || {
        assert_eq!(uuids(), [(1, A100.to_owned())]);
        let series = sampled(None);
        assert!(series.columns.contains_key("gpu1_power_watts") && !series.columns.contains_key("gpu0_power_watts"));
    });
}

#[test]
fn cuda_visible_devices_by_uuid() {
    with_fake(
        "cuda_visible_devices_by_uuid",
        &[("CUDA_VISIBLE_DEVICES", concat!("GPU-fa4e0000-0000-0000-0000-00000000b", ",0"))],
        || {
            assert_eq!(uuids(), [(1, A100.to_owned()), (0, H100.to_owned())]);
        },
    );
}

/// A slice has memory and processes of its own; clocks, heat and what slows them are those of the whole GPU, power is nobody's.
#[test]
fn a_mig_slice_is_named_by_its_uuid() {
    with_fake("a_mig_slice_is_named_by_its_uuid", &[("CUDA_VISIBLE_DEVICES", SLICE)], || {
        assert_eq!(uuids(), [(0, SLICE.to_owned())]);
        let gpu = &environment().gpus[0];
        assert_eq!((gpu.name.as_str(), gpu.memory_bytes, gpu.mig), ("Fake A100 MIG 1g.5gb", 5 << 30, Some(true)));
        let series = sampled(None);
        all(&series, "gpu0_memory_used_bytes", 1_073_741_824.0);
        all(&series, "gpu0_sm_clock_hertz", 1.501e9);
        all(&series, "gpu0_temperature_celsius", 62.0);
        assert!(!series.columns.contains_key("gpu0_power_watts") && !series.columns.contains_key("gpu0_energy_joules"));
    });
}

#[test]
fn the_environment_tells_clocks_ecc_mig_and_the_driver() {
    with_fake("the_environment_tells_clocks_ecc_mig_and_the_driver", &[], || {
        let machine = environment();
        assert_eq!((machine.driver.as_deref(), machine.extra["cuda_driver"].as_str()), (Some("580.00.fake"), "13.1"));
        let h100 = GpuInfo {
            index: 0,
            uuid: H100.to_owned(),
            name: "Fake H100".to_owned(),
            memory_bytes: 80 << 30,
            max_sm_clock_hertz: Some(1.98e9),
            max_memory_clock_hertz: Some(2.619e9),
            power_limit_watts: Some(700.0),
            ecc: Some(true),
            mig: Some(false),
        };
        assert_eq!(machine.gpus[0], h100);
        assert_eq!((machine.gpus[1].ecc, machine.gpus[1].mig), (None, Some(true)), "what a GPU does not tell is absent");
    });
}

#[test]
fn a_library_without_a_driver_means_no_gpus() {
    with_fake("a_library_without_a_driver_means_no_gpus", &[("FAKE_NO_DRIVER", "1")], || {
        assert_eq!(visible_gpus().expect("no error"), []);
    });
}

#[test]
fn prometheus_sees_the_gpus() {
    with_fake("prometheus_sees_the_gpus", &[], || {
        let sampler = Sampler::start(Target { root_pid: None, gpus: true }, Duration::from_millis(100)).expect("a thread");
        let registry = prometheus::Registry::new();
        let exposition = Exposition::register(&registry).expect("new names");
        std::thread::sleep(Duration::from_millis(1_500));
        exposition.observe(&sampler.latest().expect("a sample"));
        std::thread::sleep(Duration::from_millis(1_500));
        exposition.observe(&sampler.latest().expect("a sample"));
        let text = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).expect("encodes");
        for line in [
            format!("em_gpu_utilization_ratio{{gpu=\"0\",uuid=\"{H100}\"}} 0.4\n"),
            format!("em_gpu_sm_activity_ratio{{gpu=\"0\",uuid=\"{H100}\"}} 0.415\n"),
            format!("em_gpu_pcie_rx_bytes_per_second{{gpu=\"1\",uuid=\"{A100}\"}} 2000000\n"),
        ] {
            assert!(text.contains(&line), "{line}in\n{text}");
        }
        let energy = text.lines().find(|line| line.starts_with("em_gpu_energy_joules_total{gpu=\"0\"")).expect("a counter");
        let joules: f64 = energy.rsplit(' ').next().expect("a value").parse().expect("a number");
        assert!(joules > 200.0, "a second or two of 250 W: {energy}");
    });
}
