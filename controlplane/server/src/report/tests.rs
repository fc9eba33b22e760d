//! The files of a report, made from made-up measurements.

use std::collections::BTreeSet;

use em_api::measurement::Outcome;
use sha2::{Digest, Sha256};

use super::*;
use crate::results::{compute, fixture};

fn realistic() -> (ResultsInput, Vec<ReportFile>) {
    let input = fixture::realistic(false);
    let files = bundle(&input, &compute(&input)).expect("a report");
    (input, files)
}

fn text_of(files: &[ReportFile], path: &str) -> String {
    let file = files.iter().find(|file| file.path == path).unwrap_or_else(|| panic!("{path} is missing"));
    String::from_utf8(file.bytes.clone()).expect("text")
}

#[test]
fn a_report_holds_every_promised_file_and_its_index_knows_them_all() {
    let (_, files) = realistic();
    let paths: BTreeSet<&str> = files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(paths.len(), files.len(), "no path twice");
    for name in ["report.html", "report.md", "summary_report.txt", "results.csv", "results.json", "results_index.json"] {
        assert!(paths.contains(name), "{name}");
    }
    for plot in ["throughput_comparison", "latency_comparison", "gpu_utilization", "latency_cdf", "pareto", "timeline"] {
        assert!(
            paths.contains(format!("plots/{plot}.png").as_str()) && paths.contains(format!("plots/{plot}.svg").as_str()),
            "{plot}"
        );
    }
    assert!(paths.contains("stress_ort_batch32_c10_rep2_20261118_111710.json"), "{paths:#?}");
    assert!(paths.contains("gpu_ort_batch32_c10_rep2_20261118_111710.json"), "{paths:#?}");
    assert!(paths.contains("stress_ort_batch32_c10_20261118_111025.json"), "{paths:#?}");
    assert!(
        !paths.iter().any(|path| path.starts_with("gpu_vllm") && path.contains("batch64") && path.contains("rep3")),
        "a failed trial has no series"
    );
    let index: serde_json::Value = serde_json::from_str(&text_of(&files, "results_index.json")).expect("json");
    let listed = index["files"].as_array().expect("files");
    assert_eq!(listed.len(), files.len() - 1);
    for (entry, file) in listed.iter().zip(&files) {
        assert_eq!(entry["path"], file.path.as_str());
        assert_eq!(entry["sha256"], hex::encode(Sha256::digest(&file.bytes)).as_str());
    }
    if let Some(folder) = std::env::var_os("EM_KEEP_REPORT") {
        keep(std::path::Path::new(&folder), &files);
    }
}

/// For looking at: `EM_KEEP_REPORT=DIR cargo test -p em-controlplane report::tests`.
fn keep(folder: &std::path::Path, files: &[ReportFile]) {
    let gpu = fixture::realistic(true);
    let others = bundle(&gpu, &compute(&gpu)).expect("a report");
    for (name, files) in [("cpu", files), ("gpu", others.as_slice())] {
        for file in files {
            let path = folder.join(name).join(&file.path);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            std::fs::write(path, &file.bytes).expect("written");
        }
    }
}

#[test]
fn one_file_alone_equals_that_of_the_bundle() {
    let (input, files) = realistic();
    let results = compute(&input);
    for path in
        ["report.html", "results.csv", "plots/pareto.svg", "plots/timeline.png", "stress_ort_batch32_c10_rep2_20261118_111710.json"]
    {
        let alone = file(&input, &results, path).expect("made").expect("there");
        assert!(files.iter().any(|file| file.path == path && file.bytes == alone.bytes), "{path}");
    }
    assert!(file(&input, &results, "plots/../report.html").expect("no error").is_none());
    assert!(file(&input, &results, "").expect("no error").is_none());
}

