//! Small files that are there whole or not at all, and stay after a power failure.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Writes `dir/name` (0600), durably.
pub(super) fn write(dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let part = dir.join(format!("{name}.part"));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&part, dir.join(name))?;
    sync_dir(dir)
}

pub(super) fn write_json(dir: &Path, name: &str, value: &impl Serialize) -> io::Result<()> {
    write(dir, name, &serde_json::to_vec_pretty(value)?)
}

/// `None`: no such file.
pub(super) fn read_text(path: &Path) -> io::Result<Option<String>> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io::Error::new(error.kind(), format!("reading {}: {error}", path.display()))),
    }
}

/// `None`: no such file.
pub(super) fn read_json<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    let read = |text: String| serde_json::from_str(&text);
    read_text(path)?.map(read).transpose().map_err(|error| unreadable(path, &error.to_string()))
}

pub(super) fn unreadable(path: &Path, detail: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{} is not readable: {detail}", path.display()))
}

/// What was created, renamed or removed in it stays so.
pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// For its owner only, like everything below it.
pub(super) fn make_dir(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// An exclusive lock of flock(2), which ends with the last process that holds the open file, however it ends.
pub(super) fn lock(path: &Path, patience: Duration) -> io::Result<File> {
    let end = Instant::now() + patience;
    loop {
        if let Some(file) = try_lock(path)? {
            return Ok(file);
        }
        if Instant::now() >= end {
            let text = format!("another process has held {} for {} s", path.display(), patience.as_secs());
            return Err(io::Error::new(io::ErrorKind::WouldBlock, text));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// `None`: another open file holds it.
pub(super) fn try_lock(path: &Path) -> io::Result<Option<File>> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
