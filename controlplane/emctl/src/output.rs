//! Writing to the terminal or a pipe. A reader that goes away (`emctl get | head -1`) is no error of ours.

use std::io::{self, ErrorKind, Write};

use serde::Serialize;

use crate::cli::Format;
use crate::failure::Failure;

/// To standard output; a missing line end is added.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let end = if text.ends_with('\n') || text.is_empty() { "" } else { "\n" };
    match out.write_all(text.as_bytes()).and_then(|()| out.write_all(end.as_bytes())).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
        other => other.map_err(|source| Failure::Io { doing: "writing the output".to_owned(), source }),
    }
}

/// To standard error, beside the output: notes, warnings, errors.
pub(crate) fn complain(lines: &[String]) {
    let mut err = io::stderr().lock();
    for line in lines {
        // Nowhere left to tell.
        let _ = writeln!(err, "{line}");
    }
}

pub(crate) fn note(line: &str) {
    complain(&[line.to_owned()]);
}

/// A value in the format asked for; `table` and `name` make their text.
pub(crate) fn show<T: Serialize>(
    value: &T,
    format: Format,
    table: impl FnOnce(&T) -> String,
    name: impl FnOnce(&T) -> String,
) -> Result<(), Failure> {
    match format {
        Format::Table => print(&table(value)),
        Format::Name => print(&name(value)),
        Format::Json => print(&json(value)),
        Format::Yaml => print(&yaml(value)),
    }
}

pub(crate) fn json<T: Serialize>(value: &T) -> String {
    serde_json::to_string_pretty(value).unwrap_or_else(|error| format!("cannot be shown as JSON: {error}"))
}

pub(crate) fn yaml<T: Serialize>(value: &T) -> String {
    serde_saphyr::to_string(value).unwrap_or_else(|error| format!("cannot be shown as YAML: {error}"))
}
