//! How a data set comes into the input store: under the lock of `em-agent setup`, whole or not at all, its manifest last.

use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use em_api::Timestamp;
use em_api::inputs::{Entry, EntryKind, dataset_key, manifest_path};
use em_api::spec::DatasetSource;
use sha2::{Digest, Sha256};

use super::{DatasetError, find::PREPARED};

/// The lock of the store, and a folder in it for what is being made; both go with this value.
pub(super) struct Store<'a> {
    root: &'a Path,
    part: PathBuf,
    _lock: File,
}

impl<'a> Store<'a> {
    /// Waits for another setup of this store; `waiting` hears of it.
    pub(super) fn locked(root: &'a Path, waiting: &dyn Fn(&str)) -> Result<Self, DatasetError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| DatasetError::Write { path, source }
        };
        let temporary = root.join("tmp");
        fs::create_dir_all(&temporary).map_err(failed(&temporary))?;
        let path = root.join(".setup.lock");
        let mut lock = File::options().read(true).write(true).create(true).truncate(false).open(&path).map_err(failed(&path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                let mut owner = String::new();
                // Only words for a person.
                let _ = lock.read_to_string(&mut owner);
                waiting(&format!("waiting for another setup of {} (process {})", root.display(), owner.trim()));
                lock.lock().map_err(failed(&path))?;
            }
            Err(fs::TryLockError::Error(source)) => return Err(failed(&path)(source)),
        }
        let mut sign = || {
            lock.rewind()?;
            lock.set_len(0)?;
            writeln!(lock, "{}", std::process::id())
        };
        sign().map_err(failed(&path))?;
        // Setup too takes what begins so for left behind by who had the lock.
        let part = temporary.join(format!("part-data-{}", std::process::id()));
        let _ = fs::remove_dir_all(&part);
        fs::create_dir(&part).map_err(failed(&part))?;
        Ok(Self { root, part, _lock: lock })
    }

    /// Where the texts are to be written.
    pub(super) fn texts(&self) -> PathBuf {
        self.part.join(PREPARED)
    }

    /// Gives the texts their place and writes the manifest: from now on agents find them. Returns the entry, and the path of
    /// what it replaces. Texts that lie there already are left alone: a job may be reading them.
    pub(super) fn record(
        &self,
        source: DatasetSource,
        sha256: String,
        details: Vec<(&str, String)>,
    ) -> Result<(Entry, Option<String>), DatasetError> {
        let failed = |path: &Path, source| DatasetError::Write { path: path.to_owned(), source };
        let key = dataset_key(source);
        let path = format!("datasets/{key}-{}", &sha256[..8]);
        let target = self.root.join(&path);
        if sha256_of(&target.join(PREPARED)).ok().as_ref() != Some(&sha256) {
            let _ = fs::remove_dir_all(&target);
            fs::create_dir_all(self.root.join("datasets")).map_err(|source| failed(&target, source))?;
            fs::rename(&self.part, &target).map_err(|source| failed(&target, source))?;
        }
        let manifest = manifest_path(self.root, EntryKind::Dataset, &key);
        let before = fs::read(&manifest).ok().and_then(|json| serde_json::from_slice::<Entry>(&json).ok()).map(|entry| entry.path);
        let entry = Entry {
            kind: EntryKind::Dataset,
            key,
            path,
            sha256,
            created_at: Timestamp::now(),
            details: details.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        };
        let write = || {
            let new = manifest.with_extension("json.new");
            fs::create_dir_all(self.root.join("manifests"))?;
            let mut file = File::create(&new)?;
            file.write_all(&serde_json::to_vec_pretty(&entry)?)?;
            file.sync_all()?;
            fs::rename(&new, &manifest)
        };
        write().map_err(|source| failed(&manifest, source))?;
        let replaced = before.filter(|path| *path != entry.path);
        Ok((entry, replaced))
    }
}

impl Drop for Store<'_> {
    fn drop(&mut self) {
        // Gone already when it was given its place.
        let _ = fs::remove_dir_all(&self.part);
    }
}

/// Hashes what goes through it.
pub(super) struct Hashed<W> {
    inner: W,
    hash: Sha256,
}

impl<W: Write> Hashed<W> {
    pub(super) fn new(inner: W) -> Self {
        Self { inner, hash: Sha256::new() }
    }

    pub(super) fn finish(self) -> (W, String) {
        (self.inner, hex::encode(self.hash.finalize()))
    }
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hash.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

fn sha256_of(path: &Path) -> io::Result<String> {
    let mut hashed = Hashed::new(io::sink());
    io::copy(&mut File::open(path)?, &mut hashed)?;
    Ok(hashed.finish().1)
}
