//! The text in one line of a data set, or why there is none.

use std::borrow::Cow;

use em_api::spec::DatasetSource;
use serde::Deserialize;

/// Errors: a few words for the report.
pub(super) fn text_of(source: DatasetSource, line: &[u8]) -> Result<Cow<'_, str>, &'static str> {
    let line = std::str::from_utf8(line).map_err(|_| "not UTF-8")?.trim_end_matches(['\n', '\r']);
    let text = match source {
        DatasetSource::Wordnet | DatasetSource::Text => Cow::Borrowed(line.trim()),
        DatasetSource::Msmarco => passage(line, |id| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit()))?,
        DatasetSource::Tsv => passage(line, |id| !id.trim().is_empty())?,
        DatasetSource::Jsonl => object(line)?,
        DatasetSource::Parquet => return Err("parquet has no lines"),
    };
    if text.is_empty() { Err("no text") } else { Ok(text) }
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

fn object(line: &str) -> Result<Cow<'_, str>, &'static str> {
    let object: Object = serde_json::from_str(line).map_err(|_| "not a JSON object with a text")?;
    let text = object.text.or(object.passage).or(object.contents).ok_or("no `text`, `passage` or `contents`")?;
    match object.title {
        Some(title) if !title.trim().is_empty() => Ok(Cow::Owned(format!("{} {}", title.trim(), text.trim()))),
        _ => Ok(Cow::Owned(text.trim().to_owned())),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn each_source_finds_its_text() {
        for (source, line, text) in [
            (DatasetSource::Text, "  a line \r\n", "a line"),
            (DatasetSource::Msmarco, "17\tThe passage\n", "The passage"),
            (DatasetSource::Tsv, "doc-1\twith\ta tab", "with\ta tab"),
            (DatasetSource::Jsonl, r#"{"_id":"1","title":"T","text":"body \"q\""}"#, "T body \"q\""),
            (DatasetSource::Jsonl, r#"{"title":"","text":"body","metadata":{"x":[1]}}"#, "body"),
            (DatasetSource::Jsonl, r#"{"pid":3,"passage":"p"}"#, "p"),
            (DatasetSource::Jsonl, r#"{"id":3,"contents":"c"}"#, "c"),
        ] {
            assert_eq!(text_of(source, line.as_bytes()).unwrap(), text, "{line}");
        }
    }

    #[test]
    fn a_line_without_a_text_says_why() {
        for (source, line, why) in [
            (DatasetSource::Text, &b"   \n"[..], "no text"),
            (DatasetSource::Text, &b"\xff\xfe\n"[..], "not UTF-8"),
            (DatasetSource::Msmarco, b"no tab here", "no tab"),
            (DatasetSource::Msmarco, b"pid\tpassage", "no id before the tab"),
            (DatasetSource::Msmarco, b"7\t", "no text"),
            (DatasetSource::Tsv, b" \tx", "no id before the tab"),
            (DatasetSource::Jsonl, b"[1]", "not a JSON object with a text"),
            (DatasetSource::Jsonl, b"{\"a\":1}", "no `text`, `passage` or `contents`"),
            (DatasetSource::Jsonl, b"{\"text\":", "not a JSON object with a text"),
        ] {
            assert_eq!(text_of(source, line), Err(why), "{line:?}");
        }
    }
}
