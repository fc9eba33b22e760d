//! The text in one line of a data set, or why there is none.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Value;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Plain,
    /// An id, a tab, the text. `numbered`: the id is a number.
    Tab {
        numbered: bool,
    },
    Json,
}

/// Trimmed, maybe empty. Errors: a few words for the report.
pub(super) fn text_of(format: Format, line: &[u8]) -> Result<Cow<'_, str>, &'static str> {
    let line = std::str::from_utf8(line).map_err(|_| NOT_UTF8)?.trim_end_matches(['\n', '\r']);
    match format {
        Format::Plain => Ok(Cow::Borrowed(line.trim())),
        _ if line.trim().is_empty() => Ok(Cow::Borrowed("")),
        Format::Tab { numbered: true } => passage(line, |id| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit())),
        Format::Tab { numbered: false } => passage(line, |id| !id.trim().is_empty()),
        Format::Json => object(line),
    }
}

pub(super) const NOT_UTF8: &str = "not UTF-8";

/// A BEIR title goes before its text.
pub(super) fn titled<'a>(title: &str, text: &'a str) -> Cow<'a, str> {
    let (title, text) = (title.trim(), text.trim());
    if title.is_empty() { Cow::Borrowed(text) } else { Cow::Owned(format!("{title} {text}").trim_end().to_owned()) }
}

fn passage(line: &str, valid_id: impl Fn(&str) -> bool) -> Result<Cow<'_, str>, &'static str> {
    let (id, text) = line.split_once('\t').ok_or("no tab")?;
    if !valid_id(id) {
        return Err("no id before the tab");
    }
    Ok(Cow::Borrowed(text.trim()))
}

/// MS MARCO v2 (`passage`), BEIR (`_id`, `title`, `text`), Anserini (`contents`).
#[derive(Deserialize)]
struct Object<'a> {
    #[serde(borrow, default)]
    title: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    text: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    passage: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    contents: Option<Cow<'a, str>>,
}

const NO_TEXT: &str = "no `text`, `passage` or `contents`";

fn object(line: &str) -> Result<Cow<'_, str>, &'static str> {
    let object: Object = serde_json::from_str(line).map_err(|_| fault(line))?;
    let text = object.text.or(object.passage).or(object.contents).ok_or(NO_TEXT)?;
    Ok(Cow::Owned(titled(object.title.as_deref().unwrap_or_default(), &text).into_owned()))
}

/// Looks closer at a line that could not be read.
fn fault(line: &str) -> &'static str {
    let Ok(value) = serde_json::from_str::<Value>(line) else { return "not JSON" };
    let Some(object) = value.as_object() else { return "not a JSON object" };
    let wrong = |name: &str| object.get(name).is_some_and(|value| !value.is_string() && !value.is_null());
    let told = [
        ("text", "`text` is no string"),
        ("passage", "`passage` is no string"),
        ("contents", "`contents` is no string"),
        ("title", "`title` is no string"),
    ];
    told.into_iter().find(|(name, _)| wrong(name)).map_or("a field stands twice", |(_, why)| why)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    const MSMARCO: Format = Format::Tab { numbered: true };
    const TSV: Format = Format::Tab { numbered: false };

    #[test]
    fn each_format_finds_its_text() {
        for (format, line, text) in [
            (Format::Plain, "  a line \r\n", "a line"),
            (MSMARCO, "17\tThe passage\n", "The passage"),
            (TSV, "doc-1\twith\ta tab", "with\ta tab"),
            (Format::Json, r#"{"_id":"1","title":"T","text":"body \"q\""}"#, "T body \"q\""),
            (Format::Json, r#"{"title":"","text":"body","metadata":{"x":[1]}}"#, "body"),
            (Format::Json, r#"{"title":null,"text":"body"}"#, "body"),
            (Format::Json, r#"{"pid":"msmarco_passage_00_0","passage":"p","spans":"(0,1)","docid":"d"}"#, "p"),
            (Format::Json, r#"{"id":3,"contents":"c"}"#, "c"),
            (Format::Json, "{\"text\":\"two\\nlines\"}\r\n", "two\nlines"),
            (Format::Plain, "   \n", ""),
            (MSMARCO, "7\t \n", ""),
            (MSMARCO, "\n", ""),
            (Format::Json, "\n", ""),
            (Format::Json, r#"{"text":" "}"#, ""),
        ] {
            assert_eq!(text_of(format, line.as_bytes()).unwrap(), text, "{line}");
        }
    }

    #[test]
    fn a_line_without_a_text_says_why() {
        for (format, line, why) in [
            (Format::Plain, &b"\xff\xfe\n"[..], "not UTF-8"),
            (MSMARCO, b"no tab here", "no tab"),
            (MSMARCO, b"pid\tpassage", "no id before the tab"),
            (TSV, b" \tx", "no id before the tab"),
            (Format::Json, b"[1]", "not a JSON object"),
            (Format::Json, b"{\"a\":1}", "no `text`, `passage` or `contents`"),
            (Format::Json, b"{\"text\":", "not JSON"),
            (Format::Json, b"{\"text\":5}", "`text` is no string"),
            (Format::Json, b"{\"text\":\"x\",\"title\":[\"t\"]}", "`title` is no string"),
            (Format::Json, b"{\"text\":\"x\",\"text\":\"y\"}", "a field stands twice"),
        ] {
            assert_eq!(text_of(format, line), Err(why), "{line:?}");
        }
    }
}
