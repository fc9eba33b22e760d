//! One file: downloaded into `{target}.part`, gone on with where it broke off, verified, and only then given its name.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::StreamExt;
use reqwest::StatusCode;
use reqwest::header::RANGE;
use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::HubError;
use super::listing::cure;

/// Without a byte gained.
const TRIES: u32 = 5;
const PAUSE: Duration = if cfg!(test) { Duration::from_millis(10) } else { Duration::from_secs(2) };

/// What the hub says of a file's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    /// Of large files.
    Sha256(String),
    /// Of others: git's name for the blob.
    GitBlob(String),
}

pub(super) struct Download<'a> {
    pub(super) client: &'a reqwest::Client,
    pub(super) url: String,
    pub(super) name: &'a str,
    pub(super) size: u64,
    pub(super) expected: Expected,
    pub(super) target: PathBuf,
}

impl Download<'_> {
    /// Bytes that came over the network.
    pub(super) async fn run(self) -> Result<u64, HubError> {
        if self.target.exists() {
            return Ok(0);
        }
        let part = part_of(&self.target);
        let fail = |source| HubError::Io { path: part.clone(), source };
        if let Some(folder) = part.parent() {
            std::fs::create_dir_all(folder).map_err(fail)?;
        }
        let (mut loaded, mut tries) = (0, 0);
        loop {
            let have = std::fs::metadata(&part).map_or(0, |file| file.len());
            if have == self.size {
                break;
            }
            if have > self.size {
                std::fs::remove_file(&part).map_err(fail)?;
                continue;
            }
            let gained = self.go_on(&part, have).await?;
            loaded += gained;
            tries = if gained > 0 { 0 } else { tries + 1 };
            if tries == TRIES {
                return Err(HubError::BrokenOff { file: self.name.to_owned(), have, size: self.size, tries });
            }
            if gained == 0 {
                tokio::time::sleep(PAUSE * tries).await;
            }
        }
        if self.size == 0 {
            File::create(&part).map_err(fail)?;
        }
        if let Err(problem) = verify(&part, self.name, &self.expected) {
            // Else the next try would go on with it.
            let _ = std::fs::remove_file(&part);
            return Err(problem);
        }
        std::fs::rename(&part, &self.target).map_err(fail)?;
        Ok(loaded)
    }

    /// Appends what comes from byte `have` on, and returns how much that was; a connection that breaks is no error here.
    async fn go_on(&self, part: &Path, have: u64) -> Result<u64, HubError> {
        let mut request = self.client.get(&self.url);
        if have > 0 {
            request = request.header(RANGE, format!("bytes={have}-"));
        }
        let answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) if error.is_connect() => return Err(HubError::Unreachable { url: self.url.clone(), source: error }),
            Err(_) => return Ok(0),
        };
        let status = answer.status();
        let mut options = OpenOptions::new();
        match status {
            StatusCode::PARTIAL_CONTENT => options.append(true).create(true),
            // It knows no ranges: from the beginning.
            StatusCode::OK => options.write(true).create(true).truncate(true),
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => return Ok(0),
            _ => return Err(HubError::Status { url: self.url.clone(), status: status.as_u16(), cure: cure(status.as_u16()) }),
        };
        let fail = |source| HubError::Io { path: part.to_owned(), source };
        let mut file = options.open(part).map_err(fail)?;
        let mut gained = 0;
        let mut body = answer.bytes_stream();
        while let Some(Ok(bytes)) = body.next().await {
            file.write_all(&bytes).map_err(fail)?;
            gained += bytes.len() as u64;
        }
        // A server that always begins anew and always breaks off gains nothing.
        Ok(if status == StatusCode::OK { gained.saturating_sub(have) } else { gained })
    }
}

pub(super) fn part_of(target: &Path) -> PathBuf {
    let mut name = target.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    target.with_file_name(name)
}

pub(super) fn verify(path: &Path, name: &str, expected: &Expected) -> Result<(), HubError> {
    let fail = |source| HubError::Io { path: path.to_owned(), source };
    let (what, found, expected) = match expected {
        Expected::Sha256(expected) => ("SHA-256", sha256(path).map_err(fail)?, expected),
        Expected::GitBlob(expected) => ("git blob id", git_blob(path).map_err(fail)?, expected),
    };
    if found == *expected {
        return Ok(());
    }
    Err(HubError::Checksum { file: name.to_owned(), what, found, expected: expected.clone() })
}

/// Of a file, in hexadecimal.
pub fn sha256(path: &Path) -> io::Result<String> {
    let mut hasher = Sha256::new();
    through(path, |bytes| hasher.update(bytes))?;
    Ok(hex::encode(hasher.finalize()))
}

/// `sha1("blob {size}\0" + content)`.
fn git_blob(path: &Path) -> io::Result<String> {
    let mut hasher = Sha1::new();
    hasher.update(format!("blob {}\0", std::fs::metadata(path)?.len()));
    through(path, |bytes| hasher.update(bytes))?;
    Ok(hex::encode(hasher.finalize()))
}

fn through(path: &Path, mut take: impl FnMut(&[u8])) -> io::Result<()> {
    let (mut file, mut block) = (File::open(path)?, vec![0; 1 << 20]);
    loop {
        match file.read(&mut block)? {
            0 => return Ok(()),
            count => take(&block[..count]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_git_blob_has_the_name_that_git_gives_it() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("file");
        std::fs::write(&path, "hello\n").expect("write");
        // `printf 'hello\n' | git hash-object --stdin`
        assert_eq!(git_blob(&path).expect("read"), "ce013625030ba8dba906f756967f9e9ca394464a");
    }
}