#[test]
fn plots_are_pngs_of_twice_the_sheet_and_svgs_with_a_title() {
    let (_, files) = realistic();
    for file in files.iter().filter(|file| file.path.ends_with(".png")) {
        let mut reader = png::Decoder::new(file.bytes.as_slice()).read_info().expect("a PNG");
        let mut pixels = vec![0; reader.output_buffer_size()];
        let frame = reader.next_frame(&mut pixels).expect("pixels");
        assert_eq!((frame.width, frame.height), (2_400, 1_400), "{}", file.path);
        let drawn = pixels.chunks_exact(3).filter(|pixel| pixel != &[255, 255, 255]).count();
        assert!(drawn > 20_000, "{} is all but empty: {drawn} pixels", file.path);
    }
    let svg = text_of(&files, "plots/gpu_utilization.svg");
    assert!(svg.contains("<title>CPU and memory use by batch size (no GPU)</title>"), "the plot must say what it shows");
    let gpu = fixture::realistic(true);
    assert!(plots::Plot::Resources.svg(&gpu, &compute(&gpu)).contains("GPU utilisation"));
}

#[test]
fn the_csv_has_one_row_a_cell_and_units_in_its_head() {
    // With a GPU's speed no percentile is withheld, so no field holds a comma.
    let input = fixture::realistic(true);
    let files = bundle(&input, &compute(&input)).expect("a report");
    let csv = text_of(&files, "results.csv");
    let lines: Vec<&str> = csv.split("\r\n").filter(|line| !line.is_empty()).collect();
    assert_eq!(lines.len(), 1 + 9);
    let place = |name: &str| lines[0].split(',').position(|column| column == name).unwrap_or_else(|| panic!("{name}"));
    let (rate, used) = (place("throughput_texts_per_s"), place("memory_peak_bytes"));
    assert!(lines[0].split(',').all(|name| name.contains('_') || name == "backend"));
    let results = compute(&input);
    let first = lines[1].split(',').nth(rate).expect("a field").parse::<f64>().expect("a number");
    assert_eq!(first, results.cells[0].texts_per_second.expect("measured").mean);
    assert_eq!(lines[1].split(',').nth(used).expect("a field").parse::<f64>().ok(), results.cells[0].resources.memory_peak_bytes);
}

#[test]
fn what_is_withheld_or_missing_is_a_dash_with_its_reason() {
    let (_, files) = realistic();
    let html = text_of(&files, "report.html");
    assert!(html.contains("fewer than 662 requests in valid trials"), "the reason of a withheld p99");
    assert!(html.contains("<abbr title=\"") && html.contains(">—<sup>"));
    assert!(html.contains("out of memory while the key-value cache was set aside"), "why a trial failed");
    assert!(html.contains("errors: ") && html.contains("operation timed out after 30s"), "why a trial is invalid");
    let text = text_of(&files, "summary_report.txt");
    assert!(text.contains("ort answers ") && text.contains("— (1)"), "{text}");
}

#[test]
fn an_empty_experiment_gives_a_whole_report_that_says_so() {
    let input = fixture::experiment(&["a", "b"], &[16, 32], 3);
    let files = bundle(&input, &compute(&input)).expect("a report");
    assert!(text_of(&files, "report.html").contains("12 of 12 trials were never measured"));
    assert!(text_of(&files, "plots/throughput_comparison.svg").contains("No valid trial has been measured yet"));
    assert_eq!(text_of(&files, "results.csv").lines().count(), 5);
    assert!(!files.iter().any(|file| file.path.starts_with("stress_")));
}

#[test]
fn hostile_names_and_messages_stay_text() {
    let evil = "<script>alert(1)</script>\"'|../../x";
    let mut input = fixture::experiment(&["a", evil], &[16], 1);
    input.experiment.metadata.name = evil.to_owned();
    let mut failing = fixture::trial(evil, 16, 1, 100);
    fixture::fail(&mut failing, evil);
    input.measurements = vec![fixture::trial("a", 16, 1, 100), failing];
    let files = bundle(&input, &compute(&input)).expect("a report");
    for file in files.iter().filter(|file| file.path.ends_with(".html") || file.path.ends_with(".svg")) {
        assert!(!String::from_utf8_lossy(&file.bytes).contains("<script"), "{}", file.path);
    }
    assert!(text_of(&files, "report.html").contains("&lt;script&gt;alert(1)"), "shown as text, not dropped");
    assert!(!text_of(&files, "report.md").contains("<script"));
    assert!(files.iter().all(|file| !file.path.contains("..") && file.path.matches('/').count() <= 1), "paths stay below results/");
}

