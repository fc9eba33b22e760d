//! The end of a service's log, as people want to read it.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// The last whole lines of a file that fit into `limit` bytes. A progress bar counts as its last state. Empty: no such file.
pub(super) fn tail(path: &Path, limit: usize) -> String {
    let Ok(bytes) = last_bytes(path, limit as u64) else { return String::new() };
    let whole = bytes.len() < limit;
    let text = String::from_utf8_lossy(&bytes);
    // The first line is cut, unless the file is short.
    let text = if whole { &text } else { text.split_once('\n').map_or(&*text, |(_, rest)| rest) };
    let lines: Vec<&str> = text.lines().map(|line| line.trim_end_matches('\r').rsplit('\r').next().unwrap_or(line)).collect();
    let mut shown = lines.join("\n");
    // A broken character became three bytes.
    while shown.len() > limit {
        shown = shown.split_once('\n').map_or_else(String::new, |(_, rest)| rest.to_owned());
    }
    shown
}

/// Python's, uvicorn's and Rust's words for EADDRINUSE.
pub(super) fn says_address_in_use(tail: &str) -> bool {
    ["address already in use", "Address already in use", "EADDRINUSE"].iter().any(|words| tail.contains(words))
}

fn last_bytes(path: &Path, limit: u64) -> std::io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(limit)))?;
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tail_begins_with_a_whole_line_and_keeps_the_last_state_of_a_progress_bar() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("log");
        std::fs::write(&path, format!("{}\nLoading: 0%\rLoading: 100%\nready\n", "ä".repeat(50))).expect("write");
        assert_eq!(tail(&path, 60), "Loading: 100%\nready");
        assert!(tail(&path, 1000).starts_with("ää"));
    }

    #[test]
    fn a_tail_never_exceeds_its_limit() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("log");
        std::fs::write(&path, vec![0xff; 5000]).expect("write");
        assert!(tail(&path, 100).len() <= 100);
        assert_eq!(tail(&folder.path().join("none"), 100), "");
    }
}
