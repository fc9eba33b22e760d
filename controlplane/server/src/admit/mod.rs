//! Admission: what a user posted → [`Admitted`], or all field errors at once. Pure.

use std::collections::BTreeMap;

use em_api::problem::FieldError;
use em_api::spec::Spec;
use serde_json::Value;

pub mod expand;

/// An experiment that may be stored: complete, consistent, within bounds. Only [`admit`] makes one.
#[derive(Clone, Debug)]
pub struct Admitted {
    pub name: NameChoice,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    pub spec: Spec,
    pub warnings: Vec<String>,
    /// Expected run time of all trials, services included.
    pub estimated_seconds: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NameChoice {
    Given(String),
    /// `generateName`: the store appends five random characters.
    Generate(String),
}

/// Parses a posted body (already JSON; YAML is turned into the same value before).
pub fn admit(body: &Value) -> Result<Admitted, Vec<FieldError>> {
    let _ = body;
    Err(Vec::new())
}
