//! `PATCH /experiments/{name}`: a JSON merge patch of what may change after creation. Fields that belong to what is measured are
//! refused with their paths, unless the patch leaves them as they are. Pure.

use std::collections::BTreeMap;

use em_api::HumanDuration;
use em_api::experiment::{ExperimentPatch, MetadataPatch, SpecPatch};
use em_api::problem::FieldError;
use em_api::spec::Desired;
use serde_json::{Map, Value};

use super::problem::{Answer, Refusal};
use crate::admit::{self, annotation_error, label_error, unknown_field};
use crate::store::experiments::Stored;

type Pairs = BTreeMap<String, Option<String>>;

pub(super) fn read(body: &Value, stored: &Stored) -> Answer<ExperimentPatch> {
    let mut errors = Vec::new();
    let Some(fields) = body.as_object() else {
        let error = FieldError::new("", "expected an object with metadata or spec");
        return Err(Refusal::fields("invalid_patch", "the patch", vec![error]));
    };
    let mut patch = ExperimentPatch::default();
    let mut frozen = Vec::new();
    for (key, value) in fields {
        match (key.as_str(), value) {
            ("metadata", Value::Object(fields)) => patch.metadata = Some(read_metadata(fields, stored, &mut errors)),
            ("spec", Value::Object(fields)) => patch.spec = Some(read_spec(fields, stored, &mut frozen, &mut errors)),
            ("metadata" | "spec", _) => errors.push(FieldError::new(key, "expected an object")),
            // A whole experiment, as GET returned it and with changes, is a patch too.
            ("apiVersion" | "kind" | "status", _) => {}
            _ => errors.push(FieldError::new(key, "is no field of an experiment; change metadata or spec")),
        }
    }
    if !errors.is_empty() {
        return Err(Refusal::fields("invalid_patch", "the patch", errors));
    }
    if !frozen.is_empty() {
        let detail = format!(
            "{} cannot change: what is measured is fixed at creation. Delete the experiment and post it again, or choose another name",
            frozen.join(", ")
        );
        let errors = frozen.into_iter().map(|path| FieldError::new(path, "is fixed at creation")).collect();
        return Err(Refusal::conflict("spec_immutable", detail).with_errors(errors));
    }
    Ok(patch)
}

fn read_metadata(fields: &Map<String, Value>, stored: &Stored, errors: &mut Vec<FieldError>) -> MetadataPatch {
    let mut patch = MetadataPatch::default();
    for (key, value) in fields {
        match key.as_str() {
            "labels" => patch.labels = read_pairs("metadata.labels", value, &stored.labels, label_error, errors),
            "annotations" => {
                patch.annotations = read_pairs("metadata.annotations", value, &stored.annotations, annotation_error, errors);
            }
            "name" if value.as_str() != Some(&stored.name) => {
                errors.push(FieldError::new("metadata.name", "cannot change; post the experiment under the new name"));
            }
            "name" | "uid" | "owner" | "resourceVersion" | "generation" | "createdAt" | "deletedAt" => {}
            _ => errors.push(FieldError::new(format!("metadata.{key}"), "is no field that can change; labels and annotations can")),
        }
    }
    patch
}

/// `null` removes one, or all of them when it stands for the whole.
fn read_pairs(
    path: &str,
    value: &Value,
    held: &BTreeMap<String, String>,
    wrong: fn(&str, &str) -> Option<String>,
    errors: &mut Vec<FieldError>,
) -> Option<Pairs> {
    let pairs = match value {
        Value::Null => return Some(held.keys().map(|key| (key.clone(), None)).collect()),
        Value::Object(pairs) => pairs,
        _ => {
            errors.push(FieldError::new(path, "expected an object"));
            return None;
        }
    };
    let mut read = Pairs::new();
    for (key, value) in pairs {
        let error = match value {
            Value::Null => None,
            Value::String(text) => wrong(key, text),
            _ => Some("expected a text, or null to remove it".to_owned()),
        };
        match error {
            Some(message) => errors.push(FieldError::new(format!("{path}.{key}"), message)),
            None => drop(read.insert(key.clone(), value.as_str().map(str::to_owned))),
        }
    }
    Some(read)
}

fn read_spec(fields: &Map<String, Value>, stored: &Stored, frozen: &mut Vec<String>, errors: &mut Vec<FieldError>) -> SpecPatch {
    let held = serde_json::to_value(&stored.spec).expect("a spec has string keys and serialises");
    let mut patch = SpecPatch::default();
    for (key, value) in fields {
        match key.as_str() {
            "desired" => match value.as_str() {
                Some("Run") => patch.desired = Some(Desired::Run),
                Some("Suspended") => patch.desired = Some(Desired::Suspended),
                Some("Cancelled") => patch.desired = Some(Desired::Cancelled),
                _ => errors.push(FieldError::new("spec.desired", "expected Run, Suspended or Cancelled")),
            },
            "retries" => match value.as_u64().and_then(|number| u32::try_from(number).ok()).filter(|number| *number <= 100) {
                Some(number) => patch.retries = Some(number),
                None => errors.push(FieldError::new("spec.retries", "expected a whole number from 0 to 100")),
            },
            "priority" => match value.as_i64().filter(|number| (-1_000_000..=1_000_000).contains(number)) {
                Some(number) => patch.priority = Some(number),
                None => errors.push(FieldError::new("spec.priority", "expected a whole number from -1000000 to 1000000")),
            },
            "ttl" if value.is_null() => patch.ttl = Some(None),
            "ttl" => patch.ttl = lifetime("spec.ttl", value, errors).map(Some),
            "logsTtl" => patch.logs_ttl = lifetime("spec.logsTtl", value, errors),
            _ => match held.get(key) {
                Some(held) => differences(&format!("spec.{key}"), held, value, frozen),
                None => {
                    let known: Vec<&str> = held.as_object().into_iter().flat_map(Map::keys).map(String::as_str).collect();
                    errors.push(FieldError::new(format!("spec.{key}"), unknown_field(key, &known)));
                }
            },
        }
    }
    patch
}

fn lifetime(path: &str, value: &Value, errors: &mut Vec<FieldError>) -> Option<HumanDuration> {
    match admit::lifetime(value) {
        Ok(lifetime) => Some(lifetime),
        Err(message) => {
            errors.push(FieldError::new(path, message));
            None
        }
    }
}

/// The paths at which a merge patch would change something.
fn differences(path: &str, held: &Value, patch: &Value, found: &mut Vec<String>) {
    match (held, patch) {
        (Value::Object(held), Value::Object(patch)) => {
            for (key, value) in patch {
                differences(&format!("{path}.{key}"), held.get(key).unwrap_or(&Value::Null), value, found);
            }
        }
        _ if held == patch => {}
        _ => found.push(path.to_owned()),
    }
}
