//! The refusals that many addresses share, added to each operation that can answer so; and problem+json as the body of all of them.

use em_api::problem::CONTENT_TYPE;
use serde_json::{Map, Value, json};

pub(super) fn add(document: &mut Value) {
    let paths = document["paths"].as_object_mut().expect("utoipa wrote an object");
    for (path, item) in paths {
        for (_, operation) in item.as_object_mut().into_iter().flatten() {
            if operation.get("responses").is_some() {
                complete(path, operation);
            }
        }
    }
}

fn complete(path: &str, operation: &mut Value) {
    let secured = operation["security"].as_array().is_some_and(|ways| !ways.is_empty());
    let people = operation["security"].as_array().into_iter().flatten().any(|way| way.get("token").is_some());
    let has_body = !operation["requestBody"].is_null();
    let reads_input = has_body || parameters(operation).any(|one| one["in"] != "path");
    let works = secured || path.starts_with("/sessions");
    let shared = [
        (400, reads_input, "`invalid_query`, `invalid_header`, `malformed_body` and the like: the request is not understood"),
        (401, secured, "`unauthorized`: no token or session, or not one of this server"),
        (403, people, "`forbidden` to this role; `foreign_origin`: a page of another site asks"),
        (404, path.contains('{'), "`not_found`"),
        (414, path.contains('{') || reads_input, "`uri_too_long`"),
        (415, has_body, "`unsupported_encoding`"),
        (431, true, "`headers_too_large`"),
        (500, works, "`internal`: the server's log says why"),
        (503, works, "`database_…`, `too_many_streams`: try again; `Retry-After` says when"),
    ];
    let responses = operation["responses"].as_object_mut().expect("utoipa wrote an object");
    for (status, _, description) in shared.into_iter().filter(|(_, can_be, _)| *can_be) {
        responses.entry(status.to_string()).or_insert_with(|| json!({"description": description}));
    }
    for (_, response) in responses.iter_mut().filter(|(status, _)| status.as_str() >= "400") {
        let response = response.as_object_mut().expect("utoipa wrote an object");
        response.entry("content").or_insert_with(problem);
    }
}

fn parameters(operation: &Value) -> impl Iterator<Item = &Value> {
    operation["parameters"].as_array().into_iter().flatten()
}

fn problem() -> Value {
    Value::Object(Map::from_iter([(CONTENT_TYPE.to_owned(), json!({"schema": {"$ref": "#/components/schemas/Problem"}}))]))
}
