//! Strings that become code, options or other words wherever quoting has a hole. The one corpus of all tests on that matter, of
//! this crate and of others. A string that is executed anywhere makes the canary file.

/// `canary`: absolute path of a file that must never come to be.
pub(crate) fn hostile(canary: &str) -> Vec<String> {
    let mut strings: Vec<String> = HOSTILE.iter().map(|text| text.replace("CANARY", canary)).collect();
    strings.push("long ".repeat(300) + "$(touch " + canary + ")");
    strings.push("a".repeat(5_000));
    strings.push("'\"".repeat(400));
    strings.push("\\".repeat(401));
    strings.push("$(".repeat(300));
    strings
}

const HOSTILE: [&str; 84] = [
    // Substitution, in every quoting.
    "$(touch CANARY)",
    "`touch CANARY`",
    "\"$(touch CANARY)\"",
    "'$(touch CANARY)'",
    "'\"'\"'$(touch CANARY)'\"'\"'",
    "'; touch CANARY; '",
    "\"; touch CANARY; \"",
    "'\\''; touch CANARY; '",
    "$'\\x27; touch CANARY; \\x27'",
    "\\$(touch CANARY)",
    "\\\\$(touch CANARY)",
    "${IFS}touch${IFS}CANARY",
    "a$IFS`touch$IFS''CANARY`",
    "<(touch CANARY)",
    "x[$(touch CANARY)]",
    "$((a[$(touch CANARY)]))",
    "${x:-$(touch CANARY)}",
    "() { :; }; touch CANARY",
    // Ends of commands, pipes, redirections, here-documents.
    ";touch CANARY",
    "a; touch CANARY #",
    "&& touch CANARY",
    "|| touch CANARY",
    "| touch CANARY",
    "& touch CANARY &",
    "> CANARY",
    "a >> CANARY",
    "2>CANARY",
    "<<EOF\ntouch CANARY\nEOF",
    "<<< a > CANARY",
    "(touch CANARY)",
    "{ touch CANARY; }",
    "EOF",
    "exit 0",
    // Line ends and what looks like the script's own lines.
    "a\ntouch CANARY",
    "\ntouch CANARY\n",
    "a\r\ntouch CANARY\r\n",
    "a\rtouch CANARY",
    "a\n#SBATCH --wrap=true\n",
    "a\n#SBATCH --output=CANARY",
    "#SBATCH --output=CANARY",
    "x #SBATCH --output=CANARY",
    "# a comment",
    "a#b",
    "a\u{b}b\u{c}c",
    "a\u{85}touch CANARY",
    "a\u{2028}touch CANARY",
    "a\u{2029}touch CANARY",
    "a\0touch CANARY",
    "\0",
    "bell\u{7} escape\u{1b}]0;title\u{7} delete\u{7f}",
    // Words of sbatch's own.
    "--output=CANARY",
    "-o CANARY",
    "a --output=CANARY",
    "a\" --output=CANARY \"",
    "a' --output=CANARY '",
    "a\\ --output=CANARY",
    "a\\\" --output=CANARY",
    "a\\",
    "a \\",
    "\\",
    "\\\\",
    "\"",
    "'",
    "\"unmatched",
    "hetjob",
    ": --output=CANARY",
    "%j",
    "%A_%a %u %x %% %",
    "x,y",
    "-",
    "--",
    // What a shell expands without any sign of a command.
    "*",
    "?[a-z]*",
    "~",
    "~root/x",
    "{a,b}",
    "!!",
    "!-1:p ^a^b",
    "$HOME $0 $$ $? $! $- $@",
    // Text that is merely unusual.
    " leading and trailing ",
    "tab\there",
    "\u{feff}byte order mark",
    "\u{202e}gpj.exe\u{202c} \u{200b}zero width",
    "é ü 漢字 🙂 n\u{303}",
];

#[test]
fn the_corpus_is_as_wide_as_promised() {
    let strings = hostile("/canary");
    let distinct: std::collections::BTreeSet<&String> = strings.iter().collect();
    assert!(distinct.len() == strings.len() && strings.len() >= 60);
    for class in
        ["\n", "\r", "\0", "`", "$(", "'", "\"", "\\", "*", "~", "!", "\u{2028}", "\u{85}", "\u{202e}", "\u{feff}", "%j", "{a,b}"]
    {
        assert!(strings.iter().any(|text| text.contains(class)), "{class:?}");
    }
}
