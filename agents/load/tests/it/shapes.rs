//! Rates that change, traces, mixes of sizes and lengths, the file of requests and the self-check: what is sent, and what is said of it.

use std::collections::BTreeMap;
use std::time::Duration;

use em_api::HumanDuration;
use em_api::spec::LoadLevel;
use em_load::null_server::{NullServer, body};
use em_load::{BatchShare, LengthShare, LoadPlan, Shape, Step};
use em_stats::histogram;
use parquet::file::reader::{FileReader, SerializedFileReader};

use crate::server::{Reply, Server};
use crate::{data_set, measure, plan};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn steps_and_ramps_send_what_they_plan() {
    let data = data_set();
    let server = Server::start(|_| Reply::Vectors(8));
    let step = |rate| Step { rate, length: HumanDuration::from_secs(1) };
    let mut steps = plan(&server.url, &data, LoadLevel::RequestRate(60.0));
    steps.shape = Some(Shape::Steps(vec![step(20.0), step(60.0)]));
    steps.duration = HumanDuration::from_secs(2);
    let report = measure(steps).await;
    assert_eq!(report.counts.ok + report.counts.late, 80);

    let mut ramp = plan(&server.url, &data, LoadLevel::RequestRate(90.0));
    ramp.shape = Some(Shape::Ramp { from: 10.0, to: 90.0, over: HumanDuration::from_secs(2) });
    ramp.duration = HumanDuration::from_secs(2);
    let report = measure(ramp).await;
    assert_eq!(report.counts.ok + report.counts.late, 100, "50/s on average");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trace_decides_when_how_many_and_how_long() {
    let data = data_set();
    std::fs::write(
        data.path().join("texts.txt"),
        "one\ntwo words\nfive words are in here\nnine words are in this one line of text\n",
    )
    .expect("texts");
    let trace = data.path().join("trace.csv");
    std::fs::write(&trace, "at_s,texts,words\n0.0,3,1\n0.2,1,9\n0.4,2,5\n0.9,1,2\n").expect("a trace");
    let server = Server::start(|_| Reply::Vectors(8));
    let mut replay = plan(&server.url, &data, LoadLevel::RequestRate(4.0));
    replay.shape = Some(Shape::Trace { path: trace, rate: None });
    let report = measure(replay).await;
    let sent: Vec<(usize, usize)> =
        server.requests().iter().map(|texts| (texts.len(), texts[0].split_whitespace().count())).collect();
    assert_eq!(sent[..4], [(3, 1), (1, 9), (2, 5), (1, 2)]);
    let late = report.counts.late;
    assert!((report.texts_ok + late..=report.texts_ok + 3 * late).contains(&7), "{:?}", report.counts);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mixes_reach_the_server_and_texts_are_counted_as_sent() {
    let data = data_set();
    let texts: String = (1..=40).map(|words| format!("{}\n", vec!["w"; words].join(" "))).collect();
    std::fs::write(data.path().join("texts.txt"), texts).expect("texts");
    let server = Server::start(|_| Reply::Vectors(8));
    let mut mixed = plan(&server.url, &data, LoadLevel::RequestRate(200.0));
    mixed.batch_mix = Some(vec![BatchShare { texts: 1, share: 1.0 }, BatchShare { texts: 5, share: 1.0 }]);
    mixed.length_mix = Some(vec![LengthShare { words: 3, share: 0.5 }, LengthShare { words: 30, share: 0.5 }]);
    let report = measure(mixed).await;
    let mut sizes: BTreeMap<usize, u32> = BTreeMap::new();
    for texts in server.requests() {
        *sizes.entry(texts.len()).or_default() += 1;
        for text in texts {
            let words = text.split_whitespace().count();
            assert!(words == 3 || (27..=33).contains(&words), "{words}");
        }
    }
    assert!(sizes.keys().eq([&1, &5]) && sizes.values().all(|count| *count >= 60), "{sizes:?}");
    // What came late on a busy machine counts for nothing.
    let sent: u64 = sizes.iter().map(|(size, count)| *size as u64 * u64::from(*count)).sum();
    let late = report.counts.late;
    assert!(
        (report.texts_ok + late..=report.texts_ok + 5 * late).contains(&sent),
        "{sent} sent, {} counted, {late} late",
        report.texts_ok
    );
}

/// Everything that a person would quote, computed again from the file.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn numbers_computed_again_from_the_file_of_requests_are_the_same() {
    let data = data_set();
    for level in [LoadLevel::Concurrency(4), LoadLevel::RequestRate(150.0)] {
        let server = Server::start(|number| match number % 17 {
            3 => Reply::Raw(429, "slow down".to_owned()),
            5 => Reply::Vectors(7),
            7 => Reply::After(Duration::from_millis(40), Box::new(Reply::Vectors(8))),
            _ => Reply::After(Duration::from_millis(3), Box::new(Reply::Vectors(8))),
        });
        let path = data.path().join("requests.parquet");
        let mut written = plan(&server.url, &data, level);
        written.warmup = Duration::from_millis(300).into();
        written.requests = Some(path.clone());
        let report = measure(written).await;

        let [mut latency, mut service, mut slip] = [histogram::new(), histogram::new(), histogram::new()];
        let (mut outcomes, mut texts, mut bytes, mut warm) = (BTreeMap::<String, u64>::new(), 0, 0, 0);
        let reader = SerializedFileReader::new(std::fs::File::open(&path).expect("a file")).expect("parquet");
        for row in reader.get_row_iter(None).expect("rows") {
            let row: BTreeMap<String, parquet::record::Field> = row.expect("a row").into_columns().into_iter().collect();
            let long = |name: &str| if let parquet::record::Field::Long(value) = row[name] { value } else { panic!("{name}") };
            let parquet::record::Field::Str(outcome) = &row["outcome"] else { panic!("outcome") };
            let parquet::record::Field::Bool(inside) = row["in_window"] else { panic!("in_window") };
            let parquet::record::Field::Int(size) = row["texts"] else { panic!("texts") };
            warm += u64::from(long("ended_us") < 0);
            if outcome == "late" || inside {
                *outcomes.entry(outcome.clone()).or_default() += 1;
            }
            if !inside {
                continue;
            }
            slip.saturating_record(long("slip_us") as u64);
            bytes += long("bytes") as u64;
            texts += if outcome == "ok" { size as u64 } else { 0 };
            if outcome == "ok" || outcome == "late" {
                latency.saturating_record(long("latency_us") as u64);
                service.saturating_record(long("service_us") as u64);
            }
        }
        let count = |word: &str| outcomes.get(word).copied().unwrap_or(0);
        assert!(warm > 0, "the warm-up is in the file too");
        assert_eq!((report.texts_ok, report.response_bytes), (texts, bytes), "{level}");
        let counts = &report.counts;
        assert_eq!(
            (counts.ok, counts.late, counts.http_status.values().sum::<u64>(), counts.wrong_shape, counts.errors()),
            (count("ok"), count("late"), count("http_status"), count("wrong_shape"), count("http_status") + count("wrong_shape")),
            "{level}"
        );
        for (seen, computed) in [(&report.latency_us, latency), (&report.service_time_us, service), (&report.slip_us, slip)] {
            assert_eq!(seen.0, histogram::encode(&computed), "{level}: bucket for bucket");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_generators_own_limit_is_measured_and_a_server_that_takes_no_time_is_seen_to_be_below_it() {
    let data = data_set();
    let null = NullServer::start(body(em_api::spec::Wire::OpenaiFloat, 4, 64, 4 * 64 * 12)).expect("a server");
    let check = LoadPlan { headroom_requests_per_s: None, ..plan(&null.url, &data, LoadLevel::Concurrency(8)) };
    let report = measure(check).await;
    let headroom = report.generator.headroom_requests_per_s.expect("measured");
    let offered = report.requests_ok as f64 / report.window_s;
    assert!(headroom > 0.0 && offered * 3.0 > headroom, "{offered} of {headroom}: this trial measured the generator");
    assert!(report.generator.slip_p99_ms.is_some() && report.generator.cpu_s > 0.0);

    let known = LoadPlan { headroom_requests_per_s: Some(123.0), ..plan(&null.url, &data, LoadLevel::RequestRate(20.0)) };
    assert_eq!(measure(known).await.generator.headroom_requests_per_s, Some(123.0), "not measured again");
}
