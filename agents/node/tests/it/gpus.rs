//! A job with GPUs, against a FAKE NVML (`agents/telemetry/tests/fake_nvml`) that `cc` builds here: no GPU computes anything.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::job::{AGENT, Job, store};

/// Into `folder`, where the loader of a child finds it by `LD_LIBRARY_PATH`.
fn fake_nvml(folder: &Path) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../telemetry/tests/fake_nvml/nvml.c");
    let mut compiler = Command::new("cc");
    compiler.args(["-std=gnu11", "-O1", "-shared", "-fPIC", "-o"]).arg(folder.join("libnvidia-ml.so.1")).arg(source);
    assert!(compiler.status().unwrap().success());
}

/// Another process on the GPU, and heat: the samples that void a trial must reach the measurement under the names that the
/// verdict looks for.
#[test]
fn samples_of_the_gpus_arrive_with_what_voids_a_trial() {
    store();
    let folder = tempfile::tempdir().unwrap();
    fake_nvml(folder.path());
    let mut job = Job::new(1)
        .service("ort", &[2])
        .duration(3)
        .env("LD_LIBRARY_PATH", folder.path().to_str().unwrap())
        .env("SLURM_GPUS_ON_NODE", "2")
        .env("FAKE_THROTTLE", "0x40")
        .env("FAKE_PIDS", std::process::id().to_string());
    job.plan.server = None;
    job.plan.gpus_expected = true;
    let mut agent = job.start();
    assert_eq!(agent.wait(Duration::from_secs(60)).code(), Some(0), "{}", agent.log());
    let measurement = job.spooled(0, job.trials()[0]).expect("in the spool");
    let series = measurement.series.expect("samples");
    let all = |column: &str, value: f64| {
        let found: Vec<f64> = series.columns[column].iter().flatten().copied().collect();
        assert!(found.len() >= 2 && found.iter().all(|one| *one == value), "{column}: {found:?}");
    };
    all("gpu0_throttle_reasons", 64.0);
    all("gpu1_throttle_reasons", 0.0);
    all("gpu0_foreign_processes", 1.0);
    assert!(series.columns["cpu_cores"].iter().flatten().any(|cores| *cores > 0.0), "the service's processes beside");
    assert!(series.sampler_cpu_ratio.is_some_and(|cores| cores > 0.0));
    let machine = &measurement.environment;
    assert_eq!((machine.gpus.len(), machine.gpus[0].ecc, machine.extra["cuda_driver"].as_str()), (2, Some(true), "13.1"));
}

#[test]
fn gpu_samples_for_a_while_and_tells_what_that_cost() {
    let folder = tempfile::tempdir().unwrap();
    fake_nvml(folder.path());
    let run = |format: &str| {
        let mut agent = Command::new(AGENT);
        agent
            .args(["gpu", "--sample", "2s", "-o", format])
            .env("LD_LIBRARY_PATH", folder.path())
            .env_remove("CUDA_VISIBLE_DEVICES");
        let output = agent.output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    };
    let facts: serde_json::Value = serde_json::from_str(&run("json")).unwrap();
    assert!(facts["series"]["columns"]["gpu1_power_watts"].as_array().unwrap().len() >= 15, "{facts}");
    assert!(facts["series"]["sampler_cpu_ratio"].as_f64().unwrap() > 0.0, "{facts}");
    let text = run("text");
    assert!(text.contains("% of a core") && text.contains("gpu0_power_watts"), "{text}");
}
