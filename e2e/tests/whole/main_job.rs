//! The main job: three real servers, one model, real text, through sbatch; and what a person gets in hand.

use std::time::Duration;

use em_api::results::ParityVerdict;
use em_api::status::Phase;
use em_e2e::{Cluster, ControlPlane};

const EXPERIMENT: &str = r#"
apiVersion: em/v1alpha1
kind: Experiment
metadata: {name: main-job}
spec:
  model: {id: sentence-transformers/all-MiniLM-L6-v2, dtype: float32}
  dataset: {source: wordnet, limit: 100000, seed: 7}
  backends:
    - {name: ort, type: ort, device: cpu}
    - {name: hf, type: huggingface, device: cpu}
    - {name: vllm, type: vllm, device: cpu, args: [--enforce-eager]}
  matrix: {batchSizes: [4, 8], concurrency: [2]}
  load: {duration: 3s, warmup: 1s, repetitions: 1, minRequests: 3}
  checks: {parity: {reference: hf}}
  slurm: {partition: main, cpusPerTask: 2, time: 10m}
"#;

#[test]
fn three_real_servers_are_compared_through_slurm() {
    let cluster = Cluster::up();
    let plane = ControlPlane::start(&cluster);
    let file = plane.file("experiment.yaml", EXPERIMENT);
    let out = plane.state_dir().join("out");

    let said = plane.emctl_ok(&["submit", "-f", file.to_str().unwrap(), "--wait", "--out", out.to_str().unwrap()]);

    let experiment = plane.experiment("main-job");
    assert_eq!(experiment.status.phase, Phase::Succeeded, "{said}");
    assert_eq!((experiment.status.trials.total, experiment.status.trials.succeeded), (6, 6), "{said}");
    assert_eq!(cluster.job_names().len(), 1, "one shard is one job");

    let results = plane.results("main-job");
    assert_eq!(results.cells.len(), 6);
    for cell in &results.cells {
        assert!(cell.counts.ok > 0 && cell.counts.errors() == 0, "{cell:?}");
        assert!(cell.resources.cpu_cores.is_some_and(|cores| cores > 0.1), "the service's CPU time was seen: {cell:?}");
        assert!(cell.resources.gpu_utilization.is_none(), "no GPU here: absent, not zero");
    }

    // The vectors of the three servers agree, over 200 texts.
    for parity in &results.parity {
        assert_eq!(parity.texts, 200, "{parity:?}");
        assert!(parity.min_cosine.is_some_and(|cosine| cosine >= 0.9999), "{parity:?}");
        assert_ne!(parity.verdict, ParityVerdict::Failed, "{parity:?}");
    }
    assert_eq!(results.parity.len(), 3);

    // What a person sees and takes home.
    for word in ["ort", "hf", "vllm", "texts/s"] {
        assert!(said.contains(word), "the table names {word}: {said}");
    }
    let files: Vec<String> = files_below(&out);
    for name in [
        "summary_report.txt",
        "results_index.json",
        "report.html",
        "report.md",
        "results.csv",
        "plots/throughput_comparison.png",
        "plots/latency_comparison.png",
        "plots/gpu_utilization.png",
        "plots/throughput_comparison.svg",
    ] {
        assert!(files.iter().any(|file| file == name), "{name} is missing in {files:?}");
    }
    for backend in ["ort", "hf", "vllm"] {
        for kind in ["stress", "gpu"] {
            let begin = format!("{kind}_{backend}_batch4_c2_rep1_");
            assert!(
                files.iter().any(|file| file.starts_with(&begin) && file.ends_with(".json")),
                "{begin}… is missing in {files:?}"
            );
        }
        let merged = format!("stress_{backend}_batch4_c2_2");
        assert!(files.iter().any(|file| file.starts_with(&merged)), "{merged}… is missing in {files:?}");
    }
    assert_eq!(&std::fs::read(out.join("plots/latency_comparison.png")).unwrap()[1..4], b"PNG");

    // Posting the same again is no second experiment.
    plane.emctl_ok(&["submit", "-f", file.to_str().unwrap()]);
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(cluster.job_names().len(), 1);
}

fn files_below(folder: &std::path::Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path.strip_prefix(folder).unwrap().to_string_lossy().into_owned());
            }
        }
    }
    found
}