#[test]
fn a_trial_that_ran_twice_within_a_second_has_two_files() {
    let mut input = fixture::experiment(&["a"], &[16], 1);
    let mut again = fixture::trial("a", 16, 1, 200);
    again.epoch = 1;
    input.measurements = vec![fixture::trial("a", 16, 1, 100), again];
    let files = bundle(&input, &compute(&input)).expect("a report");
    let own: Vec<&str> = files.iter().map(|file| file.path.as_str()).filter(|path| path.contains("_rep1_")).collect();
    assert_eq!(own.len(), 2, "{own:?}");
    assert!(own[1].ends_with("_2.json"), "{own:?}");
}

/// Item by item what a reader needs to run the same again.
#[test]
fn the_environment_is_told_in_full() {
    let mut input = fixture::realistic(true);
    for one in &mut input.measurements {
        let gpu = &mut one.environment.gpus[0];
        (gpu.max_sm_clock_hertz, gpu.max_memory_clock_hertz) = (Some(2.52e9), Some(9.001e9));
        (gpu.ecc, gpu.mig) = (Some(true), Some(false));
        one.environment.agent_revision = Some("46d8d7d1b2c3".to_owned());
        let extra = [
            ("numa_nodes", "0-1"),
            ("cpu_governor", "performance"),
            ("cuda_driver", "13.0"),
            ("slurm_cpus_on_node", "8"),
            ("slurm_mem_per_node", "32768"),
            ("slurm_gpus_on_node", "1"),
            ("placement", "generator on cores 0-1, service on 2-7"),
        ];
        one.environment.extra = extra.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    }
    let text = text_of(&bundle(&input, &compute(&input)).expect("a report"), "summary_report.txt");
    for line in [
        "Nodes: node1\n",
        "CPU: Made-up CPU, 8 cores, 8 cores allowed\n",
        "NUMA nodes: 0-1\n",
        "CPU governor: performance\n",
        "Kernel: Linux 6.1\n",
        "GPUs: NVIDIA L40S (made up) 48.0 GiB (GPU-made-up), up to 2520/9001 MHz, ECC on, MIG off\n",
        "GPU driver: 560.35, for CUDA up to 13.0\n",
        "Slurm jobs: 4711\n",
        "Slurm allocation: cpus on node 8, gpus on node 1, mem per node 32768\n",
        "Agent: 0.1.0, git 46d8d7d1b2c3\n",
        "Seed of the texts: 42\n",
        "placement: generator on cores 0-1, service on 2-7\n",
    ] {
        assert!(text.contains(line), "{line}in\n{text}");
    }
    assert_eq!(text.matches("cuda_driver").count(), 0, "told once");
}

#[test]
fn a_trial_file_holds_what_was_handed_in() {
    let (input, files) = realistic();
    let json: serde_json::Value =
        serde_json::from_str(&text_of(&files, "stress_ort_batch32_c10_rep2_20261118_111710.json")).expect("json");
    assert_eq!(json["result"]["verdict"], "VALID");
    assert_eq!(json["measurement"]["series"], serde_json::Value::Null);
    let of =
        input.measurements.iter().find(|one| one.backend == "ort" && one.batch_size == 32 && one.repetition == 2).expect("made");
    let Outcome::Measured { load } = &of.outcome else { panic!("measured") };
    assert_eq!(json["measurement"]["outcome"]["load"]["latency_us"], load.latency_us.0.as_str());
    let series: serde_json::Value =
        serde_json::from_str(&text_of(&files, "gpu_ort_batch32_c10_rep2_20261118_111710.json")).expect("json");
    assert!(series["describes"].as_str().expect("a sentence").contains("there was no GPU"));
    assert_eq!(series["series"]["columns"]["cpu_cores"].as_array().map(Vec::len), Some(120));
    let seconds = series["perSecond"]["cpu_cores"].as_array().expect("seconds");
    assert_eq!(seconds.len(), 12);
    let of = |name: &str| seconds[3][name].as_f64().expect("a number");
    assert!(of("min") < of("mean") && of("mean") < of("max"), "{}", seconds[3]);
}
