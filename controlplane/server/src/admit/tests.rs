//! What users post, and what they are told. `refused` gives each error as `path: message`.

use serde_json::{Value, json};

use super::{Admitted, admit, parse_body};

#[path = "../../../../slurm/tests/it/hostile.rs"]
mod corpus;

mod bodies;
mod cluster;
mod defaults;
mod examples;
mod hostile;
mod order;
mod refusals;

/// A small experiment that is admitted.
fn small() -> Value {
    json!({
        "apiVersion": "em/v1alpha1",
        "kind": "Experiment",
        "metadata": {"name": "small"},
        "spec": {
            "model": {"id": "sentence-transformers/all-MiniLM-L6-v2"},
            "backends": [{"name": "ort", "type": "ort"}, {"name": "hf", "type": "huggingface"}],
        },
    })
}

/// `small` with the value at a JSON pointer set.
fn with(pointer: &str, value: Value) -> Value {
    let mut body = small();
    set(&mut body, pointer, value);
    body
}

fn set(body: &mut Value, pointer: &str, value: Value) {
    let (parent, last) = pointer.rsplit_once('/').expect("a pointer");
    let mut place = body;
    for key in parent.split('/').skip(1) {
        place = match place {
            Value::Array(items) => &mut items[key.parse::<usize>().expect("an index")],
            Value::Object(map) => map.entry(key).or_insert_with(|| json!({})),
            other => panic!("{pointer} leads through {other}"),
        };
    }
    match place {
        Value::Array(items) => items[last.parse::<usize>().expect("an index")] = value,
        other => drop(other.as_object_mut().expect("an object").insert(last.to_owned(), value)),
    }
}

fn admitted(body: &Value) -> Admitted {
    admit(body).unwrap_or_else(|errors| panic!("refused: {errors:#?}"))
}

fn refused(body: &Value) -> Vec<String> {
    let errors = admit(body).err().unwrap_or_default();
    errors.into_iter().map(|error| format!("{}: {}", error.path, error.message)).collect()
}

fn yaml(text: &str) -> Value {
    parse_body(text.as_bytes(), Some("application/yaml")).unwrap_or_else(|problem| panic!("{}", problem.detail))
}
