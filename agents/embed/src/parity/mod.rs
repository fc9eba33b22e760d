//! The 200 texts whose vectors all backends are compared by, the same in every experiment, so that vectors are comparable over
//! time too. Made up here; no data set is needed. Each kind of text is there for a fault: long ones for truncation, unicode and
//! case for the tokenizer, short ones for pooling (special tokens weigh most), near-duplicates for what a search would notice.

mod words;

use sha2::{Digest, Sha256};

/// 45 short, 60 of a sentence or two, 20 long, 35 in other scripts and with marks, 20 pairs that differ in little.
pub const COUNT: usize = 200;

/// In a fixed order, the kinds mixed: a chunk of neighbours is no batch of one length.
pub fn texts() -> Vec<String> {
    let kinds = [short(), sentences(), long(), unicode(), pairs()];
    let all: Vec<String> = kinds.into_iter().flatten().collect();
    // 67 shares no factor with 200: every text once.
    (0..COUNT).map(|at| all[at * 67 % COUNT].clone()).collect()
}

/// Over the texts, each followed by a NUL: equal hashes mean comparable vectors.
pub fn sha256(texts: &[String]) -> String {
    let mut hasher = Sha256::new();
    for text in texts {
        hasher.update(text.as_bytes());
        hasher.update([0]);
    }
    hex::encode(hasher.finalize())
}

fn short() -> Vec<String> {
    words::SHORT.iter().map(|text| (*text).to_owned()).collect()
}

fn sentences() -> Vec<String> {
    (0..60).map(|number| if number % 3 == 0 { paragraph(number, 2) } else { sentence(number) }).collect()
}

/// 25 to 90 sentences: from about 330 to 1,200 words, beyond what most models are cut to.
fn long() -> Vec<String> {
    (0..20).map(|number| paragraph(1_000 + number * 131, [25, 30, 50, 90][number % 4])).collect()
}

fn unicode() -> Vec<String> {
    words::UNICODE.iter().map(|text| (*text).to_owned()).collect()
}

fn pairs() -> Vec<String> {
    let change = |number: usize, text: &str| match number % 5 {
        0 => text.replacen(" the ", " a ", 1),
        1 => format!("{text} Not so."),
        2 => text.trim_end_matches('.').to_owned() + "!",
        3 => text.to_uppercase(),
        _ => text.replacen(' ', " very ", 1),
    };
    let pair = |number: usize| {
        let text = sentence(7_000 + number * 17);
        let other = change(number, &text);
        [text, other]
    };
    (0..20).flat_map(pair).collect()
}

fn paragraph(first: usize, count: usize) -> String {
    (0..count).map(|step| sentence(first + step * 7)).collect::<Vec<_>>().join(" ")
}

/// Strides without a common factor walk through all combinations.
fn sentence(number: usize) -> String {
    let pick = |bank: &[&'static str], stride: usize| bank[(number * stride + number / bank.len()) % bank.len()];
    format!(
        "The {} {} {} the {} {}, {}.",
        pick(&words::QUALITIES, 3),
        pick(&words::ACTORS, 7),
        pick(&words::ACTIONS, 5),
        pick(&words::THINGS, 11),
        pick(&words::PLACES, 13),
        pick(&words::ENDINGS, 17),
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_texts_never_change() {
        let texts = texts();
        // Vectors that were kept are comparable only while this holds.
        insta::assert_snapshot!(sha256(&texts), @"97c48e7a1226d4e0c282dccf016776388c30c9b6c169b353bcaa062f41ee1d27");
    }

    #[test]
    fn all_texts_differ_and_every_kind_is_there() {
        let texts = texts();
        assert_eq!((texts.len(), texts.iter().collect::<BTreeSet<_>>().len()), (COUNT, COUNT));
        assert!(texts.iter().all(|text| !text.trim().is_empty()));
        let words = |text: &String| text.split_whitespace().count();
        assert!(texts.iter().filter(|text| words(text) <= 3).count() >= 35);
        assert!(texts.iter().filter(|text| words(text) > 300).count() == 20 && texts.iter().map(words).max() > Some(1_000));
        assert!(texts.iter().filter(|text| !text.is_ascii()).count() >= 30);
        let lower: BTreeSet<String> = texts.iter().map(|text| text.to_lowercase()).collect();
        assert_eq!(lower.len(), COUNT - 6, "six differ from another in case alone");
    }

    #[test]
    fn a_hash_tells_texts_apart_that_only_their_ends_do() {
        let of = |texts: &[&str]| sha256(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>());
        assert_ne!(of(&["ab", "c"]), of(&["a", "bc"]));
        assert_eq!(of(&["a"]), hex::encode(Sha256::digest(b"a\0")));
    }
}
