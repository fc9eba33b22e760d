//! Reads the next records to send from the spool's file: the file is the queue, so a server that is away for hours costs no
//! memory.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use em_api::agent::Record;
use tracing::error;

const MAX_RECORDS: usize = 500;
const MAX_BYTES: u64 = 512 * 1024;

#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) records: Vec<Record>,
    /// Offset after the last of them.
    pub(crate) end: u64,
}

/// Records between the offsets `from` and `to` (whole lines), as many as go into one post, at least one where there is one.
pub(crate) async fn read(path: PathBuf, from: u64, to: u64) -> Batch {
    if from >= to {
        return Batch { records: Vec::new(), end: from };
    }
    let read = tokio::task::spawn_blocking(move || read_now(&path, from, to).map_err(|problem| (path, problem))).await;
    match read {
        Ok(Ok(batch)) => batch,
        Ok(Err((path, problem))) => {
            error!("{} cannot be read back ({problem}); trying again", path.display());
            Batch { records: Vec::new(), end: from }
        }
        Err(panic) => {
            error!("reading records back: {panic}");
            Batch { records: Vec::new(), end: from }
        }
    }
}

fn read_now(path: &Path, from: u64, to: u64) -> io::Result<Batch> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(from))?;
    let mut reader = BufReader::with_capacity(64 * 1024, file);
    let mut batch = Batch { records: Vec::new(), end: from };
    let mut line = String::new();
    while batch.end < to && batch.records.len() < MAX_RECORDS && batch.end - from < MAX_BYTES {
        line.clear();
        let bytes = reader.read_line(&mut line)? as u64;
        if bytes == 0 {
            break;
        }
        match serde_json::from_str(&line) {
            Ok(record) => batch.records.push(record),
            Err(problem) => error!("a line of {} is no record ({problem}) and is skipped", path.display()),
        }
        batch.end += bytes;
    }
    Ok(batch)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use em_api::Timestamp;
    use em_api::agent::RecordBody;

    use super::*;

    fn line(seq: u64, length: usize) -> String {
        let body = RecordBody::Farewell { message: "x".repeat(length) };
        serde_json::to_string(&Record { seq, at: Timestamp::UNIX_EPOCH, body }).unwrap() + "\n"
    }

    async fn seqs(text: &str) -> Vec<Vec<u64>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("records.jsonl");
        std::fs::write(&path, text).unwrap();
        let (mut from, mut batches) = (0, Vec::new());
        while from < text.len() as u64 {
            let batch = read(path.clone(), from, text.len() as u64).await;
            assert!(batch.end > from);
            from = batch.end;
            batches.push(batch.records.iter().map(|record| record.seq).collect());
        }
        batches
    }

    #[tokio::test]
    async fn batches_are_bounded_in_number_and_cover_everything_once() {
        let text: String = (0..1200).map(|seq| line(seq, 1)).collect();
        let batches = seqs(&text).await;
        assert_eq!(batches.iter().map(Vec::len).collect::<Vec<_>>(), [500, 500, 200]);
        assert_eq!(batches.concat(), (0..1200).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn batches_are_bounded_in_bytes_and_a_large_record_goes_alone() {
        let large = usize::try_from(MAX_BYTES).unwrap() + 1;
        let text = line(0, large) + &line(1, 1) + &line(2, large) + &line(3, 1);
        assert_eq!(seqs(&text).await, [vec![0], vec![1, 2], vec![3]]);
    }
}
