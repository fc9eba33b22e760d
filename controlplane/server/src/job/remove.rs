//! Removes an experiment's folder from the job directory: only a real folder right in it, whatever lies there.

use std::io;
use std::path::Path;

/// Why a folder stays.
#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
    #[error("{0} is no folder of an experiment; it is left alone")]
    NotOurs(String),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Removes `folder` of `job_dir` with all that is in it. Blocking. Safe to repeat: a folder that is gone is fine. Symbolic links
/// inside are removed, never followed; one in the folder's place is left alone.
pub fn remove(job_dir: &Path, folder: &str) -> Result<(), RemoveError> {
    let sound = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if folder.is_empty() || !folder.bytes().all(sound) {
        return Err(RemoveError::NotOurs(folder.to_owned()));
    }
    let path = job_dir.join(folder);
    let removed = match std::fs::symlink_metadata(&path) {
        Ok(found) if found.is_dir() => std::fs::remove_dir_all(&path),
        Ok(_) => return Err(RemoveError::NotOurs(path.display().to_string())),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_folder_goes_with_its_links_and_what_they_lead_to_stays() {
        let (jobs, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(elsewhere.path().join("precious"), "kept").unwrap();
        let inside = jobs.path().join("demo-1234abcd/attempt");
        std::fs::create_dir_all(&inside).unwrap();
        std::fs::write(inside.join("plan.json"), "{}").unwrap();
        symlink(elsewhere.path(), inside.join("folder")).unwrap();
        symlink(elsewhere.path().join("precious"), inside.join("file")).unwrap();
        remove(jobs.path(), "demo-1234abcd").unwrap();
        assert!(!jobs.path().join("demo-1234abcd").exists());
        assert_eq!(std::fs::read_to_string(elsewhere.path().join("precious")).unwrap(), "kept");
        remove(jobs.path(), "demo-1234abcd").unwrap();
    }

    #[test]
    fn nothing_outside_and_no_link_in_the_folders_place_is_touched() {
        let (jobs, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(elsewhere.path().join("precious"), "kept").unwrap();
        symlink(elsewhere.path(), jobs.path().join("demo-1234abcd")).unwrap();
        std::fs::write(jobs.path().join("file-1234abcd"), "").unwrap();
        for name in ["", ".", "..", "../x", "a/b", "demo-1234abcd", "file-1234abcd", "Store"] {
            assert!(matches!(remove(jobs.path(), name), Err(RemoveError::NotOurs(_))), "{name:?}");
        }
        assert!(elsewhere.path().join("precious").exists() && jobs.path().join("file-1234abcd").exists());
    }
}
