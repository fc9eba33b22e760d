//! The agent's stream: every record gets its number here and goes to the spool; the uplink sends from there.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use em_api::agent::{AgentPhase, Record, RecordBody};
use em_api::{Timestamp, TrialId};
use tokio::sync::watch;
use tracing::info;

use super::spool::{LineWriter, Spool, Written};

/// Cheap to clone; never blocks on the disk or the network.
#[derive(Clone, Debug)]
pub(crate) struct Recorder {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// Locked from numbering to queueing, so that numbers in the file rise.
    next_seq: Mutex<u64>,
    writer: LineWriter,
}

impl Recorder {
    pub(crate) fn start(spool: &Spool) -> io::Result<Self> {
        let writer = LineWriter::create(&spool.records_path())?;
        Ok(Self { inner: Arc::new(Inner { next_seq: Mutex::new(0), writer }) })
    }

    pub(crate) fn record(&self, body: RecordBody) {
        let mut next_seq = self.inner.next_seq.lock().unwrap_or_else(PoisonError::into_inner);
        let record = Record { seq: *next_seq, at: Timestamp::now(), body };
        let line = serde_json::to_string(&record).expect("records are plain data with text keys");
        *next_seq += 1;
        self.inner.writer.append(line);
    }

    /// A phase, here and in the agent's own log.
    pub(crate) fn phase(&self, phase: AgentPhase, message: &str, trial: Option<TrialId>, backend: Option<&str>) {
        info!(backend, trial = trial.map(tracing::field::display), "{}: {message}", phase.describe());
        self.record(RecordBody::Phase { phase, message: message.to_owned(), trial, backend: backend.map(str::to_owned) });
    }

    /// A line of a log: `stream` is `agent`, `service` or `load`.
    pub(crate) fn log(&self, stream: &str, trial: Option<TrialId>, backend: Option<&str>, line: String) {
        self.record(RecordBody::Log { stream: stream.to_owned(), trial, backend: backend.map(str::to_owned), line });
    }

    /// Something a person should know of, here and in the agent's own log.
    pub(crate) fn note(&self, trial: Option<TrialId>, backend: Option<&str>, line: &str) {
        info!(backend, trial = trial.map(tracing::field::display), "{line}");
        self.log("agent", trial, backend, line.to_owned());
    }

    /// Waits until all records so far are on the disk.
    pub(crate) async fn sync(&self) {
        self.inner.writer.sync().await;
    }

    pub(crate) fn written(&self) -> watch::Receiver<Written> {
        self.inner.writer.state()
    }
}

/// Three decimals: enough for people, and read back as written by every JSON parser.
pub(crate) fn rounded(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[tokio::test]
    async fn numbers_rise_by_one_whoever_records() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::create(folder.path().to_owned()).unwrap();
        let recorder = Recorder::start(&spool).unwrap();
        let threads: Vec<_> = (0..4)
            .map(|thread| {
                let recorder = recorder.clone();
                std::thread::spawn(move || (0..50).for_each(|n| recorder.log("agent", None, None, format!("{thread}/{n}"))))
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        recorder.sync().await;
        let text = std::fs::read_to_string(spool.records_path()).unwrap();
        let seqs: Vec<u64> = text.lines().map(|line| serde_json::from_str::<Record>(line).unwrap().seq).collect();
        assert_eq!(seqs, (0..200).collect::<Vec<_>>());
    }
}
