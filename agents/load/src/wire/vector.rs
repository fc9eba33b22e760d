//! Reads the vectors of an answer, kept or only counted: the same grammar for parity and for the check of each answer.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use em_api::spec::Wire;
use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};

/// One vector. `KEEP`: whether its numbers are kept; the check of an answer needs none of them.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Vector<const KEEP: bool> {
    pub(super) len: u32,
    pub(super) finite: bool,
    /// Sum of the squares of its numbers.
    pub(super) squares: f64,
    pub(super) values: Vec<f32>,
    /// It came as base64.
    encoded: bool,
}

impl<const KEEP: bool> Vector<KEEP> {
    fn empty(encoded: bool) -> Self {
        Self { len: 0, finite: true, squares: 0.0, values: Vec::new(), encoded }
    }

    fn push(&mut self, value: f32) {
        self.len += 1;
        self.finite &= value.is_finite();
        self.squares += f64::from(value) * f64::from(value);
        if KEEP {
            self.values.push(value);
        }
    }
}

impl<'de, const KEEP: bool> Deserialize<'de> for Vector<KEEP> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Numbers<const KEEP: bool>;

        impl<'de, const KEEP: bool> Visitor<'de> for Numbers<KEEP> {
            type Value = Vector<KEEP>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of numbers or base64")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut numbers: A) -> Result<Self::Value, A::Error> {
                let mut vector = Vector::empty(false);
                // Some servers write `null` for NaN, which JSON cannot say.
                while let Some(number) = numbers.next_element::<Option<f64>>()? {
                    vector.push(number.map_or(f32::NAN, |number| number as f32));
                }
                Ok(vector)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                let bytes = STANDARD.decode(text).map_err(|_| E::custom("an embedding is not base64"))?;
                let (numbers, rest) = bytes.as_chunks::<4>();
                if !rest.is_empty() {
                    return Err(E::custom("an embedding's base64 is no list of f32"));
                }
                let mut vector = Vector::empty(true);
                for number in numbers {
                    vector.push(f32::from_le_bytes(*number));
                }
                Ok(vector)
            }
        }

        deserializer.deserialize_any(Numbers::<KEEP>)
    }
}

#[derive(serde::Deserialize)]
struct OpenAi<const KEEP: bool> {
    data: Vec<Item<KEEP>>,
}

#[derive(serde::Deserialize)]
struct Item<const KEEP: bool> {
    #[serde(default)]
    index: Option<u32>,
    embedding: Vector<KEEP>,
}

#[derive(serde::Deserialize)]
struct Embed<const KEEP: bool> {
    embeddings: Vec<Vector<KEEP>>,
}

/// Why an answer cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unreadable {
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    #[error("embeddings came as {0}, which was not asked for")]
    OtherEncoding(&'static str),
    #[error("the values of `index` are not 0 to {0}")]
    Index(usize),
}

/// The vectors in the order of the texts.
pub(super) fn parse<const KEEP: bool>(wire: Wire, body: &[u8]) -> Result<Vec<Vector<KEEP>>, Unreadable> {
    let vectors = match wire {
        Wire::OpenaiFloat | Wire::OpenaiBase64 => in_order(serde_json::from_slice::<OpenAi<KEEP>>(body)?.data)?,
        Wire::Embed => serde_json::from_slice::<Embed<KEEP>>(body)?.embeddings,
        Wire::Tei => serde_json::from_slice(body)?,
    };
    let base64_asked = wire == Wire::OpenaiBase64;
    if vectors.iter().any(|vector| vector.encoded != base64_asked) {
        return Err(Unreadable::OtherEncoding(if base64_asked { "numbers" } else { "base64" }));
    }
    Ok(vectors)
}

/// By `index` where it is given; a server may answer in any order.
fn in_order<const KEEP: bool>(mut items: Vec<Item<KEEP>>) -> Result<Vec<Vector<KEEP>>, Unreadable> {
    if items.iter().any(|item| item.index.is_some()) {
        items.sort_by_key(|item| item.index);
        if items.iter().enumerate().any(|(at, item)| item.index != u32::try_from(at).ok()) {
            return Err(Unreadable::Index(items.len().saturating_sub(1)));
        }
    }
    Ok(items.into_iter().map(|item| item.embedding).collect())
}

/// `[texts, dim]` f32, as the server sent them. Errors: unreadable, or another number of vectors than of texts.
pub(crate) fn vectors(wire: Wire, body: &[u8], texts: usize) -> Result<Vec<Vec<f32>>, String> {
    let vectors = parse::<true>(wire, body).map_err(|error| error.to_string())?;
    if vectors.len() != texts {
        return Err(format!("{} vectors for {texts} texts", vectors.len()));
    }
    Ok(vectors.into_iter().map(|vector| vector.values).collect())
}
