//! The witness: a file that the job script writes at its end, so that an exit code is known even after the controller has
//! forgotten the job and there is no accounting.

use std::io;
use std::path::Path;

use jiff::Timestamp;

/// Name of the file in the job directory. One line of three words: exit code, `SLURM_RESTART_COUNT` (0 for the first run), and
/// the time of the end in seconds since 1970.
pub const WITNESS_FILE: &str = "exit-code";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Witness {
    /// The agent's exit code; 128 + n when signal n killed it; the script's own when the agent never started.
    pub code: i32,
    /// Which run of the job wrote it: an older run than the one in question says nothing about it.
    pub restart_count: u32,
    /// By the node's clock. Absent in a witness of a script from before it was written.
    pub ended_at: Option<Timestamp>,
}

impl Witness {
    /// `None`: no such file, so the script has not come to its end (or was killed with -9).
    pub fn read(job_dir: &Path) -> io::Result<Option<Self>> {
        match std::fs::read_to_string(job_dir.join(WITNESS_FILE)) {
            Ok(text) => Self::parse(&text).map(Some).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// `None`: half written, or not by our script.
    pub fn parse(text: &str) -> Option<Self> {
        let mut words = text.split_ascii_whitespace();
        let (code, restart_count) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let ended_at = words.next().map(|word| Timestamp::from_second(word.parse().ok()?).ok());
        if ended_at == Some(None) || words.next().is_some() {
            return None;
        }
        Some(Self { code, restart_count, ended_at: ended_at.flatten() })
    }
}
