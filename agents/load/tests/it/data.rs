//! Which texts are sent, in which order, and what a data set's file may look like.

use std::fmt::Write;

use em_api::spec::{DatasetSource, LoadLevel, TokenRange};
use em_load::dataset::{self, DatasetError};
use em_load::{DatasetRef, LoadError};
use tokio_util::sync::CancellationToken;

use crate::server::{Reply, Server};
use crate::{data_set, measure, plan};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_runs_send_the_same_texts_in_the_same_order() {
    let data = data_set();
    let mut sent = Vec::new();
    for offset in [0, 0, 400] {
        let server = Server::start(|_| Reply::Vectors(8));
        let mut plan = plan(&server.url, &data, LoadLevel::RequestRate(40.0));
        // One user at a time, so that the order of arrival is the order of sending.
        plan.level = LoadLevel::Concurrency(1);
        plan.text_offset = offset;
        let report = measure(plan.clone()).await;
        assert!(report.requests_ok > 10);
        let requests = server.requests();
        assert!(requests.iter().all(|request| request.len() == 4), "4 texts a request");
        let texts = dataset::load(&plan.dataset).expect("texts");
        let expected: Vec<String> = (0..40).map(|index| texts.get(offset as usize + index).to_owned()).collect();
        sent.push(requests.concat()[..40].to_vec());
        assert_eq!(sent.last(), Some(&expected));
    }
    assert_eq!(sent[0], sent[1]);
    assert_ne!(sent[0], sent[2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_texts_of_the_asked_length_are_sent() {
    let data = tempfile::tempdir().expect("temporary folder");
    std::fs::write(data.path().join("texts.txt"), "one\ntwo words\nthree words here\nand four words here\n").expect("writing");
    let server = Server::start(|_| Reply::Vectors(8));
    let mut plan = plan(&server.url, &data, LoadLevel::Concurrency(1));
    plan.text_tokens = Some(TokenRange { min: 2, max: 3 });
    let report = measure(plan.clone()).await;
    let mut texts = server.requests().concat();
    texts.sort();
    texts.dedup();
    assert_eq!(texts, ["three words here", "two words"]);
    assert_eq!(report.dataset.texts, 4, "the data set is reported as it was loaded");

    plan.text_tokens = Some(TokenRange { min: 9, max: 9 });
    let error = em_load::run(plan, CancellationToken::new(), |_| {}).await.expect_err("nothing to send");
    assert!(matches!(error, LoadError::Dataset(DatasetError::NoneOfThatLength { texts: 4, min: 9, max: 9 })), "{error}");
}

fn of(source: DatasetSource, path: &std::path::Path, limit: u64, seed: u64) -> DatasetRef {
    DatasetRef { source, path: path.to_owned(), limit, seed }
}

#[test]
fn a_collection_is_loaded_whole_and_its_malformed_lines_are_counted() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("collection.tsv");
    let mut lines = String::new();
    for id in 0..100_000 {
        match id {
            17 => lines.push_str("no tab in this line\n"),
            99 => lines.push_str("99\t\n"),
            _ => writeln!(lines, "{id}\tpassage number {id}, which is long enough to be one\r").expect("writing to a string"),
        }
    }
    std::fs::write(&path, &lines).expect("writing");
    let texts = dataset::load(&of(DatasetSource::Msmarco, folder.path(), 1_000_000, 1)).expect("texts");
    let report = texts.report();
    assert_eq!((report.texts, report.malformed_lines, report.source.as_str()), (99_998, 2, "msmarco"));
    assert!(
        (0..texts.len()).all(|index| texts.get(index).starts_with("passage number ") && texts.get(index).ends_with("to be one"))
    );

    let again = dataset::load(&of(DatasetSource::Msmarco, &path, 1_000_000, 1)).expect("texts");
    assert_eq!(again.report(), report, "the same file and seed: the same order, so the same hash");
    let other = dataset::load(&of(DatasetSource::Msmarco, &path, 1_000_000, 2)).expect("texts");
    assert_ne!(other.report().sha256, report.sha256);
    let fewer = dataset::load(&of(DatasetSource::Msmarco, &path, 10, 1)).expect("texts");
    assert_eq!((fewer.len(), fewer.report().malformed_lines), (10, 0));
}

#[test]
fn after_the_last_text_the_first_comes_again() {
    let data = data_set();
    let texts = dataset::load(&of(DatasetSource::Text, data.path(), 1_000, 42)).expect("texts");
    assert_eq!(texts.get(1_003), texts.get(3));
}
