//! Texts of a parquet file: the values of one text column, page by page.
//!
//! The column is `passages.passage_text` (MS MARCO v1.1 and v2.1 as the Hugging Face hub has them: each row holds a list of passages),
//! else `text`, `passage`, `content` or `contents`, else the one that is named. Lists are taken apart, a null is an empty text. A
//! `title` beside a plain `text` goes before it, as in the JSON lines of BEIR.

use std::fs::File;
use std::path::Path;

use ::parquet::basic::Type as Physical;
use ::parquet::column::reader::{ColumnReader, get_typed_column_reader};
use ::parquet::data_type::{ByteArray, ByteArrayType};
use ::parquet::errors::ParquetError;
use ::parquet::file::reader::{FileReader, RowGroupReader, SerializedFileReader};
use ::parquet::schema::types::{ColumnDescriptor, SchemaDescriptor};

use super::DatasetError;
use super::line::{NOT_UTF8, titled};
use super::read::{MAX_TEXT_BYTES, TOO_LONG, Take};

const USUAL: [&str; 5] = ["passages.passage_text", "text", "passage", "content", "contents"];
const TITLE: &str = "title";
/// Rows that are read at a time.
const ROWS: usize = 1_024;

pub(super) fn texts(opened: File, file: &Path, column: Option<&str>, take: &mut Take<'_, '_>) -> Result<(), DatasetError> {
    let unreadable = |source| DatasetError::Parquet { path: file.to_owned(), source };
    let reader = SerializedFileReader::new(opened).map_err(unreadable)?;
    let schema = reader.metadata().file_metadata().schema_descr();
    let text = text_column(schema, column, file)?;
    let title = (column.is_none() && is_plain(schema, text)).then(|| plain_title(schema)).flatten();
    let mut row = 0;
    for group in 0..reader.num_row_groups() {
        let group = reader.get_row_group(group).map_err(unreadable)?;
        let mut texts = Values::of(&*group, schema, text).map_err(unreadable)?;
        let mut titles = title.map(|title| Values::of(&*group, schema, title)).transpose().map_err(unreadable)?;
        while !take.full() {
            let read = texts.next().map_err(unreadable)?;
            if let Some(titles) = &mut titles
                && titles.next().map_err(unreadable)? != read
            {
                return Err(unreadable(ParquetError::General(format!("{TITLE} and its text have different numbers of rows"))));
            }
            if read == 0 {
                break;
            }
            for (at, (begins, value)) in texts.values().enumerate() {
                if take.full() {
                    break;
                }
                row += u64::from(begins);
                let title = titles.as_ref().and_then(|titles| titles.at(at)).map_or(Ok(""), text_of);
                match title.and_then(|title| Ok((title, value.map_or(Ok(""), text_of)?))) {
                    Ok((title, text)) => take.text(&titled(title, text))?,
                    Err(why) => take.malformed(file, "row", row, why)?,
                }
            }
        }
    }
    Ok(())
}

fn text_of(value: &ByteArray) -> Result<&str, &'static str> {
    if value.len() > MAX_TEXT_BYTES { Err(TOO_LONG) } else { value.as_utf8().map_err(|_| NOT_UTF8) }
}

/// A batch of one column.
struct Values {
    reader: ::parquet::column::reader::ColumnReaderImpl<ByteArrayType>,
    /// The definition level of a value that is there.
    there: i16,
    definitions: Vec<i16>,
    repetitions: Vec<i16>,
    found: Vec<ByteArray>,
    /// For each level, where its value is in `found`.
    places: Vec<Option<usize>>,
}

impl Values {
    fn of(group: &dyn RowGroupReader, schema: &SchemaDescriptor, column: usize) -> Result<Self, ParquetError> {
        let reader: ColumnReader = group.get_column_reader(column)?;
        let there = schema.column(column).max_def_level();
        let (definitions, repetitions, found, places) = Default::default();
        Ok(Self { reader: get_typed_column_reader(reader), there, definitions, repetitions, found, places })
    }

    /// Reads the next rows; returns how many, 0 at the end.
    fn next(&mut self) -> Result<usize, ParquetError> {
        self.definitions.clear();
        self.repetitions.clear();
        self.found.clear();
        let (definitions, repetitions) = (&mut self.definitions, &mut self.repetitions);
        let (rows, _, levels) = self.reader.read_records(ROWS, Some(definitions), Some(repetitions), &mut self.found)?;
        let mut found = 0;
        let there = |level: usize| self.there == 0 || self.definitions[level] == self.there;
        self.places = (0..levels)
            .map(|level| {
                there(level).then(|| {
                    found += 1;
                    found - 1
                })
            })
            .collect();
        Ok(rows)
    }

    /// Whether a row begins with it, and the value, or none for null.
    fn values(&self) -> impl Iterator<Item = (bool, Option<&ByteArray>)> {
        let begins = |level: usize| self.repetitions.get(level).is_none_or(|&repetition| repetition == 0);
        (0..self.places.len()).map(move |level| (begins(level), self.at(level)))
    }

    fn at(&self, level: usize) -> Option<&ByteArray> {
        self.places.get(level).copied().flatten().and_then(|place| self.found.get(place))
    }
}

fn text_column(schema: &SchemaDescriptor, asked: Option<&str>, file: &Path) -> Result<usize, DatasetError> {
    let leaves = schema.columns();
    let below = |name: &str| -> Vec<usize> {
        let inside = format!("{name}.");
        let is = |path: String| path == name || path.starts_with(&inside);
        (0..leaves.len()).filter(|&leaf| is(leaves[leaf].path().string())).collect()
    };
    let looked_for = asked.map_or_else(|| USUAL.to_vec(), |name| vec![name]);
    let found = looked_for.iter().map(|&name| (name, below(name))).find(|(_, leaves)| !leaves.is_empty());
    let names = |of: &[usize]| of.iter().map(|&leaf| leaves[leaf].path().string()).collect::<Vec<_>>().join(", ");
    let Some((name, below)) = found else {
        let wanted = looked_for.join(", ");
        return Err(DatasetError::NoColumn { path: file.to_owned(), wanted, found: names(&Vec::from_iter(0..leaves.len())) });
    };
    let texts: Vec<usize> = below.iter().copied().filter(|&leaf| leaves[leaf].physical_type() == Physical::BYTE_ARRAY).collect();
    match texts[..] {
        [only] => Ok(only),
        [] => Err(DatasetError::ColumnType { path: file.to_owned(), column: name.to_owned(), found: types(&below, leaves) }),
        _ => Err(DatasetError::SeveralColumns { path: file.to_owned(), column: name.to_owned(), found: names(&texts) }),
    }
}

fn types(below: &[usize], leaves: &[::parquet::schema::types::ColumnDescPtr]) -> String {
    let mut types: Vec<String> = below.iter().map(|&leaf| leaves[leaf].physical_type().to_string()).collect();
    types.dedup();
    types.join(" and ")
}

/// One value a row.
fn is_plain(schema: &SchemaDescriptor, leaf: usize) -> bool {
    schema.column(leaf).max_rep_level() == 0
}

fn plain_title(schema: &SchemaDescriptor) -> Option<usize> {
    let title = |leaf: &ColumnDescriptor| leaf.path().string() == TITLE && leaf.physical_type() == Physical::BYTE_ARRAY;
    (0..schema.num_columns()).find(|&leaf| title(&schema.column(leaf)) && is_plain(schema, leaf))
}
