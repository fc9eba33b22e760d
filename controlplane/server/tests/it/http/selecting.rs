//! Lists by selectors, page by page.

use em_api::client::experiments::ListOptions;
use em_api::experiment::ExperimentList;
use serde_json::{Value, json};

use super::server::{Server, experiment};

async fn post(server: &Server, name: &str, labels: Value, model: &str) {
    let mut body = experiment(name);
    body["metadata"]["labels"] = labels;
    body["spec"]["model"]["id"] = json!(model);
    server.post(body).await;
}

async fn names(server: &Server, labels: Option<&str>, fields: Option<&str>) -> String {
    let (label_selector, field_selector) = (labels.map(str::to_owned), fields.map(str::to_owned));
    let options = ListOptions { label_selector, field_selector, ..ListOptions::default() };
    let all = server.client(&server.admin).all_experiments(options).await.unwrap();
    all.iter().map(|item| item.metadata.name.as_str()).collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn labels_select_as_in_kubernetes_and_fields_beside_them() {
    let server = Server::start().await;
    post(&server, "a", json!({"team": "search", "tier": "one"}), "org/small").await;
    post(&server, "b", json!({"team": "search", "draft": ""}), "org/large").await;
    post(&server, "c", json!({"team": "ads", "tier": "two"}), "org/small").await;
    post(&server, "d", json!({}), "org/large").await;
    server.client(&server.admin).set_desired("d", em_api::spec::Desired::Suspended).await.unwrap();
    for (selector, expected) in [
        ("team=search", "a b"),
        ("team==search,tier", "a"),
        ("team!=search", "c d"),
        ("team in (search,ads)", "a b c"),
        ("team in (search),tier notin (two)", "a b"),
        ("tier notin (one)", "b c d"),
        ("!tier", "b d"),
        ("draft=", "b"),
        ("team", "a b c"),
        ("nobody=has,this=one", ""),
    ] {
        assert_eq!(names(&server, Some(selector), None).await, expected, "{selector}");
    }
    for (selector, expected) in [
        ("metadata.name=b", "b"),
        ("metadata.name!=b", "a c d"),
        ("metadata.owner=ann", "a b c d"),
        ("metadata.owner!=ann", ""),
        ("spec.model.id=org/small", "a c"),
        ("spec.model.id!=org/small,metadata.name!=d", "b"),
        ("status.phase=Pending,spec.model.id=org/small", "a c"),
        ("status.phase=Running", ""),
        ("metadata.name=a,metadata.name=b", ""),
    ] {
        assert_eq!(names(&server, None, Some(selector)).await, expected, "{selector}");
    }
    assert_eq!(names(&server, Some("team=search"), Some("spec.model.id=org/large")).await, "b");
    server.stop().await;
}

async fn page(server: &Server, next: Option<&str>) -> (Vec<String>, Option<String>) {
    let next = next.map(|next| format!("&continue={next}")).unwrap_or_default();
    let list: ExperimentList =
        server.get(&format!("/experiments?limit=3&labelSelector=even%3Dtrue{next}")).await.json().await.unwrap();
    (list.items.into_iter().map(|item| item.metadata.name).collect(), list.next)
}

#[tokio::test]
async fn a_list_goes_on_where_it_was_while_experiments_come_and_go() {
    let server = Server::start().await;
    for number in 0..20 {
        post(&server, &format!("n{number:02}"), json!({"even": (number % 2 == 0).to_string()}), "org/model").await;
    }
    let (first, next) = page(&server, None).await;
    assert_eq!(first, ["n00", "n02", "n04"]);
    // Before, at and behind the place where the next page begins.
    for name in ["n02", "n04", "n08"] {
        server.client(&server.admin).delete_experiment(name).await.unwrap();
        let stored = server.store.stored(name).await.unwrap();
        server.store.remove_experiment(stored.uid, stored.revision).await.unwrap();
    }
    for name in ["a-new", "n07-new", "z-new"] {
        post(&server, name, json!({"even": "true"}), "org/model").await;
    }
    let (second, next) = page(&server, next.as_deref()).await;
    assert_eq!(second, ["n06", "n07-new", "n10"]);
    let (third, next) = page(&server, next.as_deref()).await;
    assert_eq!(third, ["n12", "n14", "n16"]);
    let (last, next) = page(&server, next.as_deref()).await;
    assert_eq!((last, next), (vec!["n18".to_owned(), "z-new".to_owned()], None));
    server.stop().await;
}

#[tokio::test]
async fn the_last_page_says_that_it_is_the_last() {
    let server = Server::start().await;
    for name in ["a", "b", "c"] {
        post(&server, name, json!({"even": "true"}), "org/model").await;
    }
    assert_eq!(page(&server, None).await.1, None, "a full page with nothing behind it");
    let list: Value = server.get("/experiments?limit=3").await.json().await.unwrap();
    assert_eq!(list.get("continue"), None);
    server.stop().await;
}
