//! The job script: what Slurm is asked for, the user's modules, setup lines and environment, then the agent. It depends on
//! nothing but bash, and reads well, for people look at it when a job did not do what they meant.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::container::{Container, unmountable};
use crate::env_name::validate_env_name;
use crate::options::{JobOptions, OptionError, sbatch_line, unwritable};
use crate::quote::quote;
use crate::witness::WITNESS_FILE;

/// Name of the script in the job directory.
pub const SCRIPT_FILE: &str = "job.sh";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobScript {
    /// Unique per submission: it is how the job is found again. 1 to 128 letters, digits, `-`, `_` and `.`.
    pub name: String,
    pub comment: String,
    pub options: JobOptions,
    /// Absolute, on a file system that the compute nodes share. The job's working directory: standard output, standard error
    /// and the witness file are written here.
    pub job_dir: PathBuf,
    pub modules: Vec<String>,
    /// Lines of shell code, the user's own.
    pub setup: Vec<String>,
    pub env: BTreeMap<String, String>,
    /// Program and arguments.
    pub agent: Vec<String>,
}

impl JobScript {
    /// The text of the script. Apart from `setup`, no string of the user's becomes code.
    pub fn render(&self) -> String {
        let container = self.options.started_container();
        let tell = if matches!(container, Some(Container::Pyxis { .. })) { TELL_STEP } else { TELL_CHILD };
        let job_dir = quote(&self.job_dir.to_string_lossy());
        let mut lines = self.header();
        let filled = |line: &str| line.replace("WITNESS", WITNESS_FILE).replace("EM_TELL", tell).replace("JOB_DIR", &job_dir);
        lines.extend(PROLOGUE.lines().map(filled));
        lines.push(String::new());
        lines.extend(self.modules());
        lines.extend(self.setup());
        lines.extend(self.env());
        if matches!(container, Some(Container::Apptainer { .. })) {
            lines.extend(APPTAINER.lines().map(str::to_owned).chain([String::new()]));
        }
        let agent: Vec<String> = self.agent.iter().map(|word| quote(word)).collect();
        let agent = if agent.is_empty() { quote("") } else { agent.join(" ") };
        let agent = container.map(|container| self.inside(&container)).unwrap_or_default() + &agent;
        lines.extend(EPILOGUE.lines().map(|line| line.replace("AGENT", &agent)));
        lines.join("\n") + "\n"
    }

    /// All mistakes that can be seen without asking Slurm or bash, at once. Empty: the job is found again by its name, and each
    /// string arrives as it is written here.
    pub fn validate(&self) -> Vec<OptionError> {
        let mut errors = self.options.validate();
        let mut refuse = |field, index, message| errors.push(OptionError { field, index, message });
        if let Some(message) = unfindable(&self.name) {
            refuse("name", None, message);
        }
        // A job may have none.
        if let Some(message) = unwritable(&self.comment).filter(|_| !self.comment.is_empty()) {
            refuse("comment", None, message);
        }
        let job_dir = self.job_dir.to_string_lossy();
        let unmountable = || self.options.started_container().and_then(|_| unmountable(&job_dir));
        if let Some(message) = validate_job_dir(&self.job_dir).err().or_else(unmountable) {
            refuse("job_dir", None, message);
        }
        for (index, module) in self.modules.iter().enumerate() {
            if module.is_empty() || module.starts_with('-') || module.chars().any(char::is_control) {
                refuse("modules", Some(index), "must be the name of an environment module such as cuda/12.1".to_owned());
            }
        }
        for (name, value) in &self.env {
            let message = validate_env_name(name).err().or_else(|| unspeakable(value).map(|message| format!("{name} {message}")));
            if let Some(message) = message {
                refuse("env", None, message);
            }
        }
        for (field, words) in [("setup", &self.setup), ("agent", &self.agent)] {
            for (index, word) in words.iter().enumerate() {
                if let Some(message) = unspeakable(word) {
                    refuse(field, Some(index), message.to_owned());
                }
            }
        }
        if self.agent.first().is_none_or(String::is_empty) {
            refuse("agent", None, "must name a program".to_owned());
        }
        errors
    }

    fn inside(&self, container: &Container) -> String {
        let mounts: Vec<PathBuf> = [&self.job_dir].into_iter().chain(&self.options.container_mounts).cloned().collect();
        container.command(&mounts, &self.job_dir.to_string_lossy(), self.options.asks_for_gpus())
    }

    fn header(&self) -> Vec<String> {
        let mut lines = vec![
            "#!/bin/bash -l".to_owned(),
            "# Generated. `sbatch job.sh` in this folder runs it as well.".to_owned(),
            "# sbatch reads the lines that begin with #SBATCH, up to the first command.".to_owned(),
            String::new(),
            "# By these the job is found again.".to_owned(),
            sbatch_line("job-name", Some(&self.name)),
            sbatch_line("comment", Some(&self.comment)),
            String::new(),
            "# Logs, in this folder; %j is the job's id.".to_owned(),
            sbatch_line("output", Some("slurm_%j.out")),
            sbatch_line("error", Some("slurm_%j.err")),
            sbatch_line("open-mode", Some("append")),
            String::new(),
        ];
        let asked = self.options.sbatch_lines();
        if !asked.is_empty() {
            lines.push("# What the job asks for.".to_owned());
            lines.extend(asked);
            lines.push(String::new());
        }
        if self.options.requeue {
            lines.push("# Slurm may start the job again by itself, under the same id.".to_owned());
            lines.push(sbatch_line("requeue", None));
        } else {
            lines.push("# Slurm never starts the job again by itself: a new job is submitted instead.".to_owned());
            lines.push(sbatch_line("no-requeue", None));
        }
        lines.push("# TERM comes to this shell 90 s before the time limit (Slurm may send it up to 60 s earlier).".to_owned());
        lines.push(sbatch_line("signal", Some("B:TERM@90")));
        lines.push(String::new());
        lines
    }

