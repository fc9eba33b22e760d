//! Every request of a trial as a row of a Parquet file, for whoever wants to compute the numbers again.
//!
//! Times are microseconds: `planned_us`, `sent_us` and `ended_us` after the begin of the window (negative in the warm-up), `latency_us`,
//! `service_us` and `slip_us` as they go into the histograms. `outcome` is one of the report's counts, with `http_status` the code in
//! `status`. The report is made of the rows with `in_window`: texts/s are their `texts` where `outcome` is `ok`, percentiles
//! those of `latency_us` where it is `ok` or `late`. A closed loop's `late` rows lie outside of the window.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::basic::Compression;
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, Int32Type, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;

use crate::LoadError;

const SCHEMA: &str = "message requests {
    required int64 number; required int64 planned_us; required int64 sent_us; required int64 ended_us;
    required int64 latency_us; required int64 service_us; required int64 slip_us;
    required int32 texts; required int64 bytes; required byte_array outcome (utf8); optional int32 status; required boolean in_window;
}";

/// Rows that are kept in memory.
const GROUP: usize = 64 * 1024;

pub(crate) struct Row {
    pub(crate) number: u64,
    pub(crate) planned_us: i64,
    pub(crate) sent_us: i64,
    pub(crate) ended_us: i64,
    pub(crate) latency_us: u64,
    pub(crate) service_us: u64,
    pub(crate) slip_us: u64,
    pub(crate) texts: u32,
    pub(crate) bytes: u64,
    pub(crate) outcome: &'static str,
    pub(crate) status: Option<u16>,
    pub(crate) in_window: bool,
}

pub(crate) struct Requests {
    path: PathBuf,
    /// Gone after the first error, which is kept for the end.
    writer: Option<SerializedFileWriter<File>>,
    rows: Vec<Row>,
    problem: Option<ParquetError>,
}

impl Requests {
    pub(crate) fn create(path: &Path) -> Result<Self, LoadError> {
        let begin = || -> Result<SerializedFileWriter<File>, ParquetError> {
            let schema = Arc::new(parse_message_type(SCHEMA)?);
            let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
            SerializedFileWriter::new(File::create(path)?, schema, Arc::new(properties))
        };
        let writer = begin().map_err(|source| LoadError::Requests { path: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned(), writer: Some(writer), rows: Vec::new(), problem: None })
    }

    pub(crate) fn push(&mut self, row: Row) {
        self.rows.push(row);
        if self.rows.len() >= GROUP {
            self.flush();
        }
    }

    /// Errors: the first one that occurred; the file is no good then.
    pub(crate) fn finish(mut self) -> Result<(), LoadError> {
        self.flush();
        let closed = self.writer.take().map(SerializedFileWriter::close);
        match (self.problem, closed) {
            (None, Some(Ok(_))) => Ok(()),
            (Some(source), _) | (None, Some(Err(source))) => Err(LoadError::Requests { path: self.path, source }),
            (None, None) => Ok(()),
        }
    }

    fn flush(&mut self) {
        let rows = std::mem::take(&mut self.rows);
        let Some(writer) = &mut self.writer else { return };
        if let Err(problem) = write(writer, &rows) {
            self.problem = Some(problem);
            self.writer = None;
        }
    }
}

fn write(writer: &mut SerializedFileWriter<File>, rows: &[Row]) -> Result<(), ParquetError> {
    if rows.is_empty() {
        return Ok(());
    }
    let mut group = writer.next_row_group()?;
    let longs: [fn(&Row) -> i64; 7] = [
        |row| row.number as i64,
        |row| row.planned_us,
        |row| row.sent_us,
        |row| row.ended_us,
        |row| row.latency_us as i64,
        |row| row.service_us as i64,
        |row| row.slip_us as i64,
    ];
    for column in longs {
        let values: Vec<i64> = rows.iter().map(column).collect();
        next::<Int64Type>(&mut group, &values, None)?;
    }
    let texts: Vec<i32> = rows.iter().map(|row| row.texts as i32).collect();
    next::<Int32Type>(&mut group, &texts, None)?;
    let bytes: Vec<i64> = rows.iter().map(|row| row.bytes as i64).collect();
    next::<Int64Type>(&mut group, &bytes, None)?;
    let outcomes: Vec<ByteArray> = rows.iter().map(|row| row.outcome.into()).collect();
    next::<ByteArrayType>(&mut group, &outcomes, None)?;
    let statuses: Vec<i32> = rows.iter().filter_map(|row| row.status.map(i32::from)).collect();
    let there: Vec<i16> = rows.iter().map(|row| i16::from(row.status.is_some())).collect();
    next::<Int32Type>(&mut group, &statuses, Some(&there))?;
    let in_window: Vec<bool> = rows.iter().map(|row| row.in_window).collect();
    next::<BoolType>(&mut group, &in_window, None)?;
    group.close()?;
    Ok(())
}

/// Writes the next column of the schema.
fn next<T: parquet::data_type::DataType>(
    group: &mut SerializedRowGroupWriter<'_, File>,
    values: &[T::T],
    there: Option<&[i16]>,
) -> Result<(), ParquetError> {
    let mut column = group.next_column()?.ok_or_else(|| ParquetError::General("a column too many".to_owned()))?;
    column.typed::<T>().write_batch(values, there, None)?;
    column.close()
}
