//! How a browser comes in, and what its cookie is good for.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::server::{Server, experiment, problem};

/// Redeems a fresh link; the cookie as a browser sends it back, and the whole header.
async fn redeemed(server: &Server) -> (String, String) {
    let link = server.client(&server.admin).session_link().await.unwrap().url;
    let path = link.strip_prefix(&server.url).unwrap();
    let response = server.bare(Method::GET, path).send().await.unwrap();
    assert_eq!((response.status(), response.headers()["location"].to_str().unwrap()), (StatusCode::SEE_OTHER, "/ui/"));
    let set = response.headers()["set-cookie"].to_str().unwrap().to_owned();
    let again = server.bare(Method::GET, path).send().await.unwrap();
    assert!(!again.headers().contains_key("set-cookie"));
    assert_eq!(problem(again, StatusCode::GONE).await.code, "link_spent");
    (set.split(';').next().unwrap().to_owned(), set)
}

#[tokio::test]
async fn a_link_works_once_and_leaves_a_guarded_cookie() {
    let server = Server::start().await;
    server.post(experiment("demo")).await;
    let (cookie, set) = redeemed(&server).await;
    for attribute in ["HttpOnly", "SameSite=Strict", "Path=/", "Max-Age="] {
        assert!(set.contains(attribute), "{set}");
    }
    let with_cookie = |path: &str| server.bare(Method::GET, path).header("cookie", format!("theme=dark; {cookie}")).send();
    assert_eq!(with_cookie("/experiments/demo").await.unwrap().status(), StatusCode::OK);
    let forged = server.bare(Method::GET, "/sessions/redeem?code=eml_0000").send().await.unwrap();
    problem(forged, StatusCode::GONE).await;
    server.stop().await;
}

#[tokio::test]
async fn a_cookie_writes_from_our_own_page_only() {
    let server = Server::start().await;
    server.post(experiment("demo")).await;
    let (cookie, _) = redeemed(&server).await;
    let write = || server.bare(Method::PATCH, "/experiments/demo").header("cookie", &cookie).json(&json!({"spec": {"retries": 4}}));
    let foreign = ["https://evil.example", "http://127.0.0.1:1", "null", "http://127.0.0.1"];
    for origin in foreign {
        let response = write().header("origin", origin).send().await.unwrap();
        assert_eq!(problem(response, StatusCode::FORBIDDEN).await.code, "foreign_origin", "{origin}");
    }
    problem(write().send().await.unwrap(), StatusCode::FORBIDDEN).await;
    assert_eq!(server.store.stored("demo").await.unwrap().spec.retries, 2);
    assert_eq!(write().header("origin", &server.url).send().await.unwrap().status(), StatusCode::OK);
    // A token proves itself: programs send no Origin.
    let response = server.ask(Method::PATCH, "/experiments/demo").json(&json!({"spec": {"retries": 5}})).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    server.stop().await;
}

#[tokio::test]
async fn a_token_typed_into_the_page_signs_in_and_out() {
    let server = Server::start().await;
    let sign_in =
        |token: &str| server.bare(Method::POST, "/sessions").header("origin", &server.url).json(&json!({"token": token})).send();
    problem(sign_in("em_wrong").await.unwrap(), StatusCode::UNAUTHORIZED).await;
    let response = sign_in(&server.admin).await.unwrap();
    assert_eq!(response.status(), StatusCode::NO_CONTENT);
    let cookie = response.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    assert!(!cookie.contains(&server.admin), "the cookie is a session, not the token");
    let list = || server.bare(Method::GET, "/experiments").header("cookie", &cookie).send();
    let items: Value = list().await.unwrap().json().await.unwrap();
    assert_eq!(items["items"], json!([]));
    let out =
        server.bare(Method::DELETE, "/sessions").header("cookie", &cookie).header("origin", &server.url).send().await.unwrap();
    assert!(out.headers()["set-cookie"].to_str().unwrap().contains("Max-Age=0"));
    problem(list().await.unwrap(), StatusCode::UNAUTHORIZED).await;
    let foreign =
        server.bare(Method::POST, "/sessions").header("origin", "https://evil.example").json(&json!({"token": server.admin}));
    problem(foreign.send().await.unwrap(), StatusCode::FORBIDDEN).await;
    server.stop().await;
}
