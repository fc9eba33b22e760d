//! Walks a posted JSON value and collects every mistake with its path, instead of stopping at the first as serde does. A
//! [`Node`] is one place in the body (set or not), an [`Object`] is a node whose field names are checked. `null` counts as
//! absent everywhere, because complete objects show absent fields as `null`.

use std::cell::RefCell;
use std::ops::RangeInclusive;

use em_api::HumanDuration;
use em_api::problem::FieldError;
use serde_json::{Map, Value};

use super::nearest::{nearest, unknown_field};

/// Upper bound of long durations, in seconds.
pub(super) const TEN_YEARS: f64 = 10.0 * 365.0 * 86_400.0;

const LONGEST_TEXT: usize = 4_096;
const MOST_ITEMS: usize = 1_024;
/// More errors than this help nobody, and an answer must stay small whatever was posted.
const MOST_ERRORS: usize = 100;

/// All mistakes found so far, in the order of reading.
#[derive(Default)]
pub(super) struct Errors(RefCell<Vec<FieldError>>);

impl Errors {
    pub(super) fn push(&self, path: impl Into<String>, message: impl Into<String>) {
        let mut list = self.0.borrow_mut();
        if list.len() < MOST_ERRORS {
            list.push(FieldError::new(path, message));
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    /// Whether everything at and below a path is sound: rules across fields are silent about what is wrong already.
    pub(super) fn none_under(&self, path: &str) -> bool {
        !self.0.borrow().iter().any(|error| error.path.starts_with(path))
    }

    pub(super) fn into_list(self) -> Vec<FieldError> {
        self.0.into_inner()
    }
}

/// One place in the body. Readers return `None` when it is absent, and when it is wrong (the error is recorded then); callers
/// fill in the default in both cases and go on, so that later mistakes are found too.
#[derive(Clone)]
pub(super) struct Node<'a> {
    value: Option<&'a Value>,
    path: String,
    errors: &'a Errors,
}

impl<'a> Node<'a> {
    pub(super) fn root(value: &'a Value, errors: &'a Errors) -> Self {
        Self { value: Some(value), path: String::new(), errors }
    }

    pub(super) fn is_set(&self) -> bool {
        self.value.is_some_and(|value| !value.is_null())
    }

