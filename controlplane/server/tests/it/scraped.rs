//! A running agent as Prometheus sees it, with the reconciler at work: the rest of the API's promises stand in `http/`.

use reqwest::Response;
use serde_json::{Value, json};

use crate::agent::Agent;
use crate::server::{Server, body};

#[test]
fn prometheus_finds_agents_and_scrapes_them_through_us() {
    let server = Server::start();
    server.create(&body("scraped"));
    server.until_phase("scraped", em_api::status::Phase::Queued);
    let scraper = server.token("scraper-token");
    let targets = || -> Value {
        let answer = scrape(&server, "/prometheus/targets", &scraper);
        server.calls.block_on(answer.json()).unwrap()
    };
    assert_eq!(targets(), json!([]));
    let agent = Agent::of(&server, 0);
    agent.claim("1", "n", 0).unwrap();
    let text = "# TYPE em_load_requests_total counter\nem_load_requests_total{outcome=\"ok\"} 7\n".to_owned();
    agent.records(vec![em_api::agent::RecordBody::Exposition { text }]).unwrap();
    let found = targets();
    let labels = &found[0]["labels"];
    assert_eq!(labels["experiment"], "scraped");
    assert_eq!(format!("http://{}", found[0]["targets"][0].as_str().unwrap()), server.url);
    let path = labels["__metrics_path__"].as_str().unwrap().to_owned();
    let scraped = scrape(&server, &path, &scraper);
    assert!(scraped.headers()["content-type"].to_str().unwrap().starts_with("text/plain"));
    assert!(server.calls.block_on(scraped.text()).unwrap().contains("em_load_requests_total{outcome=\"ok\"} 7"));
    let own = server.calls.block_on(scrape(&server, "/metrics", &scraper).text()).unwrap();
    for name in ["em_workqueue_depth", "em_slurm_rpc_total", "em_experiments", "em_http_requests_total", "em_db_commit_seconds"] {
        assert!(own.contains(name), "{name}");
    }
}

fn scrape(server: &Server, path: &str, token: &str) -> Response {
    let request = reqwest::Client::new().get(format!("{}{path}", server.url)).bearer_auth(token);
    server.calls.block_on(request.send()).unwrap()
}
