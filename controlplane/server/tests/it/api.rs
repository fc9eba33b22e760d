//! What people and programs see of the API, through plain HTTP.

use em_api::client::experiments::Body;
use em_api::problem::Problem;
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};

use crate::server::{Server, body};

impl Server {
    fn call(&self, method: Method, path: &str, token: Option<&str>, body: Option<(&str, Vec<u8>)>) -> Response {
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let mut request = client.request(method, format!("{}{path}", self.url));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some((media, body)) = body {
            request = request.header("content-type", media).body(body);
        }
        self.calls.block_on(request.send()).unwrap()
    }

    fn problem(&self, response: Response) -> Problem {
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        self.calls.block_on(response.json()).unwrap()
    }

    fn admin(&self, method: Method, path: &str, body: Option<Value>) -> Response {
        let token = self.token("admin-token");
        self.call(method, path, Some(&token), body.map(|body| ("application/json", serde_json::to_vec(&body).unwrap())))
    }
}

#[test]
fn three_mistakes_are_told_at_once_and_nothing_is_stored() {
    let server = Server::start();
    let mut posted = body("wrong");
    posted["spec"]["load"]["duration"] = json!("10");
    posted["spec"]["backends"][0]["type"] = json!("vlm");
    posted["spec"]["modle"] = json!({});
    let answer = server.admin(Method::POST, "/experiments", Some(posted));
    assert_eq!(answer.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let problem = server.problem(answer);
    let paths: Vec<&str> = problem.errors.iter().map(|error| error.path.as_str()).collect();
    for path in ["spec.load.duration", "spec.backends[0].type", "spec.modle"] {
        assert!(paths.contains(&path), "{path} in {paths:?}");
    }
    assert_eq!(server.admin(Method::GET, "/experiments/wrong", None).status(), StatusCode::NOT_FOUND);
}

#[test]
fn the_same_again_is_fine_and_another_spec_under_the_name_is_not() {
    let server = Server::start();
    let first = server.admin(Method::POST, "/experiments", Some(body("same")));
    assert_eq!((first.status(), first.headers()["location"].to_str().unwrap()), (StatusCode::CREATED, "/experiments/same"));
    assert_eq!(server.admin(Method::POST, "/experiments", Some(body("same"))).status(), StatusCode::OK);
    let mut other = body("same");
    other["spec"]["matrix"]["batchSizes"] = json!([32]);
    let refused = server.admin(Method::POST, "/experiments", Some(other));
    assert_eq!(refused.status(), StatusCode::CONFLICT);
    assert!(!server.problem(refused).code.is_empty());
}

#[test]
fn a_dry_run_shows_everything_and_stores_nothing() {
    let server = Server::start();
    let creation = server.calls.block_on(server.client.create_experiment(Body::Json(body("dry")), true)).unwrap();
    assert_eq!(creation.answer.experiment.status.trials.total, 4);
    assert!(creation.answer.script.unwrap().contains("#SBATCH"));
    assert_eq!(server.admin(Method::GET, "/experiments/dry", None).status(), StatusCode::NOT_FOUND);
}

#[test]
fn the_measured_spec_can_not_change() {
    let server = Server::start();
    server.create(&body("fixed"));
    let refused = server.admin(Method::PATCH, "/experiments/fixed", Some(json!({"spec": {"load": {"duration": "1m"}}})));
    assert_eq!(refused.status(), StatusCode::CONFLICT);
    let problem = server.problem(refused);
    assert_eq!(problem.code, "spec_immutable");
    let changed = server.admin(
        Method::PATCH,
        "/experiments/fixed",
        Some(json!({"spec": {"retries": 5}, "metadata": {"labels": {"a": "b"}}})),
    );
    assert_eq!(changed.status(), StatusCode::OK);
    let now = server.get("fixed");
    assert_eq!((now.spec.retries, now.metadata.generation, now.metadata.labels["a"].as_str()), (5, 2, "b"));
}

#[test]
fn a_stale_version_is_not_overwritten() {
    let server = Server::start();
    server.create(&body("versions"));
    let token = server.token("admin-token");
    let client = reqwest::Client::new();
    let request = client
        .patch(format!("{}/experiments/versions", server.url))
        .bearer_auth(token)
        .header("if-match", "\"0\"")
        .json(&json!({"spec": {"retries": 5}}));
    let answer = server.calls.block_on(request.send()).unwrap();
    assert_eq!(answer.status(), StatusCode::PRECONDITION_FAILED);
    assert_ne!(server.get("versions").spec.retries, 5);
}

#[test]
fn strangers_get_nothing_and_every_refusal_is_a_problem() {
    let server = Server::start();
    server.create(&body("mine"));
    for path in ["/experiments", "/experiments/mine", "/experiments/mine/logs", "/metrics", "/prometheus/targets"] {
        for token in [None, Some("em_guess")] {
            let answer = server.call(Method::GET, path, token, None);
            assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{path}");
            server.problem(answer);
        }
    }
    for open in ["/healthz", "/readyz", "/ui/"] {
        assert_eq!(server.call(Method::GET, open, None, None).status(), StatusCode::OK, "{open}");
    }
    let scraper = server.token("scraper-token");
    assert_eq!(server.call(Method::GET, "/metrics", Some(&scraper), None).status(), StatusCode::OK);
    assert_eq!(server.call(Method::GET, "/experiments", Some(&scraper), None).status(), StatusCode::FORBIDDEN);
    let admin = server.token("admin-token");
    let refusals = [
        (Method::GET, "/nothing/here", None, StatusCode::NOT_FOUND),
        (Method::PUT, "/experiments", None, StatusCode::METHOD_NOT_ALLOWED),
        (Method::GET, "/experiments?limit=many", None, StatusCode::BAD_REQUEST),
        (Method::POST, "/experiments", Some(("application/json", b"{".to_vec())), StatusCode::BAD_REQUEST),
        (Method::POST, "/experiments", Some(("text/csv", b"a,b".to_vec())), StatusCode::UNSUPPORTED_MEDIA_TYPE),
        (Method::POST, "/experiments", Some(("application/json", vec![b' '; 12 << 20])), StatusCode::PAYLOAD_TOO_LARGE),
    ];
    for (method, path, body, status) in refusals {
        let answer = server.call(method, path, Some(&admin), body);
        assert_eq!(answer.status(), status, "{path}");
        assert!(!server.problem(answer).detail.is_empty());
    }
}

#[test]
fn a_link_opens_a_session_once() {
    let server = Server::start();
    let link = server.calls.block_on(server.client.session_link()).unwrap().url;
    let path = link.strip_prefix(&server.url).expect("our own address");
    let redeemed = server.call(Method::GET, path, None, None);
    assert!(redeemed.status().is_redirection() && redeemed.headers()["location"] == "/ui/");
    let cookie = redeemed.headers()["set-cookie"].to_str().unwrap().to_owned();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"));
    assert!(server.call(Method::GET, path, None, None).status().is_client_error(), "used");
    let pair = cookie.split(';').next().unwrap().to_owned();
    let send = |method: Method, path: &str, origin: Option<&str>| {
        let mut request = reqwest::Client::new().request(method, format!("{}{path}", server.url)).header("cookie", &pair);
        if let Some(origin) = origin {
            request = request.header("origin", origin);
        }
        server.calls.block_on(request.header("content-type", "application/json").body("{}").send()).unwrap().status()
    };
    assert_eq!(send(Method::GET, "/experiments", None), StatusCode::OK);
    assert_eq!(send(Method::POST, "/experiments", Some("http://evil.example")), StatusCode::FORBIDDEN);
    assert_eq!(send(Method::POST, "/experiments", Some(&server.url)), StatusCode::UNPROCESSABLE_ENTITY, "our own page may write");
}

#[test]
fn a_watch_tells_changes_and_resumes_without_gaps() {
    let server = Server::start();
    server.slurm.down(true);
    server.create(&body("first"));
    let token = server.token("admin-token");
    let read = |since: Option<String>, until: &str| {
        server.calls.block_on(async {
            let mut request = reqwest::Client::new().get(format!("{}/experiments?watch=true", server.url)).bearer_auth(&token);
            if let Some(since) = since {
                request = request.header("last-event-id", since);
            }
            let mut response = request.send().await.unwrap();
            let mut text = String::new();
            while !text.contains(until) {
                let chunk = tokio::time::timeout(std::time::Duration::from_secs(10), response.chunk()).await;
                text.push_str(std::str::from_utf8(&chunk.expect("an event in time").unwrap().expect("open")).unwrap());
            }
            text
        })
    };
    let seen = read(None, "\"name\":\"first\"");
    assert!(seen.contains("event: added"));
    let last = seen.lines().filter_map(|line| line.strip_prefix("id: ")).next_back().unwrap().to_owned();
    server.create(&body("second"));
    let resumed = read(Some(last), "\"name\":\"second\"");
    assert!(resumed.contains("event: added"));
}

#[test]
fn prometheus_finds_agents_and_scrapes_them_through_us() {
    use crate::agent::Agent;
    let server = Server::start();
    server.create(&body("scraped"));
    server.until_phase("scraped", em_api::status::Phase::Queued);
    let scraper = server.token("scraper-token");
    let targets = || -> Value {
        let answer = server.call(Method::GET, "/prometheus/targets", Some(&scraper), None);
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
    let scraped = server.call(Method::GET, &path, Some(&scraper), None);
    assert!(scraped.headers()["content-type"].to_str().unwrap().starts_with("text/plain"));
    assert!(server.calls.block_on(scraped.text()).unwrap().contains("em_load_requests_total{outcome=\"ok\"} 7"));
    let own = server.calls.block_on(server.call(Method::GET, "/metrics", Some(&scraper), None).text()).unwrap();
    for name in ["em_workqueue_depth", "em_slurm_rpc_total", "em_experiments", "em_http_requests_total", "em_db_commit_seconds"] {
        assert!(own.contains(name), "{name}");
    }
}
