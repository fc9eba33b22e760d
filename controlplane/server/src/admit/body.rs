//! Bytes of a request → a JSON value, from JSON or YAML. Duplicate keys are refused: with "the last one wins" half of an
//! edited file would be silently without effect.

use std::fmt;

use em_api::problem::Problem;
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Keys and values that YAML aliases may stand for, all together: whoever writes by hand repeats a list or two.
const MOST_ALIASED: usize = 20_000;

/// Reads a body by its media type; absent means JSON. Errors: 415 `unsupported_media_type`, 400 `malformed_body`.
pub fn parse_body(bytes: &[u8], content_type: Option<&str>) -> Result<Value, Box<Problem>> {
    let media_type = content_type.unwrap_or("application/json").split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match media_type.as_str() {
        "application/json" | "text/json" | "application/merge-patch+json" => parse_json(bytes),
        "application/yaml" | "application/x-yaml" | "text/yaml" | "text/x-yaml" | "text/vnd.yaml" => parse_yaml(bytes),
        _ => {
            let detail = "send the experiment as application/json or application/yaml (header Content-Type)";
            Err(Box::new(Problem::new(415, "unsupported_media_type", "Unsupported Media Type", detail)))
        }
    }
}

fn parse_json(bytes: &[u8]) -> Result<Value, Box<Problem>> {
    match serde_json::from_slice::<Strict>(bytes) {
        Ok(Strict(value)) => Ok(value),
        Err(error) => Err(malformed("JSON", &error.to_string())),
    }
}

fn parse_yaml(bytes: &[u8]) -> Result<Value, Box<Problem>> {
    // YAML 1.2: `on` and `yes` are text. Depth is bounded by the parser's own budget; its budget for aliases takes seconds to spend.
    let options = serde_saphyr::options! {
        strict_booleans: true,
        with_snippet: false,
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: MOST_ALIASED },
    };
    match serde_saphyr::from_slice_with_options::<Strict>(bytes, options) {
        Ok(Strict(value)) => Ok(value),
        Err(_) if holds_several_documents(bytes) => {
            Err(malformed("YAML", "it holds several documents, parted by lines of `---`; post one experiment a request"))
        }
        Err(error) => Err(malformed("YAML", &error.to_string())),
    }
}

fn holds_several_documents(bytes: &[u8]) -> bool {
    let lines = bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end).filter(|line| !line.is_empty() && line[0] != b'#');
    lines.skip(1).any(|line| line == b"---" || line.starts_with(b"--- "))
}

fn malformed(language: &str, reason: &str) -> Box<Problem> {
    let reason: String = reason.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).take(400).collect();
    Box::new(Problem::new(400, "malformed_body", "Bad Request", format!("the body is not well-formed {language}: {reason}")))
}

/// A JSON value whose objects hold each key once.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Strict)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_i128<E: de::Error>(self, value: i128) -> Result<Value, E> {
        self.visit_f64(value as f64)
    }

    fn visit_u128<E: de::Error>(self, value: u128) -> Result<Value, E> {
        self.visit_f64(value as f64)
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("NaN and infinity are not numbers here"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(Strict(item)) = seq.next_element()? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let Strict(value) = entries.next_value()?;
            if map.contains_key(&key) {
                return Err(de::Error::custom(format!("the key `{}` stands twice in one object", super::reader::shorten(&key))));
            }
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}
