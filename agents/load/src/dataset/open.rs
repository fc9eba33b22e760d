//! Opens a file of a data set: unpacks it by what its first bytes say, and tells lines from parquet.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use em_api::spec::DatasetSource;
use flate2::bufread::MultiGzDecoder;

use super::line::Format;
use super::{DatasetError, find};

const BUFFER: usize = 1 << 18;
const GZIP: &[u8] = &[0x1f, 0x8b];
/// Of a frame, RFC 8878.
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
const PARQUET: &[u8] = b"PAR1";
const FOREIGN: [(&[u8], &str); 3] = [(b"BZh", "bzip2"), (b"\xfd7zXZ\0", "xz"), (b"PK\x03\x04", "zip")];

pub(super) enum Opened {
    Lines(Format, Box<dyn BufRead>),
    Parquet(File),
}

pub(super) fn open(source: DatasetSource, path: &Path) -> Result<Opened, DatasetError> {
    let unreadable = |source| DatasetError::Open { path: path.to_owned(), source };
    let file = File::open(path).map_err(unreadable)?;
    let mut packed = BufReader::with_capacity(BUFFER, file.try_clone().map_err(unreadable)?);
    let first = packed.fill_buf().map_err(|source| DatasetError::reading(path, source))?;
    let begins = |with: &[u8]| first.starts_with(with);
    if let Some((_, how)) = FOREIGN.iter().find(|(magic, _)| begins(magic)) {
        return Err(DatasetError::Compressed { path: path.to_owned(), how });
    }
    if begins(PARQUET) {
        return match source {
            DatasetSource::Parquet | DatasetSource::Msmarco => Ok(Opened::Parquet(file)),
            _ => Err(DatasetError::IsParquet { path: path.to_owned(), source_name: source.as_str() }),
        };
    }
    let name = find::unpacked_name(path);
    let named = source == DatasetSource::Parquet || (source == DatasetSource::Msmarco && name.ends_with(".parquet"));
    if named && name != find::PREPARED {
        // The reader of parquet says what is wrong with it.
        return Ok(Opened::Parquet(file));
    }
    let mut lines: Box<dyn BufRead> = if begins(GZIP) {
        Box::new(BufReader::with_capacity(BUFFER, MultiGzDecoder::new(packed)))
    } else if begins(ZSTD) {
        let decoder = zstd::Decoder::with_buffer(packed).map_err(|source| DatasetError::reading(path, source))?;
        Box::new(BufReader::with_capacity(BUFFER, decoder))
    } else if path.extension().is_some_and(|extension| extension == "gz" || extension == "zst") {
        return Err(DatasetError::NotCompressed { path: path.to_owned() });
    } else {
        Box::new(packed)
    };
    let format = match source {
        _ if name == find::PREPARED => Format::Json,
        DatasetSource::Wordnet | DatasetSource::Text => Format::Plain,
        DatasetSource::Tsv => Format::Tab { numbered: false },
        DatasetSource::Jsonl | DatasetSource::Parquet => Format::Json,
        DatasetSource::Msmarco => {
            let first = lines.fill_buf().map_err(|source| DatasetError::reading(path, source))?;
            let letter = first.iter().find(|letter| !letter.is_ascii_whitespace());
            if letter == Some(&b'{') { Format::Json } else { Format::Tab { numbered: true } }
        }
    };
    Ok(Opened::Lines(format, lines))
}
