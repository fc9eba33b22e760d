//! Quoting: one string as exactly one word, for bash and for sbatch's reading of `#SBATCH` lines. Everything in a job script
//! that a user wrote goes through here, apart from the setup lines, which are code by their nature.

use std::fmt::Write as _;

/// The string as one word of bash, on one line. Bash cannot hold NUL bytes; they are left out.
pub fn quote(text: &str) -> String {
    let text = text.replace('\0', "");
    let option = text.starts_with('-');
    if !text.is_empty() && text.chars().all(|c| is_plain(c) || (c == '=' && option)) {
        return text;
    }
    if text.chars().any(char::is_control) {
        return ansi_c(&text);
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// `$'…'`: line ends and other control characters stay on one line, where no line of the script can begin inside them.
fn ansi_c(text: &str) -> String {
    let mut word = String::from("$'");
    for c in text.chars() {
        match c {
            '\n' => word.push_str(r"\n"),
            '\r' => word.push_str(r"\r"),
            '\t' => word.push_str(r"\t"),
            '\\' => word.push_str(r"\\"),
            '\'' => word.push_str(r"\'"),
            c if c.is_ascii_control() => {
                let _ = write!(word, "\\{:03o}", c as u32);
            }
            c => word.push(c),
        }
    }
    word.push('\'');
    word
}

/// The string as one word of a `#SBATCH` line. sbatch reads such lines itself: blanks part words, `#` begins a comment,
/// quotes and backslash work as in C. Control characters cannot be written there and become blanks; `JobOptions::validate`
/// refuses them beforehand.
pub(crate) fn sbatch_word(text: &str) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if !text.is_empty() && text.chars().all(|c| is_plain(c) || "=*[]&|()!<>^;?".contains(c)) {
        return text;
    }
    format!("\"{}\"", text.replace('\\', r"\\").replace('"', "\\\""))
}

fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_-@%+:,./".contains(c)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;

    /// What bash makes of the words: each argument, NUL-terminated.
    fn through_bash(words: &[&str]) -> Vec<String> {
        let line: Vec<String> = words.iter().map(|word| quote(word)).collect();
        let script = format!("printf '%s\\0' {}", line.join(" "));
        assert_eq!(script.lines().count(), 1, "a word must stay on its line: {script}");
        let output = Command::new("bash").args(["--norc", "-c", &script]).output().expect("bash runs");
        assert!(output.status.success() && output.stderr.is_empty(), "{script}\n{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).expect("UTF-8 comes back as UTF-8");
        text.split_terminator('\0').map(str::to_owned).collect()
    }

    #[test]
    fn hostile_strings_come_out_of_bash_as_they_went_in() {
        let dir = tempfile::tempdir().expect("a folder");
        let canary = dir.path().join("canary");
        let mut words = crate::hostile::hostile(&canary.to_string_lossy());
        words.push(String::new());
        words.retain(|word| !word.contains('\0'));
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        assert_eq!(through_bash(&words), words);
        assert!(!canary.exists());
    }

    #[test]
    fn a_nul_byte_is_left_out_since_bash_has_no_word_for_it() {
        assert_eq!(through_bash(&["a\0b"]), ["ab"]);
    }

    #[test]
    fn readable_words_stay_bare_and_an_assignment_never_stands_bare_as_a_command() {
        assert_eq!(quote("/opt/em/em-agent"), "/opt/em/em-agent");
        assert_eq!(quote("--plan=/jobs/plan.json"), "--plan=/jobs/plan.json");
        assert_eq!(quote("LD_PRELOAD=x"), "'LD_PRELOAD=x'");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_strings_come_out_of_bash_as_they_went_in(words in prop::collection::vec("[^\0]{0,30}", 1..8)) {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            prop_assert_eq!(through_bash(&words), words);
        }
    }
}
