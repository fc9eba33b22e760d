//! A merge against one recording of everything.

use std::sync::Arc;

use em_api::Timestamp;
use em_api::measurement::{DatasetReport, GeneratorReport, LoadReport};
use em_api::spec::{DatasetSource, LoadLevel};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use crate::clock::{Nanos, SECOND};
use crate::collector::{Belongs, Collector, Sample};
use crate::draw::{Draw, Portion};
use crate::exchange::Outcome;
use crate::merge::merge;
use crate::window::Window;
use crate::{DatasetRef, LoadPlan};

/// A window of 5 s.
fn collector() -> Collector {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("texts.txt");
    std::fs::write(&path, "one\ntwo words\nthree words here\n").expect("writing");
    let texts = crate::dataset::load(&DatasetRef { source: DatasetSource::Text, path, limit: 10, seed: 1 }).expect("texts");
    let draw = Draw::new(Arc::new(texts), &LoadPlan { batch_size: 3, ..crate::plan::tests::plan() }, false);
    Collector::new(Window::new(SECOND, 5 * SECOND, 0), Belongs::ByPlan, Arc::new(draw))
}

fn report(mut collector: Collector, requests_per_s: f64) -> LoadReport {
    let [latency_us, service_time_us, slip_us] = collector.histograms();
    LoadReport {
        url: "http://host:1/v1/embeddings".to_owned(),
        level: LoadLevel::RequestRate(requests_per_s),
        batch_size: 3,
        warmup_s: 1.0,
        window_started_at: Timestamp::from_second(1_700_000_000).expect("a time"),
        window_s: collector.window_s(),
        extended: false,
        texts_ok: collector.texts_ok,
        requests_ok: collector.counts.ok,
        latency_us,
        service_time_us,
        slip_us,
        per_second: collector.per_second(),
        text_words: collector.text_words(),
        embedding_dim: collector.dim,
        response_bytes: collector.response_bytes,
        generator: GeneratorReport {
            cpu_s: 0.5,
            cores: vec![0],
            headroom_requests_per_s: Some(4_000.0),
            slip_p99_ms: collector.own_slip_p99_ms(),
            cpu_wait_s: Some(0.125),
            version: "em-load".to_owned(),
        },
        dataset: DatasetReport { source: "text".to_owned(), texts: 3, seed: 1, sha256: "ab".to_owned(), malformed_lines: 0 },
        error_examples: collector.examples.clone(),
        find_max: None,
        plan: [("timeout".to_owned(), "\"20s\"".to_owned())].into(),
        merged: None,
        counts: collector.counts,
    }
}

/// One of many kinds of request: some planned before or after the window, some slow, some failed.
fn sample(number: u64, random: &mut ChaCha8Rng) -> Sample {
    let planned = random.next_u64() % (7 * SECOND);
    let sent = planned + random.next_u64() % (SECOND / 100);
    let spread = 1_u64 << (random.next_u64() % 35);
    let ended: Nanos = sent + 1_000 + random.next_u64() % spread;
    let (outcome, fault) = match random.next_u64() % 20 {
        0 => (Outcome::Status(500 + (number % 3) as u16), Some(format!("fault {}", number % 7))),
        1 => (Outcome::TimedOut, None),
        2 => (Outcome::Refused, None),
        3 => (Outcome::NotFinite, None),
        4 => (Outcome::WrongNorm, None),
        5 => (Outcome::WrongShape, None),
        _ => (Outcome::Valid { dim: 8 }, None),
    };
    let portion = Portion { first: number * 3, texts: 3, words: None };
    Sample { number, portion, planned, sent, ended, free: number.is_multiple_of(2), outcome, bytes: number % 1_000, fault }
}

#[test]
fn eight_reports_merged_are_one_recording_of_all_bucket_for_bucket() {
    const REQUESTS: u64 = 40_000;
    let mut parts: Vec<Collector> = (0..8).map(|_| collector()).collect();
    let mut pooled = collector();
    for collector in parts.iter_mut().chain([&mut pooled]) {
        collector.window.advance(30 * SECOND, u64::MAX);
    }
    // Two streams of the same numbers.
    let (mut one, mut two) = (ChaCha8Rng::seed_from_u64(7), ChaCha8Rng::seed_from_u64(7));
    for number in 0..REQUESTS {
        parts[(number % 8) as usize].record(sample(number, &mut one));
        pooled.record(sample(number, &mut two));
    }
    let parts: Vec<(String, LoadReport)> =
        parts.into_iter().enumerate().map(|(at, part)| (format!("{at}.json"), report(part, 12.5))).collect();
    // Through JSON, as they come.
    let read = |text: String| serde_json::from_str::<LoadReport>(&text).expect("a report");
    let parts: Vec<_> = parts.into_iter().map(|(name, part)| (name, read(serde_json::to_string(&part).expect("JSON")))).collect();
    let merged = merge(&parts).expect("merged");
    let pooled = report(pooled, 100.0);

    assert!(pooled.requests_ok > 15_000 && pooled.counts.errors() > 5_000 && pooled.counts.late > 100, "{:?}", pooled.counts);
    assert_eq!(merged.latency_us, pooled.latency_us);
    assert_eq!(merged.service_time_us, pooled.service_time_us);
    assert_eq!(merged.slip_us, pooled.slip_us);
    assert_eq!((merged.counts, merged.texts_ok, merged.requests_ok), (pooled.counts, pooled.texts_ok, pooled.requests_ok));
    assert_eq!((merged.per_second, merged.text_words), (pooled.per_second, pooled.text_words));
    assert_eq!((merged.response_bytes, merged.embedding_dim, merged.window_s), (pooled.response_bytes, Some(8), 5.0));
    assert_eq!(merged.level, pooled.level);
    let generator = merged.generator;
    assert_eq!((generator.cpu_s, generator.cpu_wait_s, generator.cores.len()), (4.0, Some(1.0), 8));
    assert!(generator.slip_p99_ms >= pooled.generator.slip_p99_ms, "not below the p99 of all");
    let told = merged.merged.expect("it says so");
    assert_eq!((told.generators, told.overlap_s, told.spread_s), (8, 5.0, 0.0));
}

#[test]
fn a_generator_at_its_limit_makes_the_whole_client_bound() {
    let mut parts = Vec::new();
    for (name, requests, headroom) in [("busy", 1_000, 250.0), ("idle", 10, 4_000.0)] {
        let mut collector = collector();
        for number in 0..requests {
            let portion = Portion { first: 0, texts: 3, words: None };
            let (planned, outcome) = (2 * SECOND, Outcome::Valid { dim: 8 });
            collector.record(Sample {
                number,
                portion,
                planned,
                sent: planned,
                ended: planned + 1_000,
                free: true,
                outcome,
                bytes: 1,
                fault: None,
            });
        }
        let mut report = report(collector, 1.0);
        report.generator.headroom_requests_per_s = Some(headroom);
        parts.push((name.to_owned(), report));
    }
    let merged = merge(&parts).expect("merged");
    let offered = merged.counts.ok as f64 / merged.window_s;
    let room = merged.generator.headroom_requests_per_s.expect("known") / offered;
    assert!((room - 1.25).abs() < 1e-9, "as the busy one: {room}");
    parts[1].1.generator.headroom_requests_per_s = None;
    assert_eq!(merge(&parts).expect("merged").generator.headroom_requests_per_s, None);
}
