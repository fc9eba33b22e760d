//! Label selectors as in Kubernetes, by equality: `team=search,stage!=test,gpu,!draft`.

use std::collections::BTreeMap;

use super::problem::{Answer, Refusal};

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Selector(Vec<Term>);

#[derive(Clone, Debug, PartialEq)]
enum Term {
    Equals(String, String),
    Differs(String, String),
    Has(String),
    Lacks(String),
}

impl Selector {
    pub(super) fn parse(text: Option<&str>) -> Answer<Self> {
        let terms = text.unwrap_or_default().split(',').map(str::trim).filter(|term| !term.is_empty());
        terms.map(term).collect::<Answer<_>>().map(Self)
    }

    pub(super) fn selects(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|term| match term {
            Term::Equals(key, value) => labels.get(key) == Some(value),
            // As in Kubernetes, a label that is not there differs from every value.
            Term::Differs(key, value) => labels.get(key) != Some(value),
            Term::Has(key) => labels.contains_key(key),
            Term::Lacks(key) => !labels.contains_key(key),
        })
    }
}

fn term(text: &str) -> Answer<Term> {
    let pair = |key: &str, value: &str| (key.trim().to_owned(), value.trim().to_owned());
    let (key, term) = if let Some((key, value)) = text.split_once("!=") {
        let (key, value) = pair(key, value);
        (key.clone(), Term::Differs(key, value))
    } else if let Some((key, value)) = text.split_once("==").or_else(|| text.split_once('=')) {
        let (key, value) = pair(key, value);
        (key.clone(), Term::Equals(key, value))
    } else if let Some(key) = text.strip_prefix('!') {
        (key.to_owned(), Term::Lacks(key.to_owned()))
    } else {
        (text.to_owned(), Term::Has(text.to_owned()))
    };
    let plain = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte));
    if plain {
        return Ok(term);
    }
    let shown: String = text.chars().filter(|letter| !letter.is_control()).take(80).collect();
    let detail = format!("`{shown}` is not a label selector; write for example team=search,stage!=test");
    Err(Refusal::bad_request("invalid_selector", detail))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn terms_are_joined_by_and() {
        let labels = BTreeMap::from([("team".to_owned(), "search".to_owned()), ("gpu".to_owned(), String::new())]);
        for (text, selected) in [
            ("", true),
            ("team=search", true),
            ("team==search,gpu", true),
            ("team=ads", false),
            ("team!=ads,stage!=test", true),
            ("team=search,!gpu", false),
            ("!stage", true),
        ] {
            assert_eq!(Selector::parse(Some(text)).unwrap().selects(&labels), selected, "{text}");
        }
    }

    #[test]
    fn what_is_no_selector_is_refused() {
        for text in ["=x", "team in (a", "a b", "!"] {
            assert!(Selector::parse(Some(text)).is_err(), "{text}");
        }
    }
}
