//! Results, reports and plots of an experiment that was measured.

use std::io::{Cursor, Read};

use em_api::results::ComparisonVerdict;
use reqwest::StatusCode;

use super::server::{Job, Server, problem};

/// All trials, `ort` twice as fast as `hf`, but for a little scatter between the repetitions.
async fn measured(server: &Server) -> Job {
    let job = server.submitted("demo").await;
    job.claimed().await;
    for row in &job.rows {
        let requests = if row.backend == "ort" { 400 } else { 200 } + 10 * u64::from(row.repetition);
        job.hand_in(&job.measured(row, requests)).await.unwrap();
    }
    job
}

#[tokio::test]
async fn results_grow_with_the_measurements() {
    let server = Server::start().await;
    let job = server.submitted("demo").await;
    let client = server.client(&server.admin);
    let nothing = client.results("demo").await.unwrap();
    assert!(!nothing.complete && nothing.trials.is_empty());
    job.claimed().await;
    job.hand_in(&job.measurement(&job.rows[0])).await.unwrap();
    let one = client.results("demo").await.unwrap();
    assert_eq!((one.complete, one.trials.len()), (false, 1));
    assert_ne!(one.measurements_sha256, nothing.measurements_sha256);
    server.stop().await;
}

#[tokio::test]
async fn results_name_the_faster_backend() {
    let server = Server::start().await;
    measured(&server).await;
    let results = server.client(&server.admin).results("demo").await.unwrap();
    assert!(results.complete);
    assert_eq!((results.cells.len(), results.trials.len()), (4, 12));
    let cell = results.cells.iter().find(|cell| cell.backend == "ort" && cell.batch_size == 16).unwrap();
    let rate = cell.texts_per_second.unwrap();
    assert!((rate.mean - 672.0).abs() < 1.0 && rate.n == 3, "420 requests of 16 texts in 10 s, not {rate:?}");
    assert!((cell.latency_ms.p50.value.unwrap() - 50.0).abs() < 0.1);
    let verdict = results.comparisons.iter().find(|pair| pair.batch_size == 16).unwrap();
    let expected = if verdict.a == "ort" { ComparisonVerdict::Faster } else { ComparisonVerdict::Slower };
    assert_eq!(verdict.verdict, expected, "{verdict:?}");
    server.stop().await;
}

#[tokio::test]
async fn the_capsule_tells_where_and_how_it_ran() {
    let server = Server::start().await;
    let job = measured(&server).await;
    let capsule = server.client(&server.admin).capsule("demo").await.unwrap();
    assert_eq!((capsule.experiment.as_str(), capsule.nodes.len()), ("demo", 1));
    assert_eq!(capsule.nodes[0].trials.len(), job.rows.len(), "all trials saw the same node");
    assert_eq!(capsule.jobs.len(), 1);
    assert!(capsule.jobs[0].started_at.is_some(), "{:?}", capsule.jobs);
    assert!(!capsule.datasets[0].sha256.is_empty());
    problem(server.get("/experiments/none/capsule").await, StatusCode::NOT_FOUND).await;
    server.stop().await;
}

#[tokio::test]
async fn the_report_comes_in_all_its_forms() {
    let server = Server::start().await;
    measured(&server).await;
    for (ending, kind, holds) in [
        ("html", "text/html", "<html"),
        ("md", "text/markdown", "ort"),
        ("txt", "text/plain", "ort"),
        ("csv", "text/csv", "ort"),
        ("json", "application/json", "\"cells\""),
    ] {
        let response = server.get(&format!("/experiments/demo/report.{ending}")).await;
        assert_eq!(response.status(), StatusCode::OK, "{ending}");
        assert!(response.headers()["content-type"].to_str().unwrap().starts_with(kind), "{ending}");
        assert!(response.headers().contains_key("content-security-policy"), "a report runs no script: {ending}");
        assert!(response.text().await.unwrap().contains(holds), "{ending}");
    }
    problem(server.get("/experiments/demo/report.pdf").await, StatusCode::NOT_FOUND).await;
    server.stop().await;
}

#[tokio::test]
async fn the_zip_holds_every_file() {
    let server = Server::start().await;
    measured(&server).await;
    let response = server.get("/experiments/demo/report.zip").await;
    assert_eq!(response.headers()["content-disposition"], "attachment; filename=\"demo-report.zip\"");
    let mut zip = zip::ZipArchive::new(Cursor::new(response.bytes().await.unwrap())).unwrap();
    let names: Vec<String> = zip.file_names().map(str::to_owned).collect();
    for name in [
        "report.html",
        "report.md",
        "summary_report.txt",
        "results.csv",
        "results_index.json",
        "plots/throughput_comparison.png",
        "plots/latency_comparison.png",
        "plots/gpu_utilization.png",
        "plots/throughput_comparison.svg",
    ] {
        assert!(names.iter().any(|held| held == name), "{name} is missing in {names:?}");
    }
    let trials = names.iter().filter(|name| name.starts_with("stress_") && name.contains("_rep")).count();
    let cells = names.iter().filter(|name| name.starts_with("stress_") && !name.contains("_rep")).count();
    assert_eq!((trials, cells), (12, 4), "{names:?}");
    let mut text = String::new();
    zip.by_name("summary_report.txt").unwrap().read_to_string(&mut text).unwrap();
    let shown = server.get("/experiments/demo/report.txt").await.text().await.unwrap();
    assert_eq!(text, shown, "the zip and the single file say the same");
    server.stop().await;
}

#[tokio::test]
async fn plots_come_as_png_and_svg() {
    let server = Server::start().await;
    measured(&server).await;
    for plot in ["throughput_comparison", "latency_comparison", "gpu_utilization"] {
        let png = server.get(&format!("/experiments/demo/plots/{plot}.png")).await;
        assert_eq!(png.headers()["content-type"], "image/png");
        let bytes = png.bytes().await.unwrap();
        assert!(bytes.starts_with(b"\x89PNG\r\n\x1a\n") && bytes.len() > 2_000, "{plot}: {} bytes", bytes.len());
        let svg = server.get(&format!("/experiments/demo/plots/{plot}.svg")).await;
        assert_eq!(svg.headers()["content-type"], "image/svg+xml");
        assert!(svg.text().await.unwrap().contains("<svg"), "{plot}");
    }
    server.stop().await;
}
