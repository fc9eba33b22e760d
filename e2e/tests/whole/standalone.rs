//! A run without any server, by plain bash and by plain sbatch, and its results handed in afterwards.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use em_api::status::Phase;
use em_e2e::{Cluster, ControlPlane, wait_until};

const EXPERIMENT: &str = r#"
apiVersion: em/v1alpha1
kind: Experiment
metadata: {name: alone}
spec:
  model: {id: sentence-transformers/all-MiniLM-L6-v2, dtype: float32}
  dataset: {source: wordnet, limit: 20000, seed: 7}
  backends: [{name: ort, type: ort, device: cpu}]
  matrix: {batchSizes: [4], concurrency: [2]}
  load: {duration: 3s, warmup: 1s, repetitions: 1, minRequests: 3}
  slurm: {partition: main, cpusPerTask: 2, time: 10m}
"#;

#[test]
fn a_folder_runs_by_bash_and_by_sbatch_with_the_server_away_and_is_imported() {
    let cluster = Cluster::up();
    let mut plane = ControlPlane::start(&cluster);
    let file = plane.file("alone.yaml", EXPERIMENT);
    let [by_bash, by_sbatch] = ["by bash", "by-sbatch"].map(|name| cluster.path().join(name));
    for folder in [&by_bash, &by_sbatch] {
        plane.emctl_ok(&["script", "--standalone", folder.to_str().unwrap(), "-f", file.to_str().unwrap()]);
    }
    plane.kill();

    let output = Command::new("bash")
        .arg(by_bash.join("job.sh"))
        .current_dir("/")
        .stdin(Stdio::null())
        .env_remove("SLURM_CONF")
        .output()
        .unwrap();
    let (told, log) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && told.contains("1 of 1 trials measured."), "{told}{log}");

    let folder = by_sbatch.to_str().unwrap();
    let script = by_sbatch.join("job.sh");
    let id = cluster.slurm("sbatch", &["--parsable", "--chdir", folder, script.to_str().unwrap()]).trim().to_owned();
    wait_until("the job's witness", Duration::from_secs(150), || by_sbatch.join("exit-code").exists().then_some(()));
    assert!(text(&by_sbatch.join("exit-code")).starts_with("0 0 "), "{}", text(&by_sbatch.join(format!("slurm_{id}.err"))));
    assert!(text(&by_sbatch.join(format!("slurm_{id}.out"))).contains("1 of 1 trials measured."));

    plane.restart();
    plane.emctl_ok(&["import", by_bash.to_str().unwrap()]);
    plane.emctl_ok(&["import", "--name", "alone-in-slurm", folder]);
    for name in ["alone", "alone-in-slurm"] {
        let experiment = plane.experiment(name);
        assert_eq!((experiment.status.phase, experiment.status.trials.succeeded), (Phase::Succeeded, 1));
        assert!(plane.results(name).cells.iter().all(|cell| cell.counts.ok > 0));
        assert_eq!(plane.results(name).parity.len(), 1, "the vectors came too");
    }
    assert_eq!(cluster.job_names().len(), 1, "an import submits nothing: {:?}", cluster.job_names());
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}
