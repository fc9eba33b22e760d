//! The name of an experiment in an address. What cannot be a name is 404, before any look into the database.

use std::ops::Deref;

use serde::de::{self, Deserialize, Deserializer};

use crate::admit::name_error;

#[derive(Clone, Debug)]
pub(super) struct Name(String);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        name_error(&text).map_or(Ok(Self(text)), |error| Err(de::Error::custom(error)))
    }
}

impl Deref for Name {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}
