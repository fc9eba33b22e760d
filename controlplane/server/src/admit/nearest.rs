//! The known name that a person most likely meant: a typo must not run for four hours, and its error should cure itself.

/// Words that people use for ours, which look nothing like them.
const SYNONYMS: [(&str, &str); 2] = [("gpu", "cuda"), ("nvidia", "cuda")];

/// The nearest of `known`, or none when nothing is near. Spelling conventions (`batch_sizes`, `BatchSizes`) don't count as
/// distance.
pub(super) fn nearest<'k>(written: &str, known: &[&'k str]) -> Option<&'k str> {
    if written.len() > 60 {
        return None;
    }
    let plain = plain(written);
    if let Some(name) = known.iter().find(|name| SYNONYMS.contains(&(plain.as_str(), **name))) {
        return Some(name);
    }
    known
        .iter()
        .map(|name| (strsim::normalized_damerau_levenshtein(&plain, &self::plain(name)), *name))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .filter(|(similarity, _)| *similarity >= 0.6)
        .map(|(_, name)| name)
}

/// What is said of a field that is not among `known`.
pub(crate) fn unknown_field(written: &str, known: &[&str]) -> String {
    let hint = match nearest(written, known) {
        Some(name) => format!("did you mean `{name}`?"),
        None => format!("known here: {}", known.join(", ")),
    };
    format!("unknown field `{written}`; {hint}")
}

fn plain(name: &str) -> String {
    name.chars().filter(|letter| letter.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_gpu_is_not_taken_for_a_cpu() {
        assert_eq!(nearest("gpu", &["cpu", "cuda"]), Some("cuda"));
        assert_eq!(nearest("gpus", &["gpus", "nodes"]), Some("gpus"));
    }

    #[test]
    fn typos_and_other_conventions_find_their_name() {
        let known = ["duration", "warmup", "repetitions", "batchSizes", "cpusPerTask"];
        for (written, meant) in [
            ("durration", Some("duration")),
            ("Duration", Some("duration")),
            ("batch_sizes", Some("batchSizes")),
            ("cpus-per-task", Some("cpusPerTask")),
            ("reptitions", Some("repetitions")),
            ("warm-up", Some("warmup")),
            ("colour", None),
            ("", None),
        ] {
            assert_eq!(nearest(written, &known), meant, "{written}");
        }
    }
}
