//! Requests and answers of the four wires: what a body looks like, and what is right in an answer.
//!
//! | wire | request | answer |
//! |---|---|---|
//! | `openai-float` | `{"model", "input": […], "encoding_format": "float"}` | `{"data": [{"index", "embedding": […]}]}` |
//! | `openai-base64` | the same with `"base64"` | `embedding` is f32, little endian, base64 |
//! | `embed` | `{"texts": […]}` | `{"embeddings": [[…]]}` |
//! | `tei` | `{"inputs": […], "truncate": true}` | `[[…]]` |

mod check;
mod vector;

use em_api::spec::Wire;
use serde_json::{Map, Value};

pub(crate) use check::{Verdict, check};
pub(crate) use vector::vectors;

pub(crate) fn name(wire: Wire) -> &'static str {
    match wire {
        Wire::OpenaiFloat => "openai-float",
        Wire::OpenaiBase64 => "openai-base64",
        Wire::Embed => "embed",
        Wire::Tei => "tei",
    }
}

/// Further fields of each request, as they end its body: `,"truncate":true`.
pub(crate) fn tail(fields: &Map<String, Value>) -> Vec<u8> {
    let mut tail = Vec::new();
    for (name, value) in fields {
        tail.push(b',');
        string(name, &mut tail);
        tail.push(b':');
        serde_json::to_writer(&mut tail, value).expect("a value always encodes, and a vector takes any length");
    }
    tail
}

/// Writes the body of one request. `texts` is walked once, so that a request needs no list of its own. `more`: see [`tail`].
pub(crate) fn encode<'a>(wire: Wire, model: &str, texts: impl Iterator<Item = &'a str>, more: &[u8], body: &mut Vec<u8>) {
    match wire {
        Wire::OpenaiFloat | Wire::OpenaiBase64 => {
            body.extend_from_slice(b"{\"model\":");
            string(model, body);
            body.extend_from_slice(b",\"input\":");
            list(texts, body);
            let tail: &[u8] = match wire {
                Wire::OpenaiBase64 => b",\"encoding_format\":\"base64\"",
                _ => b",\"encoding_format\":\"float\"",
            };
            body.extend_from_slice(tail);
        }
        Wire::Embed => {
            body.extend_from_slice(b"{\"texts\":");
            list(texts, body);
        }
        Wire::Tei => {
            body.extend_from_slice(b"{\"inputs\":");
            list(texts, body);
            body.extend_from_slice(b",\"truncate\":true");
        }
    }
    body.extend_from_slice(more);
    body.push(b'}');
}

fn list<'a>(texts: impl Iterator<Item = &'a str>, body: &mut Vec<u8>) {
    body.push(b'[');
    for (index, text) in texts.enumerate() {
        if index > 0 {
            body.push(b',');
        }
        string(text, body);
    }
    body.push(b']');
}

fn string(text: &str, body: &mut Vec<u8>) {
    serde_json::to_writer(body, text).expect("a string always encodes, and a vector takes any length");
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn every_wire_has_its_own_words() {
        for (wire, expected) in [
            (Wire::OpenaiFloat, r#"{"model":"m\"","input":["a","b\\\n"],"encoding_format":"float"}"#),
            (Wire::OpenaiBase64, r#"{"model":"m\"","input":["a","b\\\n"],"encoding_format":"base64"}"#),
            (Wire::Embed, r#"{"texts":["a","b\\\n"]}"#),
            (Wire::Tei, r#"{"inputs":["a","b\\\n"],"truncate":true}"#),
        ] {
            let mut body = Vec::new();
            encode(wire, "m\"", ["a", "b\\\n"].into_iter(), b"", &mut body);
            assert_eq!(String::from_utf8(body).unwrap(), expected);
            let fields = serde_json::json!({"truncate_prompt_tokens": -1});
            let mut body = Vec::new();
            encode(wire, "m\"", ["a", "b\\\n"].into_iter(), &tail(fields.as_object().unwrap()), &mut body);
            assert_eq!(String::from_utf8(body).unwrap(), expected.replace("}", ",\"truncate_prompt_tokens\":-1}"));
        }
    }
}
