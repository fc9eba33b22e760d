//! What a data set's files may look like, and what is said of those that cannot be read.

use std::io::Write;
use std::path::Path;

use em_api::spec::DatasetSource::{self, Jsonl, Msmarco, Parquet, Text, Tsv, Wordnet};
use em_load::DatasetRef;
use em_load::dataset::{self, DatasetError};
use flate2::Compression;
use flate2::write::GzEncoder;

pub(crate) fn of(source: DatasetSource, path: &Path) -> DatasetRef {
    DatasetRef { source, path: path.to_owned(), limit: 1_000_000, seed: 1 }
}

/// The texts in the order of their files.
pub(crate) fn texts(source: DatasetSource, path: &Path) -> Result<Vec<String>, DatasetError> {
    let texts = dataset::load(&of(source, path))?;
    let mut all: Vec<String> = (0..texts.len()).map(|index| texts.get(index).to_owned()).collect();
    all.sort();
    Ok(all)
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("into memory");
    encoder.finish().expect("into memory")
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).expect("into memory")
}

fn write(folder: &Path, files: &[(&str, &[u8])]) {
    for (name, bytes) in files {
        std::fs::write(folder.join(name), bytes).expect("writing");
    }
}

#[test]
fn files_of_each_source_are_found_in_their_folder_and_unpacked() {
    let json =
        |n: u32| format!("{{\"pid\":\"msmarco_passage_0{n}_0\",\"passage\":\"p{n}\",\"spans\":\"(0,2)\",\"docid\":\"d\"}}\n");
    let two_members = [gzip(b"1\tp1\n"), gzip(b"2\tp2\n")].concat();
    let two_frames = [zstd(b"p1\n"), zstd(b"p2\n")].concat();
    type Files = Vec<(&'static str, Vec<u8>)>;
    let cases: Vec<(DatasetSource, Files)> = vec![
        (Msmarco, vec![("collection.tsv", b"1\tp1\n2\tp2\n".to_vec()), ("queries.tsv", b"1\tq\n".to_vec())]),
        (Msmarco, vec![("collection.tsv.gz", two_members)]),
        (Msmarco, vec![("msmarco_passage_01.gz", gzip(json(1).as_bytes())), ("msmarco_passage_02.gz", gzip(json(2).as_bytes()))]),
        (Jsonl, vec![("msmarco_passage_01", json(1).into_bytes()), ("msmarco_passage_02", json(2).into_bytes())]),
        (Jsonl, vec![("corpus.jsonl", b"{\"text\":\"p1\"}\n{\"text\":\"p2\"}".to_vec()), ("queries.jsonl", b"{}\n".to_vec())]),
        (Jsonl, vec![("docs.jsonl.zst", zstd(b"{\"contents\":\"p1\"}\n{\"contents\":\"p2\"}\n"))]),
        (Tsv, vec![("a.tsv", b"\xef\xbb\xbfx\tp1\r\ny\tp2\r\n".to_vec())]),
        (Text, vec![("part-1.txt", b"p1\n".to_vec()), ("part-2.txt", b"p2\n".to_vec()), ("README.md", b"no".to_vec())]),
        (Wordnet, vec![("texts.txt.zst", two_frames)]),
    ];
    for (source, files) in cases {
        let folder = tempfile::tempdir().expect("temporary folder");
        files.iter().for_each(|(name, bytes)| std::fs::write(folder.path().join(name), bytes).expect("writing"));
        assert_eq!(texts(source, folder.path()).expect("texts"), ["p1", "p2"], "{source:?} {:?}", files[0].0);
    }
}

#[test]
fn a_pattern_chooses_among_several_data_sets() {
    let folder = tempfile::tempdir().expect("temporary folder");
    write(folder.path(), &[("train-0.txt", b"a\n"), ("train-1.txt", b"b\n"), ("test-0.txt", b"c\n")]);
    let error = texts(Text, folder.path()).expect_err("which?").to_string();
    assert!(error.contains("several data sets (test-0.txt, train-0.txt, train-1.txt)") && error.contains("train-*.txt"), "{error}");
    assert_eq!(texts(Text, &folder.path().join("train-*.txt")).expect("texts"), ["a", "b"]);
    let error = texts(Text, &folder.path().join("dev-*.txt")).expect_err("none").to_string();
    assert!(error.contains("no file matches") && error.ends_with("dev-*.txt"), "{error}");
}

#[test]
fn files_are_read_in_the_order_of_their_names_up_to_the_limit() {
    let folder = tempfile::tempdir().expect("temporary folder");
    write(folder.path(), &[("p_02.txt", b"c\nd\n"), ("p_01.txt", b"a\nb\n"), ("p_10.txt", b"\xff\n")]);
    let loaded = dataset::load(&DatasetRef { limit: 3, ..of(Text, folder.path()) }).expect("the broken file is not needed");
    let mut all: Vec<&str> = (0..3).map(|index| loaded.get(index)).collect();
    all.sort();
    assert_eq!(all, ["a", "b", "c"]);
}

#[test]
fn a_data_set_that_cannot_be_read_says_why_and_what_to_do() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let packed = gzip("1\tpassage\n".repeat(50_000).as_bytes());
    let frame = zstd("passage\n".repeat(50_000).as_bytes());
    let mut damaged = packed.clone();
    let end = damaged.len() - 8;
    damaged[end] ^= 1;
    write(
        folder.path(),
        &[
            ("plain.txt", b"a\nb\nc\n"),
            ("none.txt", b""),
            ("blank.txt", b"\n \n"),
            ("latin1.txt", b"caf\xe9\n\xe9t\xe9\n"),
            ("short.gz", &packed[..packed.len() / 2]),
            ("short.zst", &frame[..frame.len() / 2]),
            ("damaged.gz", &damaged),
            ("page.gz", b"<html>404</html>\n"),
            ("old.bz2", b"BZh91AY"),
            ("archive.zip", b"PK\x03\x04"),
            ("table.txt", b"PAR1...."),
            ("wrong.jsonl", b"{\"text\":1}\n{\"body\":\"x\"}\n"),
        ],
    );
    for (source, name, words) in [
        (
            Msmarco,
            "plain.txt",
            "no `msmarco` data: 3 of its first 3 texts are malformed (plain.txt line 1: no tab), and only 0 are good",
        ),
        (Jsonl, "wrong.jsonl", "(wrong.jsonl line 1: `text` is no string)"),
        (Text, "latin1.txt", "(latin1.txt line 1: not UTF-8)"),
        (Text, "none.txt", "holds no text"),
        (Text, "blank.txt", "holds no text"),
        (Msmarco, "short.gz", "short.gz breaks off in the middle of its packed data"),
        (Text, "short.zst", "short.zst breaks off in the middle of its packed data"),
        (Msmarco, "damaged.gz", "reading the data set"),
        (Msmarco, "page.gz", "is named as if it were packed, but it is not"),
        (Text, "old.bz2", "is packed by bzip2"),
        (Text, "archive.zip", "is packed by zip"),
        (Text, "table.txt", "is a parquet file, and `text` has lines; set the source to parquet"),
        (Parquet, "plain.txt", "cannot be read as parquet"),
        (Tsv, ".", "holds no collection.tsv or other *.tsv file of the source `tsv`; it holds archive.zip, blank.txt"),
        (Text, "nowhere", "opening the data set"),
    ] {
        let error = texts(source, &folder.path().join(name)).map(|texts| texts.len()).expect_err(name).to_string();
        assert!(error.contains(words), "{name}: {error}");
    }
}

#[test]
fn another_format_is_told_before_all_of_it_was_read() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("a.tsv");
    std::fs::write(&path, "no tab\n".repeat(5_000)).expect("writing");
    let error = texts(Tsv, &path).expect_err("no tabs").to_string();
    assert!(error.contains("1001 of its first 1001 texts are malformed"), "{error}");
}
