//! `metadata`: the name, and labels and annotations with the rules of Kubernetes.

use std::collections::BTreeMap;

use super::NameChoice;
use super::reader::{Node, shorten};

const LONGEST_LABEL: usize = 63;
/// The server appends five characters to `generateName`.
const LONGEST_PREFIX: usize = LONGEST_LABEL - 5;
const MOST_LABELS: usize = 64;
const LARGEST_ANNOTATIONS: usize = 64 * 1024;

type Metadata = (NameChoice, BTreeMap<String, String>, BTreeMap<String, String>);

pub(super) fn read(node: Node<'_>) -> Option<Metadata> {
    let mut object = node.object();
    let (name, prefix) = (object.field("name"), object.field("generateName"));
    let choice = match (name.is_set(), prefix.is_set()) {
        (true, true) => {
            prefix.refuse("stands beside `name`; give one of the two");
            None
        }
        (false, true) => prefix.parsed("the start of a name", read_prefix).map(NameChoice::Generate),
        (true, false) => name.parsed("a name", |text| read_label(text).map(NameChoice::Given)),
        (false, false) => {
            name.refuse("is required (or `generateName`, to which the server adds five characters)");
            None
        }
    };
    let labels = read_pairs(object.field("labels"), label_error);
    let annotations = read_pairs(object.field("annotations"), annotation_error);
    let size: usize = annotations.iter().map(|(key, value)| key.len() + value.len()).sum();
    if size > LARGEST_ANNOTATIONS {
        object.field("annotations").refuse(format!("hold {size} bytes; at most {LARGEST_ANNOTATIONS} are allowed"));
    }
    for theirs in ["uid", "owner", "resourceVersion", "generation", "createdAt", "deletedAt"] {
        object.ignore(theirs);
    }
    object.finish();
    choice.map(|choice| (choice, labels, annotations))
}

fn read_pairs(node: Node<'_>, error: fn(&str, &str) -> Option<String>) -> BTreeMap<String, String> {
    let entries = node.entries().unwrap_or_default();
    if entries.len() > MOST_LABELS {
        node.refuse(format!("holds {} entries; at most {MOST_LABELS} are allowed", entries.len()));
    }
    let mut pairs = BTreeMap::new();
    for (key, value) in entries {
        if let Some(text) = value.free_text() {
            match error(&key, &text) {
                Some(message) => value.refuse(message),
                None => drop(pairs.insert(key, text)),
            }
        }
    }
    pairs
}

/// What is wrong with a label (Kubernetes' rules), if anything.
pub fn label_error(key: &str, value: &str) -> Option<String> {
    if let Some(error) = key_error(key) {
        return Some(error);
    }
    (!value.is_empty() && !is_label_word(value)).then(|| {
        format!(
            "`{}` is not a label value: up to 63 letters, digits, `-`, `_` and `.`, with a letter or digit at both ends",
            shorten(value)
        )
    })
}

/// What is wrong with an annotation, if anything: its value is free.
pub fn annotation_error(key: &str, value: &str) -> Option<String> {
    key_error(key).or_else(|| (value.len() > LARGEST_ANNOTATIONS).then(|| format!("is longer than {LARGEST_ANNOTATIONS} bytes")))
}

fn key_error(key: &str) -> Option<String> {
    let (prefix, name) = key.rsplit_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
    let prefix_holds = prefix.is_none_or(|prefix| prefix.len() <= 253 && prefix.split('.').all(|part| read_label(part).is_ok()));
    (!prefix_holds || !is_label_word(name)).then(|| {
        format!(
            "`{}` is not a key: `name` or `example.org/name`, the name with up to 63 letters, digits, `-`, `_` and `.`",
            shorten(key)
        )
    })
}

fn is_label_word(text: &str) -> bool {
    let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    bytes.len() <= LONGEST_LABEL
        && edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

/// What is wrong with the name of an experiment, if anything.
pub fn name_error(text: &str) -> Option<String> {
    read_label(text).err()
}

/// A label of RFC 1123, as names of experiments and backends are.
pub(super) fn read_label(text: &str) -> Result<String, String> {
    let bytes = text.as_bytes();
    let holds = !bytes.is_empty()
        && bytes.len() <= LONGEST_LABEL
        && bytes.iter().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-')
        && bytes.first() != Some(&b'-')
        && bytes.last() != Some(&b'-');
    let fail = || {
        format!("`{}` is not a name: up to 63 small letters, digits and `-`, with a letter or digit at both ends", shorten(text))
    };
    holds.then(|| text.to_owned()).ok_or_else(fail)
}

fn read_prefix(text: &str) -> Result<String, String> {
    if text.len() > LONGEST_PREFIX {
        return Err(format!("is {} characters long; at most {LONGEST_PREFIX} leave room for the five that are added", text.len()));
    }
    read_label(&format!("{text}x")).map(|_| text.to_owned()).map_err(|_| {
        format!("`{}` cannot start a name: small letters, digits and `-`, with a letter or digit at the start", shorten(text))
    })
}
