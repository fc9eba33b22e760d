//! The text of selectors. Labels as in Kubernetes: `team=search,stage!=test,tier in (a,b),zone notin (x),gpu,!draft`. Fields by `=`,
//! `==` and `!=`, out of a closed list. Each refusal says where the text stops making sense.

use std::collections::BTreeSet;
use std::fmt;

use em_api::status::Phase;

use super::problem::{Answer, Refusal};
use crate::admit::{label_error, name_error};
use crate::store::filter::{Field, FieldTerm, Filter, LabelTerm};

const FIELDS: [(&str, Field); 4] = [
    ("metadata.name", Field::Name),
    ("metadata.owner", Field::Owner),
    ("spec.model.id", Field::Model),
    ("status.phase", Field::Phase),
];

/// Reads both selectors of a list or a watch; an absent one selects everything.
pub(super) fn read(labels: Option<&str>, fields: Option<&str>) -> Answer<Filter> {
    let labels = labels.filter(|text| !text.trim().is_empty()).map(read_labels).transpose()?.unwrap_or_default();
    let fields = fields.filter(|text| !text.trim().is_empty()).map(read_fields).transpose()?.unwrap_or_default();
    Ok(Filter { labels, fields })
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Token<'a> {
    Word(&'a str),
    /// `=`, `==`, `!=`, `!`, `(`, `)`, `,`, or a character that has no meaning.
    Sign(&'a str),
    End,
}

impl fmt::Display for Token<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::End => f.write_str("the end"),
            Self::Word(text) | Self::Sign(text) => write!(f, "`{}`", text.chars().take(80).collect::<String>().escape_debug()),
        }
    }
}

/// Walks the text of a label selector.
struct Reader<'a> {
    rest: &'a str,
    length: usize,
}

impl<'a> Reader<'a> {
    fn look(&self) -> (Token<'a>, &'a str) {
        let text = self.rest.trim_start();
        let Some(first) = text.chars().next() else { return (Token::End, text) };
        let size = match first {
            '=' | '!' if text[1..].starts_with('=') => 2,
            '=' | '!' | '(' | ')' | ',' => 1,
            _ => {
                let end = text.find(|letter: char| letter.is_whitespace() || "=!(),".contains(letter)).unwrap_or(text.len());
                return (Token::Word(&text[..end]), &text[end..]);
            }
        };
        (Token::Sign(&text[..size]), &text[size..])
    }

    fn next(&mut self) -> Token<'a> {
        let (token, rest) = self.look();
        self.rest = rest;
        token
    }

    fn takes(&mut self, sign: &str) -> bool {
        let (token, rest) = self.look();
        let found = token == Token::Sign(sign);
        if found {
            self.rest = rest;
        }
        found
    }

    fn expected(&self, what: &str) -> Refusal {
        let at = self.length - self.rest.trim_start().len() + 1;
        wrong("labelSelector", &format!("expected {what}, found {} at character {at}", self.look().0))
    }

    fn key(&mut self) -> Answer<String> {
        let Token::Word(key) = self.look().0 else { return Err(self.expected("a label's key")) };
        self.next();
        label_error(key, "").map_or(Ok(key.to_owned()), |error| Err(wrong("labelSelector", &error)))
    }

    /// May be empty: a label can have no value.
    fn value(&mut self, key: &str) -> Answer<String> {
        let Token::Word(value) = self.look().0 else { return Ok(String::new()) };
        self.next();
        label_error(key, value).map_or(Ok(value.to_owned()), |error| Err(wrong("labelSelector", &error)))
    }

    fn set(&mut self, key: &str) -> Answer<BTreeSet<String>> {
        if !self.takes("(") {
            return Err(self.expected("`(`"));
        }
        if self.look().0 == Token::Sign(")") {
            return Err(self.expected("a value"));
        }
        let mut values = BTreeSet::new();
        loop {
            values.insert(self.value(key)?);
            if self.takes(")") {
                return Ok(values);
            }
            if !self.takes(",") {
                return Err(self.expected("`,` or `)`"));
            }
        }
    }

    fn term(&mut self) -> Answer<LabelTerm> {
        if self.takes("!") {
            return self.key().map(LabelTerm::Lacks);
        }
        let key = self.key()?;
        let (token, rest) = self.look();
        match token {
            Token::Sign("=" | "==") => {
                self.rest = rest;
                let value = self.value(&key)?;
                Ok(LabelTerm::In(key, BTreeSet::from([value])))
            }
            Token::Sign("!=") => {
                self.rest = rest;
                let value = self.value(&key)?;
                Ok(LabelTerm::NotIn(key, BTreeSet::from([value])))
            }
            Token::Word("in") => {
                self.rest = rest;
                let values = self.set(&key)?;
                Ok(LabelTerm::In(key, values))
            }
            Token::Word("notin") => {
                self.rest = rest;
                let values = self.set(&key)?;
                Ok(LabelTerm::NotIn(key, values))
            }
            Token::End | Token::Sign(",") => Ok(LabelTerm::Has(key)),
            _ => Err(self.expected("`=`, `==`, `!=`, `in`, `notin` or `,`")),
        }
    }
}

fn read_labels(text: &str) -> Answer<Vec<LabelTerm>> {
    let mut reader = Reader { rest: text, length: text.len() };
    let mut terms = Vec::new();
    loop {
        terms.push(reader.term()?);
        match reader.look().0 {
            Token::End => return Ok(terms),
            Token::Sign(",") => drop(reader.next()),
            _ => return Err(reader.expected("`,`")),
        }
    }
}

fn read_fields(text: &str) -> Answer<Vec<FieldTerm>> {
    text.split(',').map(|term| read_field(term.trim())).collect()
}

