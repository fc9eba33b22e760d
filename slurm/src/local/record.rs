//! One job on disk: a directory of small files, each with one writer and written once. What a job *is* follows from which of them
//! are there, so a crash between two leaves a job in the state before or after, and nothing in between.
//!
//! | file | written by | when |
//! |---|---|---|
//! | `job.json`, `job.sh`, `lock` | submission | before the directory gets its name |
//! | `start.json` | the queue | before the supervisor is started |
//! | `supervisor` (process id, start time) | the supervisor | before it starts the script |
//! | `cancel` | cancellation of a started job | |
//! | `end` | the supervisor | when the script has ended |
//! | `outcome.json` | the queue | last; nothing changes after it |

use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::files::{read_json, read_text, try_lock, unreadable, write, write_json};
use super::fit::Allotment;
use super::request::Request;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Job {
    pub(super) id: u64,
    pub(super) name: String,
    pub(super) comment: String,
    pub(super) job_dir: PathBuf,
    pub(super) request: Request,
    pub(super) submitted_at: Timestamp,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Start {
    pub(super) at: Timestamp,
    /// When the time limit ends.
    pub(super) until: Option<Timestamp>,
    pub(super) boot_id: String,
    pub(super) has: Allotment,
}

/// What the supervisor saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    /// bash's exit status of the script: 128 + n when signal n killed it.
    pub(super) code: i32,
    pub(super) by: By,
    pub(super) at: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    /// The script ended by itself.
    Exit,
    Cancel,
    Timeout,
    /// The supervisor itself was told to end, as everybody is when a machine goes down.
    Shutdown,
    /// Its output files could not be opened: it never ran.
    Output,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Outcome {
    /// Slurm's word.
    pub(super) state: String,
    /// Code and signal.
    pub(super) exit: Option<(i32, i32)>,
    pub(super) reason: Option<String>,
    pub(super) at: Timestamp,
}

#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) dir: PathBuf,
    pub(super) job: Job,
    pub(super) start: Option<Start>,
    /// A started job is to end, or is ending.
    pub(super) ending: bool,
    pub(super) outcome: Option<Outcome>,
}

pub(super) const SCRIPT: &str = "job.sh";
pub(super) const LOCK: &str = "lock";

impl Record {
    pub(super) fn read(dir: PathBuf) -> io::Result<Self> {
        let job = read_json(&dir.join("job.json"))?.ok_or_else(|| unreadable(&dir, "job.json is missing"))?;
        let (start, outcome) = (read_json(&dir.join("start.json"))?, read_json(&dir.join("outcome.json"))?);
        let ending = dir.join("cancel").exists() || dir.join("end").exists();
        Ok(Self { dir, job, start, ending, outcome })
    }

    /// Fills a new directory; it is a job when it is renamed to its id.
    pub(super) fn create(dir: &Path, job: &Job, script: &[u8]) -> io::Result<()> {
        write_json(dir, "job.json", job)?;
        write(dir, SCRIPT, script)?;
        write(dir, LOCK, b"")
    }

    /// The intent to run it.
    pub(super) fn begin(&mut self, start: Start) -> io::Result<()> {
        write_json(&self.dir, "start.json", &start)?;
        self.start = Some(start);
        Ok(())
    }

    /// Back to the queue: its supervisor never came to run anything.
    pub(super) fn never_began(&mut self) -> io::Result<()> {
        std::fs::remove_file(self.dir.join("start.json"))?;
        self.start = None;
        Ok(())
    }

    /// Asks the supervisor to end the job.
    pub(super) fn ask_to_end(&mut self) -> io::Result<()> {
        write(&self.dir, "cancel", b"")?;
        self.ending = true;
        Ok(())
    }

    pub(super) fn close(&mut self, outcome: Outcome) -> io::Result<()> {
        write_json(&self.dir, "outcome.json", &outcome)?;
        self.outcome = Some(outcome);
        Ok(())
    }

    /// Whether the supervisor lives. It holds the lock from before it exists, however long, and the kernel ends the lock with it: no
    /// process id has to be believed.
    pub(super) fn supervised(&self) -> io::Result<bool> {
        Ok(try_lock(&self.dir.join(LOCK))?.is_none())
    }

    /// Whether the supervisor came so far that the script may have run.
    pub(super) fn may_have_run(&self) -> bool {
        self.dir.join("supervisor").exists()
    }

    pub(super) fn cancel_asked(&self) -> bool {
        self.dir.join("cancel").exists()
    }

    pub(super) fn end(&self) -> io::Result<Option<End>> {
        let path = self.dir.join("end");
        let Some(text) = read_text(&path)? else { return Ok(None) };
        parse_end(&text).map(Some).ok_or_else(|| unreadable(&path, text.trim()))
    }
}

fn parse_end(text: &str) -> Option<End> {
    let mut words = text.split_ascii_whitespace();
    let code = words.next()?.parse().ok()?;
    let by = match words.next()? {
        "exit" => By::Exit,
        "cancel" => By::Cancel,
        "timeout" => By::Timeout,
        "shutdown" => By::Shutdown,
        "output" => By::Output,
        _ => return None,
    };
    Some(End { code, by, at: Timestamp::from_second(words.next()?.parse().ok()?).ok()? })
}
