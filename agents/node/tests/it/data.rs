//! `em-agent data prepare`, and trials on data sets of all kinds: read where they lie, or out of the store.

use std::fmt::Write;
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use em_api::measurement::{DatasetReport, Outcome};
use em_api::spec::{Dataset, DatasetSource};
use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

use crate::job::{AGENT, Job, store};

fn prepare(store: &Path, arguments: &[&str]) -> Output {
    Command::new(AGENT).args(["data", "prepare", "--store"]).arg(store).args(arguments).env_remove("EM_STORE").output().unwrap()
}

/// What the ort service needs of the real store, and room for data sets of the test's own.
fn store_for_ort(at: &Path) {
    let whole = store();
    for folder in ["models", "lib"] {
        symlink(whole.join(folder), at.join(folder)).unwrap();
    }
    fs::create_dir(at.join("manifests")).unwrap();
    for manifest in fs::read_dir(whole.join("manifests")).unwrap().map(|entry| entry.unwrap()) {
        let name = manifest.file_name().into_string().unwrap();
        if name.starts_with("model-") || name == "backend-ort.json" {
            fs::copy(manifest.path(), at.join("manifests").join(name)).unwrap();
        }
    }
}

/// Measures one trial; what it says of its texts.
fn measured(mut job: Job, dataset: Dataset) -> DatasetReport {
    job.plan.dataset = dataset;
    job.plan.server = None;
    let mut agent = job.start();
    assert_eq!(agent.wait(Duration::from_secs(40)).code(), Some(0), "{}", agent.log());
    match job.spooled(0, job.trials()[0]).expect("in the spool").outcome {
        Outcome::Measured { load } if load.texts_ok > 0 => load.dataset,
        other => panic!("not measured: {other:?}"),
    }
}

#[test]
fn a_trial_takes_its_texts_from_the_store_or_from_parquet_files() {
    let folder = tempfile::tempdir().unwrap();
    store_for_ort(folder.path());
    let lines: String = (0..300).fold(String::new(), |mut lines, n| {
        writeln!(lines, "{{\"pid\":\"p{n}\",\"passage\":\"passage {n} speaks of rivers\"}}").unwrap();
        lines
    });
    fs::write(folder.path().join("msmarco_passage_00"), lines + "{\"pid\":\"p300\"}\n").unwrap();
    let from = folder.path().join("msmarco_passage_00");
    let job = || Job::new(1).duration(1).service("ort", &[4]);

    let dataset = Dataset { source: DatasetSource::Msmarco, path: None, limit: 1_000, seed: 42 };
    let mut early = job();
    early.plan.store_dir = folder.path().to_str().unwrap().to_owned();
    early.plan.dataset = dataset.clone();
    early.plan.server = None;
    let mut agent = early.start();
    assert_ne!(agent.wait(Duration::from_secs(20)).code(), Some(0));
    let cure = "no data set `msmarco`; fill it with `em-agent data prepare --store";
    assert!(agent.log().contains(cure), "{}", agent.log());

    let output = prepare(folder.path(), &["--source", "msmarco", "--from", from.to_str().unwrap()]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    for part in [
        "read............: 301 of msmarco_passage_00",
        "kept............: 300 texts",
        "malformed.......: 1",
        "msmarco_passage_00 line 301: no `text`, `passage` or `contents`",
        "dataset: {source: msmarco}",
    ] {
        assert!(said.contains(part), "{part} in\n{said}");
    }
    let mut job_of_store = job();
    job_of_store.plan.store_dir = folder.path().to_str().unwrap().to_owned();
    let stored = measured(job_of_store, dataset.clone());
    assert_eq!((stored.texts, stored.source.as_str()), (300, "msmarco"));

    let schema = parse_message_type("message schema { required binary passage (UTF8); }").unwrap();
    let path = folder.path().join("train-0.parquet");
    let file = File::create(&path).unwrap();
    let mut writer = SerializedFileWriter::new(file, Arc::new(schema), Arc::new(WriterProperties::new())).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    let texts: Vec<ByteArray> = (0..300).map(|n| format!("passage {n} speaks of rivers").into_bytes().into()).collect();
    column.typed::<ByteArrayType>().write_batch(&texts, None, None).unwrap();
    column.close().unwrap();
    group.close().unwrap();
    writer.close().unwrap();
    let there = Dataset { source: DatasetSource::Parquet, path: Some(path.to_str().unwrap().to_owned()), ..dataset };
    assert_eq!(measured(job(), there).sha256, stored.sha256, "the same texts in the same order");
}

#[test]
fn what_is_wrong_is_told_with_its_cure() {
    let folder = tempfile::tempdir().unwrap();
    let texts = folder.path().join("a.txt");
    fs::write(&texts, "one\ntwo\n").unwrap();
    let texts = texts.to_str().unwrap();
    for (arguments, words) in [
        (["--source", "wordnet", "--from", texts], "wordnet is built in; `em-agent setup --dataset wordnet` brings it"),
        (
            ["--source", "msmarco", "--from", texts],
            "no `msmarco` data: 2 of its first 2 texts are malformed (a.txt line 1: no tab)",
        ),
        (["--source", "parquet", "--from", texts], "cannot be read as parquet: "),
        (["--source", "csv", "--from", texts], "unknown variant `csv`, expected one of `msmarco`"),
    ] {
        let output = prepare(folder.path(), &arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(words), "{words} in\n{said}");
    }
    let output = prepare(folder.path(), &["--source", "text", "--from", texts, "--column", "body"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("--column: "), "{output:?}");
}

/// The largest resident memory of a preparation of so many passages, kilobytes.
fn most_memory(folder: &Path, passages: usize) -> u64 {
    let from = folder.join(format!("{passages}.tsv"));
    let lines: String = (0..passages).fold(String::new(), |mut lines, n| {
        writeln!(lines, "{n}\t{}", "a passage of the usual length ".repeat(11)).unwrap();
        lines
    });
    fs::write(&from, lines).unwrap();
    let mut command = Command::new(AGENT);
    command.args(["data", "prepare", "--source", "tsv", "--from"]).arg(from).arg("--store").arg(folder.join("store"));
    let mut child = command.stdout(Stdio::null()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut most = 0;
    while child.try_wait().unwrap().is_none() {
        let now = fs::read_to_string(&status).unwrap_or_default();
        let line = now.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok());
        most = most.max(line.unwrap_or(0));
        std::thread::sleep(Duration::from_millis(2));
    }
    assert!(child.wait().unwrap().success());
    most
}

#[test]
fn memory_does_not_grow_with_the_passages() {
    let folder = tempfile::tempdir().unwrap();
    let (few, many) = (most_memory(folder.path(), 5_000), most_memory(folder.path(), 100_000));
    assert!(few > 0 && many < few + 8_192, "5,000: {few} kB, 100,000 (34 MB): {many} kB");
}
