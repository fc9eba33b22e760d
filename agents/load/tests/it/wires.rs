//! Asking once, on each wire.

use std::time::Duration;

use em_api::spec::{LoadLevel, Wire};
use em_load::{Key, LoadError, LoadPlan, Target, embed_once};
use tokio_util::sync::CancellationToken;

use crate::server::{Reply, Server};
use crate::{data_set, measure, plan};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn vectors_come_back_in_the_order_of_the_texts() {
    let server = Server::start(|number| match number {
        0 => Reply::Raw(200, r#"{"data":[{"index":1,"embedding":[3,4]},{"index":0,"embedding":[1.5,-2e-1]}]}"#.to_owned()),
        1 => Reply::Raw(
            200,
            r#"{"data":[{"index":0,"embedding":"AACAPwAAAEA="},{"index":1,"embedding":"AABAQAAAgEA="}]}"#.to_owned(),
        ),
        2 => Reply::Raw(503, "loading the model".to_owned()),
        3 => Reply::Raw(200, r#"{"data":[{"index":0,"embedding":[1]}]}"#.to_owned()),
        _ => Reply::After(Duration::from_secs(60), Box::new(Reply::Vectors(8))),
    });
    let texts = ["a".to_owned(), "b".to_owned()];
    let fields = serde_json::Map::new();
    let target = |wire| Target { url: &server.url, wire, model: "m", fields: &fields, key: None };
    let ask = |wire, timeout| embed_once(target(wire), &texts, timeout);
    let long = Duration::from_secs(20);
    assert_eq!(ask(Wire::OpenaiFloat, long).await.expect("vectors"), [[1.5, -0.2], [3.0, 4.0]]);
    assert_eq!(ask(Wire::OpenaiBase64, long).await.expect("vectors"), [[1.0, 2.0], [3.0, 4.0]]);
    let error = ask(Wire::OpenaiFloat, long).await.expect_err("503");
    assert!(matches!(&error, LoadError::Status { status: 503, body, .. } if body == "loading the model"), "{error}");
    let error = ask(Wire::OpenaiFloat, long).await.expect_err("one vector too few");
    assert!(error.to_string().contains("1 vectors for 2 texts"), "{error}");
    let error = ask(Wire::OpenaiFloat, Duration::from_millis(200)).await.expect_err("too slow");
    assert!(matches!(&error, LoadError::Transport { source, .. } if source.is_timeout()), "{error}");
    assert_eq!(server.requests()[0], texts);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_protected_server_gets_the_key_and_no_report_shows_it() {
    let server = Server::start(|_| Reply::Protected("right"));
    let data = data_set();
    let file = data.path().with_extension("key");
    let keyed = |token: &str| {
        std::fs::write(&file, format!("{token}\n")).expect("writing");
        LoadPlan { api_key_file: Some(file.display().to_string()), ..plan(&server.url, &data, LoadLevel::Concurrency(2)) }
    };
    let report = measure(keyed("right")).await;
    assert!(report.counts.ok > 0 && report.counts.errors() == 0, "{:?}", report.counts);
    let report = measure(keyed("wrong-4711")).await;
    let text = serde_json::to_string(&report).expect("JSON");
    assert!(report.counts.ok == 0 && text.contains("wrong key") && !text.contains("wrong-4711"), "{:?}", report.error_examples);

    let (fields, key) = (serde_json::Map::new(), Key::new("right").expect("a token"));
    let target = Target { url: &server.url, wire: Wire::OpenaiFloat, model: "m", fields: &fields, key: Some(&key) };
    assert_eq!(embed_once(target, &["a".to_owned()], Duration::from_secs(20)).await.expect("vectors").len(), 1);
    let refused = embed_once(Target { key: None, ..target }, &["a".to_owned()], Duration::from_secs(20)).await;
    assert!(matches!(refused, Err(LoadError::Status { status: 401, .. })));
    let missing = LoadPlan { api_key_file: Some("/no/such/key".to_owned()), ..keyed("right") };
    let error = em_load::run(missing, CancellationToken::new(), |_| {}).await.expect_err("no key");
    assert!(error.to_string().contains("apiKeyFile"), "{error}");
    std::fs::remove_file(&file).expect("removing");
}
