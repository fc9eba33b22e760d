//! Reads the lines of a data set into one string and a list of ends: 500,000 passages take little more than their file.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use em_api::spec::DatasetSource;

use super::{DatasetError, line};

/// Valid texts in the order of the file.
#[derive(Default)]
pub(super) struct Lines {
    pub(super) bytes: String,
    /// End of each text in `bytes`.
    pub(super) ends: Vec<u64>,
    /// Words (separated by white space) of each text.
    pub(super) words: Vec<u32>,
    pub(super) malformed: u64,
}

/// A longer line is malformed: no text of a benchmark has a megabyte, and a binary file shall not fill the memory.
const MAX_LINE_BYTES: usize = 1 << 20;

/// Errors: unreadable, empty, or more malformed lines than texts (then it is another format).
pub(super) fn texts(source: DatasetSource, path: &Path, limit: u64) -> Result<Lines, DatasetError> {
    let file = File::open(path).map_err(|source| DatasetError::Open { path: path.to_owned(), source })?;
    let mut reader = BufReader::with_capacity(1 << 18, file);
    let mut lines = Lines::default();
    let mut buffer = Vec::new();
    let mut number = 0;
    let mut first_fault = None;
    while (lines.ends.len() as u64) < limit {
        let read = read_line(&mut reader, &mut buffer).map_err(|source| DatasetError::Read { path: path.to_owned(), source })?;
        if read == 0 {
            break;
        }
        number += 1;
        let text = if read > MAX_LINE_BYTES { Err("longer than 1 MiB") } else { line::text_of(source, &buffer) };
        match text {
            Ok(text) => {
                lines.bytes.push_str(&text);
                lines.ends.push(lines.bytes.len() as u64);
                lines.words.push(u32::try_from(text.split_whitespace().count()).unwrap_or(u32::MAX));
            }
            Err(why) => {
                lines.malformed += 1;
                first_fault.get_or_insert((number, why));
            }
        }
    }
    let texts = lines.ends.len() as u64;
    if let Some((first, why)) = first_fault {
        if lines.malformed > texts {
            let (path, malformed) = (path.to_owned(), lines.malformed);
            return Err(DatasetError::WrongFormat { path, source_name: source.as_str(), malformed, lines: number, first, why });
        }
        tracing::warn!(
            malformed = lines.malformed,
            "{} malformed lines left out, the first is line {first}: {why}",
            lines.malformed
        );
    }
    if texts == 0 {
        return Err(DatasetError::Empty { path: path.to_owned() });
    }
    lines.bytes.shrink_to_fit();
    Ok(lines)
}

/// Bytes of the next line with its end, 0 at the end of the file. Of a line that is too long only the beginning is kept.
fn read_line(reader: &mut impl BufRead, line: &mut Vec<u8>) -> std::io::Result<usize> {
    line.clear();
    let mut total = 0;
    loop {
        let available = reader.fill_buf()?;
        if available.is_empty() {
            return Ok(total);
        }
        let end = available.iter().position(|&byte| byte == b'\n');
        let taken = end.map_or(available.len(), |at| at + 1);
        if line.len() <= MAX_LINE_BYTES {
            line.extend_from_slice(&available[..taken]);
        }
        reader.consume(taken);
        total += taken;
        if end.is_some() {
            return Ok(total);
        }
    }
}