    /// Text, a number or a truth value: neither list nor object.
    pub(super) fn is_scalar(&self) -> bool {
        self.value.is_some_and(|value| value.is_number() || value.is_string() || value.is_boolean())
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    pub(super) fn refuse(&self, message: impl Into<String>) {
        self.errors.push(self.path.clone(), message);
    }

    /// Records an error when the field is absent.
    pub(super) fn required(self) -> Self {
        if !self.is_set() {
            self.refuse("is required");
        }
        self
    }

    /// Refuses a field of the design that this version cannot honour.
    pub(super) fn not_yet(&self, instead: &str) {
        if self.is_set() {
            self.refuse(format!("is not available yet; {instead}"));
        }
    }

    /// The general reader: `read` says what is wrong with a value that is set. `expected` names the right kind.
    fn read<T>(&self, expected: &str, read: impl FnOnce(&'a Value) -> Option<Result<T, String>>) -> Option<T> {
        let value = self.value.filter(|value| !value.is_null())?;
        match read(value) {
            Some(Ok(read)) => return Some(read),
            Some(Err(message)) => self.refuse(message),
            None => self.refuse(format!("expected {expected}, found {}", describe(value))),
        }
        None
    }

    /// One line of text that is not empty.
    pub(super) fn text(&self) -> Option<String> {
        self.parsed("text", |text| Ok(text.to_owned()))
    }

    /// Text that `parse` turns into something better.
    pub(super) fn parsed<T>(&self, expected: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        self.read(expected, |value| value.as_str().map(|text| check_text(text).and_then(|()| parse(text))))
    }

    /// As [`Self::parsed`]; a bare number is taken as the text that was meant (`gpus: 2`, `time: 240`).
    pub(super) fn parsed_or_number<T>(&self, expected: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        self.read(expected, |value| match value {
            Value::String(text) => Some(check_text(text).and_then(|()| parse(text))),
            Value::Number(number) => Some(parse(&number.to_string())),
            _ => None,
        })
    }

    /// Any text, line breaks included (annotations).
    pub(super) fn free_text(&self) -> Option<String> {
        self.read("text", |value| value.as_str().map(|text| Ok(text.to_owned())))
    }

    /// The value of an environment variable: may be empty; numbers are what they look like.
    pub(super) fn env_text(&self) -> Option<String> {
        self.read("text (put true, false and dates in quotes)", |value| match value {
            Value::String(text) if text.is_empty() => Some(Ok(String::new())),
            Value::String(text) => Some(check_text(text).map(|()| text.clone())),
            Value::Number(number) => Some(Ok(number.to_string())),
            _ => None,
        })
    }

    pub(super) fn boolean(&self) -> Option<bool> {
        self.read("true or false", |value| value.as_bool().map(Ok))
    }

    pub(super) fn whole(&self, range: RangeInclusive<u64>) -> Option<u64> {
        let (least, most) = (*range.start(), *range.end());
        self.signed(i64::try_from(least).unwrap_or(i64::MAX)..=i64::try_from(most).unwrap_or(i64::MAX)).map(i64::unsigned_abs)
    }

    pub(super) fn signed(&self, range: RangeInclusive<i64>) -> Option<i64> {
        let expected = format!("a whole number from {} to {}", range.start(), range.end());
        self.read(&expected, |value| value.as_number().and_then(whole_of).filter(|number| range.contains(number)).map(Ok))
    }

    /// A count of things: also `100K`, `1.5M`, `100_000`.
    pub(super) fn count(&self, range: RangeInclusive<u64>) -> Option<u64> {
        let expected = format!("a whole number from {} to {} (100K is 100000)", range.start(), range.end());
        self.read(&expected, |value| {
            let number = match value {
                Value::String(text) => count_of(text),
                Value::Number(number) => whole_of(number).and_then(|number| u64::try_from(number).ok()),
                _ => None,
            };
            number.filter(|number| range.contains(number)).map(Ok)
        })
    }

    pub(super) fn number(&self, range: RangeInclusive<f64>) -> Option<f64> {
        let expected = format!("a number from {} to {}", range.start(), range.end());
        self.read(&expected, |value| value.as_f64().filter(|number| range.contains(number)).map(Ok))
    }

    /// `range` in seconds.
    pub(super) fn duration(&self, range: RangeInclusive<f64>) -> Option<HumanDuration> {
        self.parsed("a duration such as 2m", |text| {
            let duration: HumanDuration = text.parse().map_err(|error: em_api::duration::ParseDurationError| error.to_string())?;
            if range.contains(&duration.0.as_secs_f64()) {
                return Ok(duration);
            }
            let [least, most] =
                [range.start(), range.end()].map(|seconds| HumanDuration(std::time::Duration::from_secs_f64(*seconds)));
            Err(format!("expected a duration from {least} to {most}, found {duration}"))
        })
    }

    /// One of a closed set of words; `what` names the set.
    pub(super) fn word<T: Copy>(&self, what: &str, words: &[(&str, T)]) -> Option<T> {
        let names: Vec<&str> = words.iter().map(|(name, _)| *name).collect();
        self.parsed(&format!("a {what} ({})", names.join(", ")), |text| {
            if let Some((_, word)) = words.iter().find(|(name, _)| *name == text) {
                return Ok(*word);
            }
            let hint = nearest(text, &names).map(|name| format!("did you mean `{name}`? ")).unwrap_or_default();
            Err(format!("`{}` is not a {what}; {hint}known: {}", shorten(text), names.join(", ")))
        })
    }

    pub(super) fn items(&self) -> Option<Vec<Node<'a>>> {
        self.read("a list", |value| {
            let items = value.as_array()?;
            if items.len() > MOST_ITEMS {
                return Some(Err(format!("holds {} items; at most {MOST_ITEMS} are allowed", items.len())));
            }
            let node = |(index, value)| Node { value: Some(value), path: format!("{}[{index}]", self.path), errors: self.errors };
            let nodes: Vec<Node<'a>> = items.iter().enumerate().map(node).collect();
            // A field may be null, as absent; an item that is left out of a list is a hole in it.
            nodes
                .iter()
                .filter(|node| !node.is_set())
                .for_each(|node| node.refuse("is null; write a value, or leave the item out"));
            Some(Ok(nodes))
        })
    }

    /// The entries of a map with free keys.
    pub(super) fn entries(&self) -> Option<Vec<(String, Node<'a>)>> {
        self.read("a map of names to values", |value| {
            let map = value.as_object()?;
            if map.len() > MOST_ITEMS {
                return Some(Err(format!("holds {} entries; at most {MOST_ITEMS} are allowed", map.len())));
            }
            let node = |(key, value): (&String, &'a Value)| {
                let path = format!("{}.{}", self.path, shorten(key));
                (key.clone(), Node { value: Some(value), path, errors: self.errors })
            };
            Some(Ok(map.iter().map(node).collect()))
        })
    }

    /// The fields of a section; none when it is absent or no object (recorded).
    pub(super) fn object(&self) -> Object<'a> {
        let map = self.read("an object with named fields", |value| value.as_object().map(Ok));
        Object { map, path: self.path.clone(), errors: self.errors, known: Vec::new() }
    }
}

/// A section of the body. Each field asked for becomes a known one; [`Object::finish`] refuses the others.
pub(super) struct Object<'a> {
    map: Option<&'a Map<String, Value>>,
    path: String,
    errors: &'a Errors,
    known: Vec<&'static str>,
}

