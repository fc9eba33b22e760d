#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;

use actix_web::introspection::IntrospectionTree;
use actix_web::web::{self, Data};
use actix_web::{HttpResponse, test as probe};
use serde_json::Value;

use super::document;
use crate::http::all;

const METHODS: [&str; 7] = ["get", "head", "post", "put", "patch", "delete", "options"];

/// What the framework says is registered, as `METHOD /path/{parameter}`.
async fn registered() -> BTreeSet<String> {
    async fn tell(tree: Data<IntrospectionTree>) -> HttpResponse {
        HttpResponse::Ok().content_type("application/json").body(tree.report_as_json())
    }
    let app = actix_web::App::new().configure(all).service(web::resource("/the-test's-own").route(web::get().to(tell)));
    let app = probe::init_service(app).await;
    let report = probe::call_and_read_body(&app, probe::TestRequest::get().uri("/the-test's-own").to_request()).await;
    let routes: Vec<Value> = serde_json::from_slice(&report).unwrap();
    let mut found = BTreeSet::new();
    for route in routes.iter().filter(|route| route["full_path"] != "/the-test's-own") {
        let path = route["full_path"].as_str().unwrap().replace(":.*}", "}");
        for method in route["methods"].as_array().unwrap() {
            found.insert(format!("{} {path}", method.as_str().unwrap()));
        }
    }
    found
}

fn operations(document: &Value) -> Vec<(String, &Value)> {
    let paths = document["paths"].as_object().unwrap().iter();
    let operations = paths.flat_map(|(path, item)| METHODS.iter().map(move |method| (path, *method, &item[*method])));
    let there = operations.filter(|(_, _, operation)| !operation.is_null());
    there.map(|(path, method, operation)| (format!("{} {path}", method.to_uppercase()), operation)).collect()
}

#[actix_web::test]
async fn every_route_is_in_the_document_and_nothing_else() {
    let document = document();
    let described: BTreeSet<String> = operations(&document).into_iter().map(|(name, _)| name).collect();
    let registered = registered().await;
    assert!(registered.len() > 30, "{registered:?}");
    assert_eq!(registered.difference(&described).collect::<Vec<_>>(), Vec::<&String>::new(), "registered, but not described");
    assert_eq!(described.difference(&registered).collect::<Vec<_>>(), Vec::<&String>::new(), "described, but not registered");
}

#[test]
fn dump() {
    std::fs::write("/tmp/openapi.json", serde_json::to_string_pretty(&document()).unwrap()).unwrap();
}
