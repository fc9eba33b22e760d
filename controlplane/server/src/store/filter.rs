//! Which experiments a list or a watch is about: terms on labels as in Kubernetes, and on a few fields. All terms must hold. Reading
//! the text of a selector is left to `http`.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use sqlx::any::AnyRow;

use super::Result;
use super::codec::{Columns, spell};
use super::experiments::Stored;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    pub labels: Vec<LabelTerm>,
    pub fields: Vec<FieldTerm>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum LabelTerm {
    Has(String),
    Lacks(String),
    In(String, BTreeSet<String>),
    /// As in Kubernetes, a label that is not there is not in any set.
    NotIn(String, BTreeSet<String>),
}

#[derive(Clone, Debug, PartialEq)]
pub struct FieldTerm {
    pub field: Field,
    /// False: `!=`.
    pub equals: bool,
    pub value: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    Name,
    Owner,
    Model,
    Phase,
}

impl Filter {
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    pub fn selects(&self, stored: &Stored) -> bool {
        self.fields.iter().all(|term| term.holds(stored)) && self.labels.iter().all(|term| term.holds(&stored.labels))
    }

    /// Whether it may have been selected before it changed: by the fields that never change.
    pub fn may_have_selected(&self, stored: &Stored) -> bool {
        self.fields.iter().all(|term| term.field == Field::Phase || term.holds(stored))
    }

    /// The same of one that is gone, of which only the name is known.
    pub fn may_have_selected_named(&self, name: &str) -> bool {
        self.fields.iter().all(|term| term.field != Field::Name || (term.value == name) == term.equals)
    }

    /// [`Filter::selects`] before the whole row is read: most rows of a long list are passed over.
    pub(super) fn selects_row(&self, row: &AnyRow) -> Result<bool> {
        for term in &self.fields {
            let value = match term.field {
                Field::Name => row.text("name")?,
                Field::Owner => row.text("owner")?,
                Field::Phase => row.text("phase")?,
                Field::Model => row.read_json::<OnlyModel>("spec")?.model.id,
            };
            if (value == term.value) != term.equals {
                return Ok(false);
            }
        }
        if self.labels.is_empty() {
            return Ok(true);
        }
        let labels = row.read_json("labels")?;
        Ok(self.labels.iter().all(|term| term.holds(&labels)))
    }

    /// The value that a field must have, where there is one: for a look by index.
    pub(super) fn only(&self, field: Field) -> Option<&str> {
        self.fields.iter().find(|term| term.field == field && term.equals).map(|term| term.value.as_str())
    }
}

impl FieldTerm {
    fn holds(&self, stored: &Stored) -> bool {
        let same = match self.field {
            Field::Name => stored.name == self.value,
            Field::Owner => stored.owner == self.value,
            Field::Model => stored.spec.model.id == self.value,
            Field::Phase => spell(&stored.phase) == self.value,
        };
        same == self.equals
    }
}

impl LabelTerm {
    fn holds(&self, labels: &BTreeMap<String, String>) -> bool {
        match self {
            Self::Has(key) => labels.contains_key(key),
            Self::Lacks(key) => !labels.contains_key(key),
            Self::In(key, values) => labels.get(key).is_some_and(|value| values.contains(value)),
            Self::NotIn(key, values) => labels.get(key).is_none_or(|value| !values.contains(value)),
        }
    }
}

#[derive(Deserialize)]
struct OnlyModel {
    model: OnlyId,
}

#[derive(Deserialize)]
struct OnlyId {
    id: String,
}
