//! Data sets in the input store: what is written there, where it is looked for, and the account of what was left out.

use std::path::Path;

use em_api::inputs::{Entry, EntryKind, manifest_path};
use em_api::spec::DatasetSource::{self, Jsonl, Msmarco, Text, Tsv};
use em_load::DatasetRef;
use em_load::dataset::prepare::{Preparation, Prepared, prepare};
use em_load::dataset::{self, DatasetError};

use crate::files::{gzip, of};

fn prepared(source: DatasetSource, from: &Path, store: &Path, limit: Option<u64>) -> Result<Prepared, DatasetError> {
    prepare(&Preparation { source, from, column: None, limit, store }, &|_| {}, &mut |_| {})
}

/// As the agent and admission read it.
fn entry(store: &Path, key: &str) -> Entry {
    serde_json::from_slice(&std::fs::read(manifest_path(store, EntryKind::Dataset, key)).expect("a manifest")).expect("an entry")
}

#[test]
fn a_prepared_data_set_is_the_same_texts_under_its_source_and_hash() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let (from, store) = (folder.path().join("beir"), folder.path().join("store"));
    std::fs::create_dir(&from).expect("a folder");
    let line = |n: u32| format!("{{\"_id\":\"{n}\",\"title\":\"T{n}\",\"text\":\"a \\\"text\\\"\\nof two lines \\u00e9 {n}\"}}\n");
    let lines: String = (0..500).map(line).collect();
    std::fs::write(from.join("corpus.jsonl.gz"), gzip(lines.as_bytes())).expect("writing");

    let made = prepared(Jsonl, &from, &store, None).expect("prepared");
    let entry = entry(&store, "jsonl");
    assert_eq!(entry, made.entry);
    assert_eq!(entry.path, format!("datasets/jsonl-{}", &entry.sha256[..8]));
    let file = std::fs::read(store.join(&entry.path).join("texts.jsonl")).expect("the texts");
    use sha2::Digest;
    assert_eq!(entry.sha256, hex::encode(sha2::Sha256::digest(&file)));
    assert_eq!(entry.details["source"], "corpus.jsonl.gz");
    assert_eq!((entry.details["texts"].as_str(), entry.details["malformed"].as_str()), ("500", "0"));
    let direct = dataset::load(&of(Jsonl, &from)).expect("texts").report();
    let stored = dataset::load(&of(Jsonl, &store.join(&entry.path))).expect("texts").report();
    assert_eq!(direct, stored, "the same texts in the same order, by their hash");

    // Again: the same, and what lies there is left alone.
    let before = std::fs::metadata(store.join(&entry.path)).expect("a folder").modified().expect("a time");
    let again = prepared(Jsonl, &from, &store, None).expect("prepared");
    assert_eq!((again.entry.path, again.replaced), (entry.path.clone(), None));
    assert_eq!(std::fs::metadata(store.join(&entry.path)).expect("a folder").modified().expect("a time"), before);
    // Other texts: the entry moves, and the folder that a job may be reading stays.
    let fewer = prepared(Jsonl, &from, &store, Some(100)).expect("prepared");
    assert_eq!(fewer.replaced.as_ref(), Some(&entry.path));
    assert!(store.join(&entry.path).join("texts.jsonl").is_file());
    assert_eq!(self::entry(&store, "jsonl").details["limit"], "100");
    assert_eq!(dataset::load(&of(Jsonl, &fewer.folder)).expect("texts").len(), 100);
    assert_eq!(std::fs::read_dir(store.join("tmp")).expect("a folder").count(), 0, "nothing half made is left");
}

