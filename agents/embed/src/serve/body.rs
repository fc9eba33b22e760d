//! Bodies that carry vectors: JSON with numbers, JSON with base64, or nothing but the little-endian f32. Written once into
//! memory of the right size; numbers in the shortest form that reads back as the same f32.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::engine::Embedded;

/// Bytes of a number such as `-0.012345679,`.
const NUMBER: usize = 14;

/// The proof of concept's answer to `/embed`.
pub(super) fn embed(embedded: &Embedded, model: &str) -> Vec<u8> {
    let mut body = Vec::with_capacity(embedded.values.len() * NUMBER + 200);
    body.extend_from_slice(b"{\"embeddings\":[");
    for (index, vector) in embedded.vectors().enumerate() {
        separate(&mut body, index);
        json(&mut body, vector);
    }
    body.extend_from_slice(b"],\"model\":");
    json(&mut body, model);
    body.extend_from_slice(b",\"num_embeddings\":");
    json(&mut body, &embedded.vectors().len());
    body.extend_from_slice(b",\"embedding_dim\":");
    json(&mut body, &embedded.dim);
    body.push(b'}');
    body
}

/// OpenAI's list. `base64`: of the little-endian f32.
pub(super) fn openai(embedded: &Embedded, model: &str, base64: bool) -> Vec<u8> {
    let number = if base64 { 6 } else { NUMBER };
    let mut body = Vec::with_capacity(embedded.values.len() * number + embedded.vectors().len() * 60 + 200);
    body.extend_from_slice(b"{\"object\":\"list\",\"data\":[");
    for (index, vector) in embedded.vectors().enumerate() {
        separate(&mut body, index);
        body.extend_from_slice(b"{\"object\":\"embedding\",\"index\":");
        json(&mut body, &index);
        body.extend_from_slice(b",\"embedding\":");
        if base64 {
            body.push(b'"');
            encode(&mut body, &bytes(vector));
            body.push(b'"');
        } else {
            json(&mut body, vector);
        }
        body.push(b'}');
    }
    body.extend_from_slice(b"],\"model\":");
    json(&mut body, model);
    body.extend_from_slice(format!(",\"usage\":{{\"prompt_tokens\":{0},\"total_tokens\":{0}}}}}", embedded.tokens).as_bytes());
    body
}

/// `[texts, dim]`, row-major, little-endian f32.
pub(super) fn bytes(values: &[f32]) -> Vec<u8> {
    let mut bytes = vec![0; values.len() * 4];
    for (four, value) in bytes.chunks_exact_mut(4).zip(values) {
        four.copy_from_slice(&value.to_le_bytes());
    }
    bytes
}

fn separate(body: &mut Vec<u8>, index: usize) {
    if index > 0 {
        body.push(b',');
    }
}

fn json(body: &mut Vec<u8>, value: &(impl serde::Serialize + ?Sized)) {
    serde_json::to_writer(body, value).expect("numbers and strings become JSON, in memory");
}

fn encode(body: &mut Vec<u8>, bytes: &[u8]) {
    let start = body.len();
    body.resize(start + bytes.len().div_ceil(3) * 4, 0);
    let written = BASE64_STANDARD.encode_slice(bytes, &mut body[start..]).expect("four characters for three bytes");
    body.truncate(start + written);
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::engine::Times;

    fn embedded() -> Embedded {
        let values = vec![1.0, -0.1, f32::MIN_POSITIVE, 1.0e-7, 0.333_333_34, -3.0];
        Embedded { values, dim: 3, tokens: 9, times: Times::default() }
    }

    fn floats(value: &Value) -> Vec<f32> {
        value.as_array().expect("a list").iter().map(|number| number.as_f64().expect("a number") as f32).collect()
    }

    #[test]
    fn every_form_reads_back_as_the_same_floats() {
        let embedded = embedded();
        let wanted: Vec<&[f32]> = embedded.vectors().collect();
        let plain: Value = serde_json::from_slice(&embed(&embedded, "a \"model\"")).expect("JSON");
        assert_eq!(
            (&plain["model"], &plain["num_embeddings"], &plain["embedding_dim"]),
            (&json!("a \"model\""), &json!(2), &json!(3))
        );
        let list: Value = serde_json::from_slice(&openai(&embedded, "m", false)).expect("JSON");
        let packed: Value = serde_json::from_slice(&openai(&embedded, "m", true)).expect("JSON");
        assert_eq!(list["usage"], json!({"prompt_tokens": 9, "total_tokens": 9}));
        for (place, wanted) in wanted.into_iter().enumerate() {
            assert_eq!(floats(&plain["embeddings"][place]), wanted);
            assert_eq!(
                (floats(&list["data"][place]["embedding"]).as_slice(), &list["data"][place]["index"]),
                (wanted, &json!(place))
            );
            let text = packed["data"][place]["embedding"].as_str().expect("base64");
            assert_eq!(BASE64_STANDARD.decode(text).expect("base64"), bytes(wanted));
        }
    }
}