impl<'a> Object<'a> {
    pub(super) fn field(&mut self, name: &'static str) -> Node<'a> {
        if !self.known.contains(&name) {
            self.known.push(name);
        }
        Node { value: self.map.and_then(|map| map.get(name)), path: join(&self.path, name), errors: self.errors }
    }

    /// A field that only the server sets: allowed and passed over.
    pub(super) fn ignore(&mut self, name: &'static str) {
        self.known.push(name);
    }

    pub(super) fn finish(self) {
        let unknown = self.map.into_iter().flat_map(Map::keys).filter(|key| !self.known.contains(&key.as_str()));
        for key in unknown {
            let key = shorten(key);
            self.errors.push(join(&self.path, &key), unknown_field(&key, &self.known));
        }
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// Line breaks and other control characters would end up in job scripts, argument lists and terminals.
fn check_text(text: &str) -> Result<(), String> {
    if text.trim().is_empty() {
        Err("must not be empty".to_owned())
    } else if text.len() > LONGEST_TEXT {
        Err(format!("is {} bytes long; at most {LONGEST_TEXT} are allowed", text.len()))
    } else if text.chars().any(char::is_control) {
        Err("holds a line break or another control character; write one line of plain text".to_owned())
    } else {
        Ok(())
    }
}

fn whole_of(number: &serde_json::Number) -> Option<i64> {
    // 5.0 and 1e3 are whole numbers to people. Beyond 2^53 a float is no exact number.
    let whole = |float: f64| (float.fract() == 0.0 && float.abs() < 9e15).then_some(float as i64);
    number.as_i64().or_else(|| if number.is_f64() { number.as_f64().and_then(whole) } else { None })
}

fn count_of(text: &str) -> Option<u64> {
    let plain: String = text.trim().chars().filter(|letter| !matches!(letter, '_' | ',')).collect();
    let (digits, factor) = match plain.strip_suffix(['k', 'K']) {
        Some(digits) => (digits, 1e3),
        None => plain.strip_suffix(['m', 'M']).map_or((plain.as_str(), 1.0), |digits| (digits, 1e6)),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return None;
    }
    let number = digits.parse::<f64>().ok()? * factor;
    (number.fract() == 0.0 && number < 9e15).then_some(number as u64)
}

/// A value as an error message names it.
fn describe(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::Bool(value) => format!("{value}"),
        Value::Number(number) => format!("the number {}", shorten(&number.to_string())),
        Value::String(text) => format!("the text \"{}\"", shorten(text)),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}

/// At most 60 characters, control characters escaped: messages quote what was posted, and end up on terminals.
pub(super) fn shorten(text: &str) -> String {
    let mut shown: String = text.chars().take(60).flat_map(char::escape_debug).collect();
    if text.chars().nth(60).is_some() {
        shown.push('…');
    }
    shown
}

/// Words that stand for themselves.
pub(super) fn words<'w>(names: &[&'w str]) -> Vec<(&'w str, ())> {
    names.iter().map(|name| (*name, ())).collect()
}
