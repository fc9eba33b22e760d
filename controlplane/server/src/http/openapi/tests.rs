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
fn every_body_of_json_is_a_named_schema() {
    let document = document();
    let mut bodies = 0;
    for (name, operation) in operations(&document) {
        let answers = operation["responses"].as_object().unwrap().values();
        for content in answers.chain([&operation["requestBody"]]).filter_map(|body| body["content"].as_object()) {
            for (media_type, body) in content {
                assert!(body["schema"]["$ref"].is_string(), "{name} has no named schema for {media_type}: {body}");
                bodies += 1;
            }
        }
        assert!(operation["responses"].as_object().unwrap().keys().any(|status| status.as_str() < "400"), "{name} never goes well");
    }
    assert!(bodies > 100, "{bodies}");
}

#[test]
fn every_reference_leads_somewhere_and_every_schema_is_used() {
    let document = document();
    let mut links = BTreeSet::new();
    collect(&document, &mut links);
    for link in &links {
        assert!(document.pointer(link.trim_start_matches('#')).is_some(), "{link} leads nowhere");
    }
    for name in document["components"]["schemas"].as_object().unwrap().keys() {
        assert!(links.contains(&format!("#/components/schemas/{name}")), "nothing uses the schema {name}");
    }
}

fn collect(value: &Value, links: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            links.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
            fields.values().for_each(|value| collect(value, links));
        }
        Value::Array(items) => items.iter().for_each(|value| collect(value, links)),
        _ => {}
    }
}

#[test]
fn every_operation_says_what_it_is_for_and_who_may() {
    let document = document();
    let mut ids = BTreeSet::new();
    for (name, operation) in operations(&document) {
        assert!(operation["summary"].as_str().is_some_and(|summary| !summary.contains('\n')), "{name} has no summary of one line");
        assert!(ids.insert(operation["operationId"].as_str().unwrap()), "{name} has the id of another operation");
        let tag = &operation["tags"][0];
        assert!(document["tags"].as_array().unwrap().iter().any(|known| known["name"] == *tag), "{name} has the unknown tag {tag}");
        let open =
            ["pages", "sessions"].contains(&tag.as_str().unwrap()) || name.ends_with("/healthz") || name.ends_with("/readyz");
        assert!(open || operation["security"][0].is_object(), "{name} does not say which token opens it");
    }
}
