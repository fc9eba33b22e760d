//! The secret that both sides know, and what is made of it.

use std::fmt;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use aws_lc_rs::hmac;

/// Shorter ones can be guessed.
const LEAST_BYTES: usize = 16;

/// Never printed.
#[derive(Clone)]
pub struct Secret(hmac::Key);

#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("reading {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{} can be read by others; run: chmod 600 {}", path.display(), path.display())]
    Open { path: PathBuf },
    #[error("{} holds fewer than {LEAST_BYTES} bytes; make one with: openssl rand -hex 32", path.display())]
    Short { path: PathBuf },
}

impl Secret {
    /// Reads a file; blanks at both ends do not count.
    pub fn read(path: &Path) -> Result<Self, SecretError> {
        let fail = |source| SecretError::Read { path: path.to_owned(), source };
        let mode = std::fs::metadata(path).map_err(fail)?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(SecretError::Open { path: path.to_owned() });
        }
        let bytes = std::fs::read(path).map_err(fail)?;
        let secret = bytes.trim_ascii();
        if secret.len() < LEAST_BYTES {
            return Err(SecretError::Short { path: path.to_owned() });
        }
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, secret)))
    }

    /// `sha256=HEX` over `TIMESTAMP.BODY`: the timestamp is signed too, so that nobody can send an old body as a new one.
    pub(super) fn sign(&self, timestamp: &str, body: &str) -> String {
        let tag = hmac::sign(&self.0, format!("{timestamp}.{body}").as_bytes());
        format!("sha256={}", hex::encode(tag.as_ref()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use std::fs::Permissions;

    use super::*;

    fn file(text: &str, mode: u32) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        (folder, path)
    }

    #[test]
    fn the_signature_is_that_of_openssl() {
        let (_folder, path) = file("It's a Secret to Everybody\n", 0o600);
        let secret = Secret::read(&path).unwrap();
        // printf '1800000000.{"id":"1"}' | openssl dgst -sha256 -hmac "It's a Secret to Everybody"
        let wanted = "sha256=7c7dcec2f8cc4591c5661dc7ef06dd14038961f37c06d833b00ca6708e852234";
        assert_eq!(secret.sign("1800000000", "{\"id\":\"1\"}"), wanted);
        assert_eq!(format!("{secret:?}"), "Secret(…)");
    }

    #[test]
    fn a_secret_that_others_can_read_or_guess_is_refused_with_the_cure() {
        let (_open, path) = file("It's a Secret to Everybody", 0o640);
        assert!(Secret::read(&path).unwrap_err().to_string().contains("chmod 600"));
        let (_short, path) = file("  short  ", 0o600);
        assert!(Secret::read(&path).unwrap_err().to_string().contains("openssl rand -hex 32"));
    }
}