    fn modules(&self) -> Vec<String> {
        let load = |module: &String| {
            let module = quote(module);
            format!("module load {module} || em_fail 69 'this module could not be loaded:' {module}")
        };
        section("# Environment modules.", self.modules.iter().map(load))
    }

    /// Windows line ends would make sbatch refuse the whole script.
    fn setup(&self) -> Vec<String> {
        let lines = self.setup.iter().flat_map(|entry| entry.lines()).map(|line| line.trim_end_matches('\r').to_owned());
        section("# Setup lines of the job's owner.", lines)
    }

    fn env(&self) -> Vec<String> {
        section("# Environment.", self.env.iter().map(|(name, value)| format!("export {}={}", quote(name), quote(value))))
    }
}

fn section(title: &str, lines: impl Iterator<Item = String>) -> Vec<String> {
    let lines: Vec<String> = lines.collect();
    if lines.is_empty() { lines } else { [title.to_owned()].into_iter().chain(lines).chain([String::new()]).collect() }
}

/// Accepts the path of a job directory. Slurm expands `%j` and the like in the whole path of a log, not only in the name that we
/// give; a backslash there turns that off and is dropped (sbatch(1), "filename pattern"; seen on 22.05: the job fails with 0:53).
pub fn validate_job_dir(path: &Path) -> Result<(), String> {
    let readable = |path: &str| !path.contains(['\\', '%']) && !path.chars().any(char::is_control);
    if path.is_absolute() && path.to_str().is_some_and(readable) {
        return Ok(());
    }
    let shown = path.to_string_lossy().escape_debug().to_string();
    Err(format!(
        "`{shown}` must be an absolute path in UTF-8 without `%`, `\\` and control characters, which Slurm reads as patterns"
    ))
}

/// Why a job of this name could not be looked up again: squeue and sacct read `,` and blanks as separators.
pub(crate) fn unfindable(name: &str) -> Option<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let findable = !name.is_empty() && name.len() <= 128 && name.chars().all(plain);
    (!findable).then(|| format!("`{name}` is no usable job name: 1 to 128 letters, digits, `-`, `_`, `.`"))
}

/// bash has no word for it.
fn unspeakable(text: &str) -> Option<&'static str> {
    text.contains('\0').then_some("must not contain NUL bytes")
}

/// The witness is written by an exit trap, so that a failing module or setup line leaves one too.
const PROLOGUE: &str = r#"# The last witness of how this ended: "EXIT_CODE RESTART_COUNT SECONDS_SINCE_1970", moved into place to be there whole or not at all.
em_dir=JOB_DIR
em_agent=
em_term=
em_witness() {
  printf '%d %d %(%s)T\n' "$1" "${SLURM_RESTART_COUNT:-0}" -1 > "$em_dir/WITNESS.tmp" && command -p mv -f "$em_dir/WITNESS.tmp" "$em_dir/WITNESS"
}
em_fail() {
  echo "job script: ${*:2}" >&2
  exit "$1"
}
EM_TELL
# TERM (time limit near, or cancelled) is passed on to the agent; before there is one it ends this shell.
em_on_term() {
  em_term=1
  case $em_agent in
    '') exit 143 ;;
    starting) ;;
    *) em_tell ;;
  esac
}
trap 'em_witness "$?"' EXIT
trap em_on_term TERM
cd -- "$em_dir" || em_fail 75 'this node cannot enter the job directory:' "$em_dir"
rm -f WITNESS
"#;

const TELL_CHILD: &str = r#"em_tell() {
  kill -TERM "$em_agent" 2>/dev/null
}"#;

/// Seen on 22.05.8: TERM to srun is followed by `forcing job termination` and KILL for its task; `scancel --signal=TERM` signals the
/// tasks of the job's steps alone, and srun gives their exit code.
const TELL_STEP: &str = r#"# The agent is a step of the job. srun would answer TERM by killing it: Slurm passes the signal on.
em_tell() {
  { [ -n "${SLURM_JOB_ID:-}" ] && scancel --signal=TERM "$SLURM_JOB_ID" 2>/dev/null; } || kill -TERM "$em_agent" 2>/dev/null
}"#;

/// Where apptainer still has its former name.
const APPTAINER: &str = r#"# What runs the container.
em_container=$(command -v apptainer || command -v singularity) ||
  em_fail 69 'neither apptainer nor singularity is on the PATH of this node; a module may provide it'"#;

/// bash runs a trap only between commands, hence the agent in the background. The obvious `wait` in the foreground loses the exit
/// code (it becomes -1) about once in fifty times when TERM comes while the agent ends, which is what scancel does: it sends TERM
/// to all processes at once (bash 5.2.15, 7 of 300 tries; this way 0 of 300). A `read` that times out runs traps at once, forks
/// nothing, and leaves the exit code to be asked for when the agent is gone.
const EPILOGUE: &str = r#"# The agent. Setup lines may have changed traps and options: here they are as needed.
trap 'em_witness "$?"' EXIT
trap em_on_term TERM
set +eu
exec {em_tick}<> <(:)
em_agent=starting
AGENT {em_tick}<&- &
em_agent=$!
[ -z "$em_term" ] || em_tell
# Not `wait`: interrupted by TERM while the agent ends, it can lose the exit code.
while kill -0 "$em_agent" 2>/dev/null; do
  read -r -t 0.25 -u "$em_tick"
  [ "$?" -gt 128 ] || sleep 1
done
trap '' TERM
wait "$em_agent"
exit "$?"
"#;

#[cfg(test)]
mod containers;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod injection;
#[cfg(test)]
mod tests;
