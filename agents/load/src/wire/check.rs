//! Whether an answer is right: as many vectors as texts, one dimension, every number finite, no vector of zeros, and where the
//! model normalises the length 1. Throughput counts nothing else.

use em_api::spec::Wire;

use super::vector::{Unreadable, parse};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Valid { dim: u32 },
    WrongShape(String),
    NotFinite,
    WrongNorm(String),
    Unreadable(String),
}

/// How far a normalised vector's length may be from 1: half-precision numbers of any model stay well within.
const NORM_SLACK: f64 = 0.01;

/// `dim`: numbers per vector, when they are known. `normalized`: each vector must have the length 1.
pub(crate) fn check(wire: Wire, body: &[u8], texts: u32, dim: Option<u32>, normalized: bool) -> Verdict {
    let vectors = match parse::<false>(wire, body) {
        Ok(vectors) => vectors,
        Err(error) => return unreadable(error, body),
    };
    if vectors.len() != texts as usize {
        return Verdict::WrongShape(format!("{} vectors for {texts} texts", vectors.len()));
    }
    let expected = dim.or(vectors.first().map(|vector| vector.len)).unwrap_or(0);
    if expected == 0 {
        return Verdict::WrongShape("a vector without numbers".to_owned());
    }
    if let Some(other) = vectors.iter().find(|vector| vector.len != expected) {
        return Verdict::WrongShape(format!("a vector of {} numbers, not {expected}", other.len));
    }
    if vectors.iter().any(|vector| !vector.finite) {
        return Verdict::NotFinite;
    }
    if vectors.iter().any(|vector| vector.squares == 0.0) {
        return Verdict::WrongNorm("a vector of zeros".to_owned());
    }
    if normalized && let Some(other) = vectors.iter().find(|vector| (vector.squares.sqrt() - 1.0).abs() > NORM_SLACK) {
        return Verdict::WrongNorm(format!("a vector of length {:.4}, not 1", other.squares.sqrt()));
    }
    Verdict::Valid { dim: expected }
}

/// Python writes `NaN` and `Infinity`, which are no JSON: such an answer is not finite rather than unreadable.
fn unreadable(error: Unreadable, body: &[u8]) -> Verdict {
    let said = |word: &[u8]| body.windows(word.len()).any(|part| part == word);
    match &error {
        Unreadable::Json(json) if said(b"NaN") || said(b"Infinity") || json.to_string().starts_with("number out of range") => {
            Verdict::NotFinite
        }
        Unreadable::Index(_) => Verdict::WrongShape(error.to_string()),
        _ => Verdict::Unreadable(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn openai(data: &str) -> Vec<u8> {
        format!(r#"{{"object":"list","data":{data},"model":"m","usage":{{"prompt_tokens":1}}}}"#).into_bytes()
    }

    #[test]
    fn right_answers_are_valid_on_every_wire() {
        let valid = Verdict::Valid { dim: 2 };
        let float = openai(r#"[{"index":1,"embedding":[3,-4.5e-3]},{"embedding":[1.0,2],"index":0,"object":"embedding"}]"#);
        assert_eq!(check(Wire::OpenaiFloat, &float, 2, None, false), valid);
        assert_eq!(check(Wire::OpenaiBase64, &openai(r#"[{"index":0,"embedding":"AACAPwAAAEA="}]"#), 1, Some(2), false), valid);
        assert_eq!(check(Wire::Embed, br#"{"embeddings":[[1,2],[3,4]],"embedding_dim":2}"#, 2, None, false), valid);
        assert_eq!(check(Wire::Tei, b"[[1,2],[3,4]]", 2, Some(2), false), valid);
    }

    #[test]
    fn wrong_answers_are_told_apart() {
        let shape = |body: &[u8], texts, dim| matches!(check(Wire::Tei, body, texts, dim, false), Verdict::WrongShape(_));
        assert!(shape(b"[[1,2]]", 2, None), "one vector too few");
        assert!(shape(b"[[1,2],[3]]", 2, None), "ragged");
        assert!(shape(b"[[1,2]]", 1, Some(3)), "another dimension");
        assert!(shape(b"[[]]", 1, None), "no numbers");
        for body in ["[[1,NaN]]", "[[1,null]]", "[[-Infinity,1]]", "[[1e400,1]]", "[[1e300,1]]"] {
            assert_eq!(check(Wire::Tei, body.as_bytes(), 1, None, false), Verdict::NotFinite, "{body}");
        }
        for body in ["", "{}", "[[1,2]", "[[1,\"x\"]]", "[[1,2]] x"] {
            assert!(matches!(check(Wire::Tei, body.as_bytes(), 1, None, false), Verdict::Unreadable(_)), "{body}");
        }
        let twice = openai(r#"[{"index":0,"embedding":[1]},{"index":0,"embedding":[2]}]"#);
        assert!(matches!(check(Wire::OpenaiFloat, &twice, 2, None, false), Verdict::WrongShape(_)));
        let encoded = openai(r#"[{"index":0,"embedding":"AACAPw=="}]"#);
        assert!(matches!(check(Wire::OpenaiFloat, &encoded, 1, None, false), Verdict::Unreadable(_)));
        let nan = openai(r#"[{"index":0,"embedding":"AADAfw=="}]"#);
        assert_eq!(check(Wire::OpenaiBase64, &nan, 1, None, false), Verdict::NotFinite);
    }
    #[test]
    fn zeros_are_wrong_and_a_normalised_vector_has_length_one() {
        let of = |body: &str, normalized| check(Wire::Tei, body.as_bytes(), 1, None, normalized);
        assert!(matches!(of("[[0,0.0,-0]]", false), Verdict::WrongNorm(_)));
        assert_eq!(of("[[3,4]]", false), Verdict::Valid { dim: 2 });
        let Verdict::WrongNorm(fault) = of("[[3,4]]", true) else { panic!("a length of 5") };
        assert_eq!(fault, "a vector of length 5.0000, not 1");
        assert_eq!(of("[[0.6,0.8031]]", true), Verdict::Valid { dim: 2 }, "rounded to half precision");
    }
}
