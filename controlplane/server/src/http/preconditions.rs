//! `If-Match` and `If-None-Match` (RFC 9110, section 13): under which version a request holds. An ETag is a resource version.

use actix_web::HttpRequest;
use actix_web::http::header::{self, HeaderName};

use super::problem::{Answer, Refusal};

/// What such a header names.
#[derive(Debug, PartialEq)]
enum Tags {
    Any,
    /// Weak or not, and what stands between the quotes.
    List(Vec<(bool, Vec<u8>)>),
}

/// The versions of which one must be the present one; `None`: no condition. `*` is none either: where nothing is, the answer is 404.
pub(super) fn if_match(request: &HttpRequest) -> Answer<Option<Vec<u64>>> {
    let Some(Tags::List(tags)) = read(request, header::IF_MATCH)? else { return Ok(None) };
    // By strong comparison: a weak tag matches nothing.
    Ok(Some(tags.into_iter().filter(|(weak, _)| !weak).filter_map(|(_, text)| version(&text)).collect()))
}

/// Whether the caller has this version already.
pub(super) fn has_already(request: &HttpRequest, present: u64) -> Answer<bool> {
    Ok(match read(request, header::IF_NONE_MATCH)? {
        None => false,
        Some(Tags::Any) => true,
        Some(Tags::List(tags)) => tags.iter().any(|(_, text)| version(text) == Some(present)),
    })
}

/// Only as we write it: `"007"` is another tag than `"7"`.
fn version(text: &[u8]) -> Option<u64> {
    let number: u64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    (number.to_string().as_bytes() == text).then_some(number)
}

fn read(request: &HttpRequest, name: HeaderName) -> Answer<Option<Tags>> {
    let lines: Vec<&[u8]> = request.headers().get_all(&name).map(header::HeaderValue::as_bytes).collect();
    if lines.is_empty() {
        return Ok(None);
    }
    let refuse = || {
        let name = if name == header::IF_MATCH { "If-Match" } else { "If-None-Match" };
        Refusal::bad_request("invalid_header", format!("{name} takes ETags as they came (\"17\", \"18\"), or *"))
    };
    tags(&lines.join(b",".as_slice())).map(Some).ok_or_else(refuse)
}

fn tags(text: &[u8]) -> Option<Tags> {
    if text.trim_ascii() == b"*" {
        return Some(Tags::Any);
    }
    let (mut rest, mut tags) = (text.trim_ascii_start(), Vec::new());
    loop {
        // Empty elements of a list are passed over.
        while let Some(after) = rest.strip_prefix(b",") {
            rest = after.trim_ascii_start();
        }
        if rest.is_empty() {
            return (!tags.is_empty()).then_some(Tags::List(tags));
        }
        let weak = rest.starts_with(b"W/");
        let quoted = rest.strip_prefix(b"W/").unwrap_or(rest).strip_prefix(b"\"")?;
        let end = quoted.iter().position(|byte| *byte == b'"')?;
        let (tag, after) = (&quoted[..end], quoted[end + 1..].trim_ascii_start());
        if tag.iter().any(|byte| *byte <= b' ' || *byte == 0x7f) || !(after.is_empty() || after.starts_with(b",")) {
            return None;
        }
        tags.push((weak, tag.to_vec()));
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_of_the_header_are_read() {
        let list =
            |tags: &[(bool, &str)]| Some(Tags::List(tags.iter().map(|(weak, tag)| (*weak, tag.as_bytes().to_vec())).collect()));
        for (text, expected) in [
            ("\"17\"", list(&[(false, "17")])),
            (" \"17\" , W/\"18\",\"a,b\"", list(&[(false, "17"), (true, "18"), (false, "a,b")])),
            (", ,\"17\",", list(&[(false, "17")])),
            ("\"\"", list(&[(false, "")])),
            (" * ", Some(Tags::Any)),
            ("", None),
            (",", None),
            ("17", None),
            ("\"17", None),
            ("w/\"17\"", None),
            ("W/ \"17\"", None),
            ("\"17\" \"18\"", None),
            ("*, \"17\"", None),
            ("\"1 7\"", None),
        ] {
            assert_eq!(tags(text.as_bytes()), expected, "{text}");
        }
        assert_eq!((version(b"17"), version(b"017"), version(b"+17"), version(b"x")), (Some(17), None, None, None));
    }
}
