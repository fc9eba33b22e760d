//! Hands the texts of a data set to whoever wants them, one after the other: what is in memory is a line, or a page of a column.

use std::io::BufRead;
use std::path::Path;

use em_api::spec::DatasetSource;

use super::line::{self, Format};
use super::open::{Opened, open};
use super::{DatasetError, Malformed, Tally, find, parquet};

/// A longer text is malformed: none of a benchmark has a megabyte, and a binary file shall not fill the memory.
pub(super) const MAX_TEXT_BYTES: usize = 1 << 20;
pub(super) const TOO_LONG: &str = "longer than 1 MiB";
/// So many more malformed lines than texts, and it is another format: the rest need not be read.
const HOPELESS: u64 = 1_000;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Gets each text, and the counts so far.
pub(super) type Taker<'a> = dyn FnMut(&str, &Tally) -> Result<(), DatasetError> + 'a;

/// The first `limit` texts, in the order of the files. Errors: unreadable, empty, or more malformed lines than texts (then it is
/// another format); and those of `taker`. `column`: of parquet files, in place of the usual ones.
pub(super) fn each_text(
    source: DatasetSource,
    path: &Path,
    column: Option<&str>,
    limit: u64,
    taker: &mut Taker<'_>,
) -> Result<Tally, DatasetError> {
    let mut take = Take { source, path, limit, tally: Tally::default(), taker };
    for file in find::files(source, path)? {
        if take.full() {
            break;
        }
        match open(source, &file)? {
            Opened::Lines(..) if column.is_some() => return Err(DatasetError::NoColumns { path: file }),
            Opened::Lines(format, reader) => lines(format, reader, &file, &mut take)?,
            Opened::Parquet(opened) => parquet::texts(opened, &file, column, &mut take)?,
        }
    }
    let tally = take.tally;
    if tally.malformed > tally.kept {
        return Err(another_format(source, path, &tally));
    }
    if tally.kept == 0 { Err(DatasetError::Empty { path: path.to_owned() }) } else { Ok(tally) }
}

/// Counts and hands on.
pub(super) struct Take<'a, 'b> {
    source: DatasetSource,
    path: &'a Path,
    limit: u64,
    tally: Tally,
    taker: &'a mut Taker<'b>,
}

impl Take<'_, '_> {
    pub(super) fn full(&self) -> bool {
        self.tally.kept >= self.limit
    }

    pub(super) fn text(&mut self, text: &str) -> Result<(), DatasetError> {
        self.tally.read += 1;
        if text.is_empty() {
            self.tally.empty += 1;
            return Ok(());
        }
        self.tally.kept += 1;
        (self.taker)(text, &self.tally)
    }

    pub(super) fn malformed(
        &mut self,
        file: &Path,
        unit: &'static str,
        number: u64,
        why: &'static str,
    ) -> Result<(), DatasetError> {
        let name = || file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        self.tally.malformed(|| Malformed { file: name(), unit, number, why });
        if self.tally.malformed > self.tally.kept + HOPELESS {
            return Err(another_format(self.source, self.path, &self.tally));
        }
        Ok(())
    }
}

fn another_format(source: DatasetSource, path: &Path, tally: &Tally) -> DatasetError {
    DatasetError::WrongFormat {
        path: path.to_owned(),
        source_name: source.as_str(),
        malformed: tally.malformed,
        read: tally.read,
        first: tally.first_malformed.first().map(ToString::to_string).unwrap_or_default(),
        kept: tally.kept,
    }
}

fn lines(format: Format, mut reader: impl BufRead, file: &Path, take: &mut Take<'_, '_>) -> Result<(), DatasetError> {
    let mut buffer = Vec::new();
    let mut number = 0;
    while !take.full() {
        let read = read_line(&mut reader, &mut buffer).map_err(|source| DatasetError::reading(file, source))?;
        if read == 0 {
            break;
        }
        number += 1;
        let line = if number == 1 { buffer.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&buffer) } else { &buffer };
        match if read > MAX_TEXT_BYTES { Err(TOO_LONG) } else { line::text_of(format, line) } {
            Ok(text) => take.text(&text)?,
            Err(why) => take.malformed(file, "line", number, why)?,
        }
    }
    Ok(())
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
        if line.len() <= MAX_TEXT_BYTES {
            line.extend_from_slice(&available[..taken]);
        }
        reader.consume(taken);
        total += taken;
        if end.is_some() {
            return Ok(total);
        }
    }
}
