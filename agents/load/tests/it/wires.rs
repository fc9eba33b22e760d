//! Asking once, on each wire.

use std::time::Duration;

use em_api::spec::Wire;
use em_load::{LoadError, embed_once};

use crate::server::{Reply, Server};

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
    let ask = |wire, timeout| embed_once(&server.url, wire, "m", &texts, timeout);
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
