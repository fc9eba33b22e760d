//! What must not get lost lies in the spool folder before it is sent: `spool/e{epoch}/measurement-{trial}.json` (complete or
//! absent: written aside, synced, renamed) and `records.jsonl` (appended by one thread, so that a slow file system never
//! holds up measuring). The control plane reads the same files when nothing arrived.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc;

use em_api::TrialId;
use tokio::sync::{oneshot, watch};
use tracing::error;

/// The spool folder of one epoch.
#[derive(Clone, Debug)]
pub(crate) struct Spool {
    folder: PathBuf,
}

impl Spool {
    pub(crate) fn create(folder: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(&folder)?;
        Ok(Self { folder })
    }

    pub(crate) fn records_path(&self) -> PathBuf {
        self.folder.join("records.jsonl")
    }

    pub(crate) fn measurement_path(&self, trial: TrialId) -> PathBuf {
        self.folder.join(format!("measurement-{trial}.json"))
    }

    /// Once this returns, the measurement survives the node. Errors: the disk is full or gone.
    pub(crate) fn write_measurement(&self, trial: TrialId, json: &[u8]) -> io::Result<PathBuf> {
        let path = self.measurement_path(trial);
        let aside = self.folder.join(format!(".measurement-{trial}.part"));
        let mut file = File::create(&aside)?;
        file.write_all(json)?;
        file.sync_all()?;
        fs::rename(&aside, &path)?;
        sync_folder(&self.folder);
        Ok(path)
    }
}

/// Some network file systems refuse to sync a folder; the file itself is safe then.
fn sync_folder(folder: &Path) {
    if let Ok(folder) = File::open(folder) {
        let _ = folder.sync_all();
    }
}

enum Order {
    Append(String),
    /// Answered when everything before is on the disk.
    Sync(oneshot::Sender<()>),
}

/// Appends lines to a file in the order in which they were given.
#[derive(Debug)]
pub(crate) struct LineWriter {
    orders: mpsc::Sender<Order>,
    state: watch::Receiver<Written>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Written {
    /// Whole lines up to this offset are in the file.
    pub(crate) bytes: u64,
    /// Lines that could not be written.
    pub(crate) lost: u64,
}

impl LineWriter {
    /// Errors: the file is there already (another run writes to it) or cannot be made.
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create_new(true).open(path)?;
        let (orders, inbox) = mpsc::channel();
        let (report, state) = watch::channel(Written::default());
        let path = path.to_owned();
        std::thread::Builder::new().name("spool".to_owned()).spawn(move || write_lines(&path, file, &inbox, &report))?;
        Ok(Self { orders, state })
    }

    pub(crate) fn append(&self, line: String) {
        // The thread lives as long as this sender.
        let _ = self.orders.send(Order::Append(line));
    }

    pub(crate) async fn sync(&self) {
        let (done, wait) = oneshot::channel();
        if self.orders.send(Order::Sync(done)).is_ok() {
            let _ = wait.await;
        }
    }

    pub(crate) fn state(&self) -> watch::Receiver<Written> {
        self.state.clone()
    }
}

fn write_lines(path: &Path, mut file: File, inbox: &mpsc::Receiver<Order>, report: &watch::Sender<Written>) {
    let mut written = Written::default();
    while let Ok(order) = inbox.recv() {
        match order {
            Order::Append(mut line) => {
                line.push('\n');
                match append_whole(&mut file, line.as_bytes(), written.bytes) {
                    Ok(()) => written.bytes += line.len() as u64,
                    Err(problem) => {
                        if written.lost == 0 {
                            error!("records are lost: writing {} failed ({problem}); make room there", path.display());
                        }
                        written.lost += 1;
                    }
                }
                report.send_replace(written);
            }
            Order::Sync(done) => {
                let _ = file.sync_data();
                let _ = done.send(());
            }
        }
    }
}

/// All of the line or nothing of it: half a line would spoil the next.
fn append_whole(file: &mut File, line: &[u8], begin: u64) -> io::Result<()> {
    file.write_all(line).inspect_err(|_| {
        let _ = file.set_len(begin);
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_measurement_is_complete_under_its_name_and_leaves_nothing_aside() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::create(folder.path().join("e0")).unwrap();
        let trial = TrialId::generate();
        let path = spool.write_measurement(trial, b"{\"a\":1}").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"{\"a\":1}");
        let names: Vec<_> = fs::read_dir(folder.path().join("e0")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, [format!("measurement-{trial}.json").as_str()]);
    }

    #[tokio::test]
    async fn lines_arrive_in_order_and_their_offset_is_known() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("records.jsonl");
        let writer = LineWriter::create(&path).unwrap();
        for number in 0..100 {
            writer.append(number.to_string());
        }
        writer.sync().await;
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().map(|line| line.parse::<u32>().unwrap()).collect::<Vec<_>>(), (0..100).collect::<Vec<_>>());
        assert_eq!(*writer.state().borrow(), Written { bytes: text.len() as u64, lost: 0 });
    }

    #[test]
    fn a_second_writer_of_the_same_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("records.jsonl");
        let _first = LineWriter::create(&path).unwrap();
        assert_eq!(LineWriter::create(&path).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    }
}
