//! Slurm's way to write many node names as one: `gpu[01-04,7],rack[1-2]n[1-8]`.

/// More names than any cluster has; a longer list is a mistake, and would only cost memory.
const MOST: usize = 100_000;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NodeListError {
    #[error("`{0}` is no list of nodes such as gpu[01-04,7],login1")]
    Malformed(String),
    #[error("the list stands for more than {MOST} nodes")]
    TooMany,
}

/// The names in their order; several brackets in one name are combined. Digits keep their width (`[08-10]`: `08`, `09`, `10`).
/// Empty for an empty list and for Slurm's `(null)`. Source: scontrol(1), `show hostnames`.
pub fn expand_node_list(text: &str) -> Result<Vec<String>, NodeListError> {
    let mut names = Vec::new();
    if matches!(text.trim(), "" | "(null)") {
        return Ok(names);
    }
    for part in items(text).ok_or_else(|| malformed(text))? {
        names.extend(one(part.trim(), MOST - names.len())?);
    }
    Ok(names)
}

/// One item, brackets expanded, at most `room` names.
fn one(item: &str, room: usize) -> Result<Vec<String>, NodeListError> {
    let plain =
        |text: &str| !text.is_empty() && text.chars().all(|letter| letter.is_ascii_alphanumeric() || "-_.".contains(letter));
    let (mut names, mut rest) = (vec![String::new()], item);
    while let Some((head, tail)) = rest.split_once('[') {
        let (inside, after) = tail.split_once(']').ok_or_else(|| malformed(item))?;
        let numbers = ranges(inside, room)?;
        if names.len().saturating_mul(numbers.len()) > room {
            return Err(NodeListError::TooMany);
        }
        names = names.iter().flat_map(|name| numbers.iter().map(move |number| format!("{name}{head}{number}"))).collect();
        rest = after;
    }
    for name in &mut names {
        name.push_str(rest);
    }
    if names.len() > room {
        return Err(NodeListError::TooMany);
    }
    if names.iter().all(|name| plain(name)) { Ok(names) } else { Err(malformed(item)) }
}

/// `01-03,7` → `01`, `02`, `03`, `7`.
fn ranges(text: &str, room: usize) -> Result<Vec<String>, NodeListError> {
    let number = |digits: &str| -> Result<usize, NodeListError> {
        let digits_only = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        digits_only.then(|| digits.parse().ok()).flatten().ok_or_else(|| malformed(text))
    };
    let mut all = Vec::new();
    for range in text.split(',').map(str::trim) {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (from, to) = (number(first)?, number(last)?);
        if from > to {
            return Err(malformed(text));
        }
        if to - from >= room.saturating_sub(all.len()) {
            return Err(NodeListError::TooMany);
        }
        all.extend((from..=to).map(|number| format!("{number:0width$}", width = first.len())));
    }
    Ok(all)
}

/// Parts between commas outside of brackets; none when a bracket is not closed or not opened.
fn items(text: &str) -> Option<Vec<&str>> {
    let (mut items, mut begin, mut inside) = (Vec::new(), 0, false);
    for (at, letter) in text.char_indices() {
        match letter {
            '[' if inside => return None,
            '[' => inside = true,
            ']' if !inside => return None,
            ']' => inside = false,
            ',' if !inside => {
                items.push(&text[begin..at]);
                begin = at + 1;
            }
            _ => {}
        }
    }
    items.push(&text[begin..]);
    (!inside).then_some(items)
}

fn malformed(text: &str) -> NodeListError {
    NodeListError::Malformed(text.chars().take(80).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lists_are_expanded_as_scontrol_show_hostnames_does() {
        for (text, names) in [
            ("", ""),
            ("(null)", ""),
            ("login1", "login1"),
            ("node[1-3,7]", "node1 node2 node3 node7"),
            ("gpu[08-10],cpu-a", "gpu08 gpu09 gpu10 cpu-a"),
            ("rack[1-2]n[1-2]", "rack1n1 rack1n2 rack2n1 rack2n2"),
            ("n[1,3]-ib", "n1-ib n3-ib"),
            ("a1,b[2]", "a1 b2"),
        ] {
            let expanded = expand_node_list(text).expect(text);
            assert_eq!(expanded.join(" "), names, "{text}");
        }
    }

    #[test]
    fn what_is_no_list_is_refused() {
        for text in ["n[1-", "n1]", "n[3-1]", "n[a-b]", "n[]", "n[[1]]", "a b", "a,,b", "n[1-2", "$(x)", "n[1-2-3]"] {
            assert!(matches!(expand_node_list(text), Err(NodeListError::Malformed(_))), "{text}");
        }
    }

    #[test]
    fn a_list_without_end_costs_nothing() {
        for text in ["n[1-999999999]", "n[1-9999][1-9999][1-9999]", "n[0-99999999999999999999]"] {
            assert!(expand_node_list(text).is_err(), "{text}");
        }
        let long = ["n[1-60000]"; 2].join(",");
        assert_eq!(expand_node_list(&long), Err(NodeListError::TooMany));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic_or_grow(text in "[n0-9\\[\\],\\- é]{0,40}") {
            prop_assert!(expand_node_list(&text).is_ok_and(|names| names.len() <= MOST) || expand_node_list(&text).is_err());
        }
    }
}