fn read_field(term: &str) -> Answer<FieldTerm> {
    let refuse = |detail: &str| Err(wrong("fieldSelector", detail));
    let shown: String = term.chars().take(80).collect::<String>().escape_debug().to_string();
    let split = term.split_once("!=").map(|pair| (pair, false));
    let split = split.or_else(|| term.split_once("==").or_else(|| term.split_once('=')).map(|pair| (pair, true)));
    let Some(((key, value), equals)) = split else {
        return refuse(&format!("`{shown}` is no term; write field=value or field!=value"));
    };
    let (key, value) = (key.trim(), value.trim());
    let Some((_, field)) = FIELDS.iter().find(|(name, _)| *name == key) else {
        let known: Vec<&str> = FIELDS.iter().map(|(name, _)| *name).collect();
        return refuse(&format!("there is no field `{}` to select by; there are {}", key.escape_debug(), known.join(", ")));
    };
    let error = match field {
        Field::Name => name_error(value),
        Field::Phase => phase_error(value),
        Field::Owner | Field::Model if value.is_empty() || value.contains(['=', '!']) || value.chars().any(char::is_control) => {
            Some(format!("`{shown}` is no term; write {key}=value"))
        }
        Field::Owner | Field::Model => None,
    };
    error.map_or_else(|| Ok(FieldTerm { field: *field, equals, value: value.to_owned() }), |error| refuse(&error))
}

fn phase_error(value: &str) -> Option<String> {
    let known: Vec<&str> = Phase::ALL.iter().map(|phase| phase.as_str()).collect();
    (!known.contains(&value)).then(|| format!("`{}` is no phase; there are {}", value.escape_debug(), known.join(", ")))
}

fn wrong(which: &str, detail: &str) -> Refusal {
    Refusal::bad_request("invalid_selector", format!("{which}: {detail}"))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn set(values: &[&str]) -> BTreeSet<String> {
        values.iter().map(|value| (*value).to_owned()).collect()
    }

    #[test]
    fn label_selectors_read_as_in_kubernetes() {
        let word = str::to_owned;
        let (is, not) =
            (|key, values| LabelTerm::In(word(key), set(values)), |key, values| LabelTerm::NotIn(word(key), set(values)));
        for (text, terms) in [
            ("team=search", vec![is("team", &["search"])]),
            (" team == search , !gpu ", vec![is("team", &["search"]), LabelTerm::Lacks(word("gpu"))]),
            ("team!=search,gpu", vec![not("team", &["search"]), LabelTerm::Has(word("gpu"))]),
            ("tier in (a, b,a)", vec![is("tier", &["a", "b"])]),
            ("tier notin(a),example.org/x in (y)", vec![not("tier", &["a"]), is("example.org/x", &["y"])]),
            ("in,notin", vec![LabelTerm::Has(word("in")), LabelTerm::Has(word("notin"))]),
            ("in in (in)", vec![is("in", &["in"])]),
            ("team=", vec![is("team", &[""])]),
            ("team=,gpu", vec![is("team", &[""]), LabelTerm::Has(word("gpu"))]),
            ("tier in (a,)", vec![is("tier", &["a", ""])]),
            ("! gpu", vec![LabelTerm::Lacks(word("gpu"))]),
        ] {
            assert_eq!(read(Some(text), None).unwrap().labels, terms, "{text}");
        }
        assert!(read(Some("  "), Some("")).unwrap().is_empty());
    }

    #[test]
    fn a_refusal_says_where_the_text_stops_making_sense() {
        for (text, told) in [
            ("=x", "expected a label's key, found `=` at character 1"),
            ("team in (a", "expected `,` or `)`, found the end at character 11"),
            ("team in ()", "expected a value, found `)` at character 10"),
            ("team in a", "expected `(`, found `a` at character 9"),
            ("a b", "expected `=`, `==`, `!=`, `in`, `notin` or `,`, found `b` at character 3"),
            ("team=a b", "expected `,`, found `b` at character 8"),
            ("a,,b", "expected a label's key, found `,` at character 3"),
            ("a,", "expected a label's key, found the end at character 3"),
            ("a===b", "expected `,`, found `=` at character 4"),
            ("a=b=c", "expected `,`, found `=` at character 4"),
            ("!", "expected a label's key, found the end at character 2"),
            ("!!a", "expected a label's key, found `!` at character 2"),
            ("a>1", "`a>1` is not a key"),
            ("a=\u{e4}", "is not a label value"),
        ] {
            let refusal = read(Some(text), None).unwrap_err().to_string();
            assert!(refusal.contains(told), "{text}: {refusal}");
        }
    }

    #[test]
    fn field_selectors_know_a_few_fields() {
        let read_fields = |text| read(None, Some(text)).map(|filter| filter.fields);
        let terms = read_fields("metadata.name=demo, status.phase!=Running,spec.model.id==org/model,metadata.owner=ann").unwrap();
        let read: Vec<_> = terms.iter().map(|term| (term.field, term.equals, term.value.as_str())).collect();
        let expected = [
            (Field::Name, true, "demo"),
            (Field::Phase, false, "Running"),
            (Field::Model, true, "org/model"),
            (Field::Owner, true, "ann"),
        ];
        assert_eq!(read, expected);
        for (text, told) in [
            ("spec.retries=1", "there are metadata.name, metadata.owner, spec.model.id, status.phase"),
            ("status.phase=running", "there are Pending, Preparing"),
            ("metadata.name", "is no term"),
            ("metadata.name=A", "is not a name"),
            ("metadata.owner=", "is no term"),
            ("metadata.name in (a)", "is no term"),
            ("metadata.name=a,", "is no term"),
        ] {
            let refusal = read_fields(text).unwrap_err().to_string();
            assert!(refusal.contains(told), "{text}: {refusal}");
        }
    }
}
