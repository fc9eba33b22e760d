//! The real sbatch behind a wrapper that breaks it in one of the ways that sites know, after a plan that the test writes.

use std::collections::BTreeMap;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// What becomes of one call of sbatch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// Works.
    Ok,
    /// The job is there; the answer is lost on its way back.
    AnswerLost,
    /// The job is there; sbatch does not return in time.
    TimedOut,
    /// Slurm says no for now: the limit of submitted jobs.
    Refused,
    /// Killed before it reached the controller.
    KilledBefore,
    /// Killed after the controller took the job.
    KilledAfter,
    /// Two jobs of one name; the answer is lost.
    Doubled,
    /// Two jobs of one name, and the one with the *higher* id starts first, since the lower is held. The answer is lost.
    HigherIdFirst,
}

impl Fault {
    pub const SINGLE: [Self; 6] =
        [Self::Ok, Self::AnswerLost, Self::TimedOut, Self::Refused, Self::KilledBefore, Self::KilledAfter];

    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::AnswerLost => "answer-lost",
            Self::TimedOut => "timed-out",
            Self::Refused => "refused",
            Self::KilledBefore => "killed-before",
            Self::KilledAfter => "killed-after",
            Self::Doubled => "doubled",
            Self::HigherIdFirst => "higher-id-first",
        }
    }
}

/// A folder of Slurm's commands in which sbatch is the wrapper.
pub struct FaultySbatch {
    dir: TempDir,
}

impl FaultySbatch {
    /// The first calls meet these faults, in this order; all later ones work.
    pub fn new(plan: &[Fault]) -> Self {
        let dir = tempfile::Builder::new().prefix("em-bin-").tempdir().expect("a temporary folder");
        for program in ["squeue", "sacct", "scancel", "scontrol", "sinfo", "sacctmgr"] {
            symlink(which(program), dir.path().join(program)).expect("a link");
        }
        let plan: Vec<&str> = plan.iter().map(|fault| fault.word()).collect();
        std::fs::write(dir.path().join("plan"), plan.join("\n") + "\n").expect("the plan");
        std::fs::write(dir.path().join("calls"), "").expect("the log");
        let wrapper = WRAPPER.replace("DIR", &dir.path().to_string_lossy()).replace("SBATCH", &which("sbatch").to_string_lossy());
        let path = dir.path().join("sbatch");
        std::fs::write(&path, wrapper).expect("the wrapper");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("the wrapper is a program");
        Self { dir }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// How many calls there were.
    pub fn calls(&self) -> usize {
        self.log().lines().count()
    }

    /// How many calls met each fault.
    pub fn met(&self) -> BTreeMap<String, usize> {
        let mut met = BTreeMap::new();
        for line in self.log().lines() {
            *met.entry(line.to_owned()).or_default() += 1;
        }
        met
    }

    pub fn met_of(&self, fault: Fault) -> usize {
        self.met().get(fault.word()).copied().unwrap_or(0)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("calls")).expect("the log of the wrapper")
    }
}

const WRAPPER: &str = r#"#!/bin/bash
# The real sbatch, and a fault: the next line of the plan.
exec 9>>'DIR/lock'
flock 9
call=$(($(wc -l <'DIR/calls') + 1))
fault=$(sed -n "${call}p" 'DIR/plan')
echo "${fault:-ok}" >>'DIR/calls'
exec 9>&-
case ${fault:-ok} in
  ok) exec 'SBATCH' "$@" ;;
  answer-lost)
    'SBATCH' "$@" >/dev/null || exit
    echo 'sbatch: error: Batch job submission failed: Socket timed out on send/recv operation' >&2
    exit 1
    ;;
  timed-out) 'SBATCH' "$@" >/dev/null && exec sleep 600 ;;
  refused)
    echo 'sbatch: error: AssocMaxSubmitJobLimit' >&2
    echo "sbatch: error: Batch job submission failed: Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)" >&2
    exit 1
    ;;
  killed-before) kill -KILL $$ ;;
  killed-after) 'SBATCH' "$@" >/dev/null && kill -KILL $$ ;;
  doubled) 'SBATCH' "$@" >/dev/null && 'SBATCH' "$@" >/dev/null && kill -KILL $$ ;;
  higher-id-first)
    'SBATCH' --hold "$@" >/dev/null && id=$('SBATCH' "$@")
    while ! squeue -h -j "$id" -o %T | grep -q RUNNING; do sleep 0.1; done
    kill -KILL $$
    ;;
esac
"#;

fn which(program: &str) -> PathBuf {
    let output = Command::new("sh").args(["-c", &format!("command -v {program}")]).output().expect("sh");
    let path = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    assert!(!path.is_empty(), "{program} is not installed");
    PathBuf::from(path)
}
