//! Writes a job directory. Secrets are readable by the owner only; each file is there whole or not at all.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

/// The texts of a job directory.
#[derive(Clone, Debug)]
pub struct Files {
    pub plan: String,
    pub token: String,
    pub script: String,
}

/// Makes the folder (0700) and its files. Blocking. Safe to repeat.
pub fn write(dir: &Path, files: &Files) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    replace(&dir.join(em_api::plan::PLAN_FILE), &files.plan, 0o600)?;
    replace(&dir.join(em_api::plan::TOKEN_FILE), &files.token, 0o600)?;
    replace(&dir.join(em_slurm::SCRIPT_FILE), &files.script, 0o700)
}

fn replace(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let part = path.with_extension("part");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&part)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&part, path)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn secrets_are_for_the_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("experiment/attempt");
        let files = Files { plan: "{}".into(), token: "secret".into(), script: "#!/bin/bash\n".into() };
        write(&dir, &files).unwrap();
        write(&dir, &files).unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&dir), 0o700);
        assert_eq!(mode(&dir.join("plan.json")), 0o600);
        assert_eq!(mode(&dir.join("token")), 0o600);
        assert_eq!(std::fs::read_to_string(dir.join("token")).unwrap(), "secret");
    }
}
