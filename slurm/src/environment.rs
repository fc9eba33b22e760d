//! What commands and jobs inherit of our own environment: a short list, whatever else is set.

use std::env;
use std::ffi::OsString;

/// sbatch gives its own environment to the job (`--export` would be the other way, but its meaning differs between versions), and
/// `SBATCH_…`, `SLURM_…` and `SQUEUE_…` variables change what the commands do.
const PASSED: [&str; 9] = ["PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "TZ", "SLURM_CONF"];

/// The variables of the list and those named in `more`, as far as they are set.
pub(crate) fn inherited(more: &[String]) -> impl Iterator<Item = (&str, OsString)> {
    let names = PASSED.into_iter().chain(more.iter().map(String::as_str));
    names.filter_map(|name| env::var_os(name).map(|value| (name, value)))
}
