//! Posts an experiment once, however often it takes: one key an invocation, so that a repeat after a lost answer finds what the
//! first request made.

use std::time::Duration;

use em_api::client::experiments::{Body, Creation};
use em_api::client::{Client, ClientError};
use ulid::Ulid;

use crate::output::note;

/// Between two tries; about a quarter of a minute in all.
const PAUSES: [Duration; 5] =
    [Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4), Duration::from_secs(8)];

pub(super) async fn post(client: &Client, body: &Body) -> Result<Creation, ClientError> {
    let key = Ulid::generate().to_string();
    let mut answer = client.create_once(body.clone(), &key).await;
    // Nobody there at the first try: nothing can be lost, and the user wants to know at once.
    if matches!(&answer, Err(ClientError::Unreachable { source, .. }) if source.is_connect()) {
        return answer;
    }
    for pause in PAUSES {
        match answer {
            Err(error) if is_lost(&error) => {
                note(&format!("{error}; asking again"));
                tokio::time::sleep(pause).await;
                answer = client.create_once(body.clone(), &key).await;
            }
            told => return told,
        }
    }
    answer
}

/// Whether the experiment may be stored although we were not told.
fn is_lost(error: &ClientError) -> bool {
    match error {
        ClientError::Unreachable { .. } | ClientError::Answer { .. } => true,
        ClientError::Problem(problem) => problem.code == "idempotency_in_flight" || (502..=504).contains(&problem.status),
        ClientError::Address(_) => false,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::TcpListener;

    use em_api::experiment::Created;
    use serde_json::json;

    use super::*;
    use crate::progress::tests::experiment;

    /// A made-up server that hangs up on the first request and answers the second; the keys that came.
    fn forgetful(listener: &TcpListener) -> Vec<String> {
        let created =
            Created { experiment: experiment("Pending"), warnings: Vec::new(), script: None, trials: Vec::new(), plan: None };
        let body = serde_json::to_string(&created).unwrap();
        let mut keys = Vec::new();
        for answers in [false, true] {
            let (mut stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let (mut length, mut line) = (0, String::new());
            while reader.read_line(&mut line).unwrap() > 2 {
                let (name, value) = line.split_once(':').unwrap_or_default();
                match name.to_ascii_lowercase().as_str() {
                    "content-length" => length = value.trim().parse().unwrap(),
                    "idempotency-key" => keys.push(value.trim().to_owned()),
                    _ => {}
                }
                line.clear();
            }
            reader.take(length).read_to_end(&mut Vec::new()).unwrap();
            if answers {
                let head = "HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length:";
                write!(stream, "{head} {}\r\n\r\n{body}", body.len()).unwrap();
            }
        }
        keys
    }

    #[tokio::test]
    async fn a_lost_answer_is_asked_for_again_under_the_same_key() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = Client::new(&format!("http://{}", listener.local_addr().unwrap()), None).unwrap();
        let server = std::thread::spawn(move || forgetful(&listener));
        let creation = post(&client, &Body::Json(json!({}))).await.unwrap();
        assert!(creation.new);
        let keys = server.join().unwrap();
        assert!(keys.len() == 2 && keys[0] == keys[1] && keys[0].parse::<Ulid>().is_ok(), "{keys:?}");
    }

    #[tokio::test]
    async fn nobody_there_is_told_at_once() {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let client = Client::new(&format!("http://{address}"), None).unwrap();
        let refused = post(&client, &Body::Json(json!({}))).await;
        assert!(matches!(refused, Err(ClientError::Unreachable { .. })), "{refused:?}");
    }
}