#[test]
fn every_line_is_accounted_for_and_the_first_malformed_are_named() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let (from, store) = (folder.path().join("collection.tsv"), folder.path().join("store"));
    let mut bytes = Vec::new();
    for n in 1..=1_000_u32 {
        match n {
            7 | 300..310 => bytes.extend_from_slice(b"no tab here\n"),
            8 => bytes.extend_from_slice(b"8\t\n"),
            9 => bytes.extend_from_slice(b"\n"),
            10 => bytes.extend_from_slice(b"10\tcaf\xe9\n"),
            11 => bytes.extend_from_slice(format!("11\t{}\n", "long ".repeat(300_000)).as_bytes()),
            _ => bytes.extend_from_slice(format!("{n}\tpassage {n}\n").as_bytes()),
        }
    }
    std::fs::write(&from, &bytes).expect("writing");
    let tally = prepared(Msmarco, &from, &store, None).expect("prepared").tally;
    assert_eq!((tally.read, tally.kept, tally.empty, tally.malformed), (1_000, 985, 2, 13));
    let details = entry(&store, "msmarco").details;
    let count = |name: &str| details[name].parse::<u64>().expect("a count");
    assert_eq!((count("read"), count("texts"), count("empty"), count("malformed")), (1_000, 985, 2, 13));
    assert_eq!(
        details["first_malformed"],
        "collection.tsv line 7: no tab; collection.tsv line 10: not UTF-8; collection.tsv line 11: longer than 1 MiB; \
         collection.tsv line 300: no tab; collection.tsv line 301: no tab"
    );
}

#[test]
fn a_data_set_that_cannot_be_read_leaves_the_store_as_it_was() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let store = folder.path().join("store");
    let good = folder.path().join("good.tsv");
    std::fs::write(&good, "a\tone\nb\ttwo\n").expect("writing");
    assert!(matches!(prepared(Tsv, &folder.path().join("none"), &store, None), Err(DatasetError::Open { .. })));
    assert!(!store.exists(), "nothing to make a store for");
    let before = prepared(Tsv, &good, &store, None).expect("prepared").entry;
    let packed = gzip("x\tpassage\n".repeat(100_000).as_bytes());
    let cut = folder.path().join("cut.tsv.gz");
    std::fs::write(&cut, &packed[..packed.len() - 20]).expect("writing");
    assert!(matches!(prepared(Tsv, &cut, &store, None), Err(DatasetError::CutOff { .. })));
    assert_eq!(entry(&store, "tsv"), before);
    assert_eq!(std::fs::read_dir(store.join("datasets")).expect("a folder").count(), 1);
    assert_eq!(std::fs::read_dir(store.join("tmp")).expect("a folder").count(), 0);
}

#[test]
fn a_second_setup_of_the_store_is_waited_for() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let (from, store) = (folder.path().join("a.txt"), folder.path().join("store"));
    std::fs::write(&from, "one\ntwo\n").expect("writing");
    std::fs::create_dir(&store).expect("a folder");
    std::fs::write(store.join(".setup.lock"), "4711\n").expect("writing");
    let other = std::fs::File::open(store.join(".setup.lock")).expect("a file");
    other.lock().expect("a lock");
    let (sender, told) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        let asked = Preparation { source: Text, from: &from, column: None, limit: None, store: &store };
        let waits = scope.spawn(move || prepare(&asked, &|words| sender.send(words.to_owned()).expect("told"), &mut |_| {}));
        let words = told.recv_timeout(std::time::Duration::from_secs(20)).expect("it says that it waits");
        assert!(words.ends_with("(process 4711)"), "{words}");
        other.unlock().expect("unlocked");
        assert_eq!(waits.join().expect("no panic").expect("prepared").tally.kept, 2);
    });
}

#[test]
fn limits_of_a_trial_hold_for_a_prepared_data_set() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let (from, store) = (folder.path().join("a.txt"), folder.path().join("store"));
    std::fs::write(&from, (0..50).map(|n| format!("text {n}\n")).collect::<String>()).expect("writing");
    let made = prepared(Text, &from, &store, None).expect("prepared");
    // The file alone, too, is what it is.
    for path in [made.folder.clone(), made.folder.join("texts.jsonl")] {
        let texts = dataset::load(&DatasetRef { limit: 10, ..of(Text, &path) }).expect("texts");
        assert_eq!(texts.len(), 10);
        assert!((0..10).all(|index| texts.get(index).starts_with("text ")));
    }
}
