//! What a job inherits from our own environment: a short list and nothing else.

use std::env;
use std::ffi::OsString;

/// sbatch gives its own environment to the job (`--export` would be the other way, but its meaning differs between versions), and
/// `SBATCH_…`, `SLURM_…` and `SQUEUE_…` variables change what the commands do.
const PASSED: [&str; 9] = ["PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "TZ", "SLURM_CONF"];

/// Those of the list, and of `further`, that are set.
pub(crate) fn inherited(further: &[String]) -> impl Iterator<Item = (&str, OsString)> {
    let names = PASSED.into_iter().chain(further.iter().map(String::as_str));
    names.filter_map(|name| env::var_os(name).map(|value| (name, value)))
}
