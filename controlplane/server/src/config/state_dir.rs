//! The state directory: on a local disk, for its owner only, used by one server at a time.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock, statfs};
use serde::{Deserialize, Serialize};

/// Held for as long as the server runs; the lock goes with the process, however it ends.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    _lock: File,
}

#[derive(Debug, thiserror::Error)]
pub enum StateDirError {
    #[error("using the state directory {}", path.display())]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(
        "another em-controlplane (process {pid}) uses the state directory {}. Stop it, or give this one another --state-dir",
        path.display()
    )]
    Locked { path: PathBuf, pid: String },
    #[error(
        "the state directory {} is on a network file system ({kind}), where databases lose writes. Put it on a local disk with \
         --state-dir; only --job-dir has to be shared",
        path.display()
    )]
    Network { path: PathBuf, kind: &'static str },
}

/// What `emctl` reads to find the server.
#[derive(Debug, Serialize, Deserialize)]
pub struct ServerFile {
    pub url: String,
    pub token_file: String,
    pub pid: u32,
    /// The database's own name: another one under this directory would leave the jobs of the first to themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server8: Option<String>,
}

pub const ADMIN_TOKEN: &str = "admin-token";
pub const SCRAPER_TOKEN: &str = "scraper-token";
pub const HINT_TOKEN: &str = "hint-token";
pub const SERVER_FILE: &str = "server.json";

impl StateDir {
    /// Makes the directory where it is missing (0700) and locks it.
    pub fn open(path: &Path) -> Result<Self, StateDirError> {
        let fail = |source| StateDirError::Io { path: path.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(fail)?;
        if let Some(kind) = network_file_system(path) {
            return Err(StateDirError::Network { path: path.to_owned(), kind });
        }
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700)).map_err(fail)?;
        let lock = path.join("lock");
        let mut lock =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(lock).map_err(fail)?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            let mut pid = String::new();
            // A lock file without a number is one whose owner is just starting.
            let _ = lock.read_to_string(&mut pid);
            return Err(StateDirError::Locked { path: path.to_owned(), pid: pid.trim().to_owned() });
        }
        lock.set_len(0).and_then(|()| lock.rewind()).map_err(fail)?;
        writeln!(lock, "{}", std::process::id()).map_err(fail)?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The text of a secret file, when it exists.
    pub fn secret(&self, name: &str) -> Result<Option<String>, StateDirError> {
        match std::fs::read_to_string(self.path.join(name)) {
            Ok(text) => Ok(Some(text.trim().to_owned()).filter(|text| !text.is_empty())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(StateDirError::Io { path: self.path.join(name), source }),
        }
    }

    /// Writes a file (0600), whole or not at all.
    pub fn write(&self, name: &str, text: &str) -> Result<(), StateDirError> {
        let path = self.path.join(name);
        let fail = |source| StateDirError::Io { path: path.clone(), source };
        let part = self.path.join(format!("{name}.part"));
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part).map_err(fail)?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(fail)?;
        std::fs::rename(&part, &path).map_err(fail)
    }

    /// What the last start announced.
    pub fn last(&self) -> Option<ServerFile> {
        let text = std::fs::read_to_string(self.path.join(SERVER_FILE)).ok()?;
        serde_json::from_str(&text).ok()
    }

    /// The port of the last start.
    pub fn last_port(&self) -> Option<u16> {
        self.last()?.url.parse::<url::Url>().ok()?.port()
    }
}

/// Magic numbers of statfs(2).
pub(crate) fn network_file_system(path: &Path) -> Option<&'static str> {
    let kind = statfs(path).ok()?.f_type as u32;
    [
        (0x6969, "NFS"),
        (0x517b, "SMB"),
        (0xff53_4d42, "CIFS"),
        (0xfe53_4d42, "SMB2"),
        (0x0bd0_0bd0, "Lustre"),
        (0x4750_4653, "GPFS"),
        (0x1983_0326, "BeeGFS"),
        (0x00c3_6400, "Ceph"),
        (0x5346_414f, "AFS"),
    ]
    .iter()
    .find(|(magic, _)| *magic == kind)
    .map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_second_server_in_the_same_place_is_refused_with_the_process() {
        let folder = tempfile::tempdir().unwrap();
        let held = StateDir::open(folder.path()).unwrap();
        let error = StateDir::open(folder.path()).unwrap_err();
        assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
        drop(held);
        StateDir::open(folder.path()).unwrap();
    }

    #[test]
    fn files_are_for_the_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::open(&folder.path().join("new")).unwrap();
        state.write(ADMIN_TOKEN, "secret\n").unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(state.path()), 0o700);
        assert_eq!(mode(&state.path().join(ADMIN_TOKEN)), 0o600);
        assert_eq!(state.secret(ADMIN_TOKEN).unwrap().as_deref(), Some("secret"));
        assert_eq!(state.secret("other").unwrap(), None);
    }
}
