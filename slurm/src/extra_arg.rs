//! Which further sbatch options a user may add: any, but for those that would break how a job is tracked, or that have a
//! field of their own (two places for one fact contradict each other sooner or later).

use crate::options::unwritable;

/// Options by which we find a job again, follow it, and end it.
const OURS: [&str; 28] = [
    "job-name",
    "comment",
    "output",
    "error",
    "open-mode",
    "wrap",
    "array",
    "parsable",
    "test-only",
    "export",
    "export-file",
    "get-user-env",
    "requeue",
    "no-requeue",
    "signal",
    "chdir",
    "wait",
    "clusters",
    "cluster-constraint",
    "uid",
    "gid",
    "quiet",
    "help",
    "usage",
    "version",
    "input",
    "ignore-pbs",
    "kill-on-invalid-dep",
];

/// Options that are fields of `JobOptions`.
const FIELDS: [&str; 22] = [
    "partition",
    "gres",
    "gpus",
    "gpus-per-node",
    "nodes",
    "cpus-per-task",
    "mem",
    "time",
    "account",
    "qos",
    "constraint",
    "reservation",
    "nodelist",
    "exclude",
    "exclusive",
    "dependency",
    "begin",
    "nice",
    "licenses",
    "mail-type",
    "mail-user",
    "container",
];

/// Long options that begin like one of ours or of a field but are others.
const OTHERS: [&str; 4] = ["time-min", "mem-per-cpu", "mem-per-gpu", "mem-bind"];

/// Accepts `--option` and `--option=value`. The message says what to write instead.
pub fn validate_extra_arg(arg: &str) -> Result<(), String> {
    if let Some(message) = unwritable(arg) {
        return Err(message);
    }
    let Some(option) = arg.strip_prefix("--") else {
        return Err(format!("`{arg}` must be a long option such as --ntasks=1, with its value after `=`"));
    };
    let name = option.split_once('=').map_or(option, |(name, _)| name);
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
        return Err(format!("`{arg}` must be a long option such as --ntasks=1, with its value after `=`"));
    }
    if FIELDS.contains(&name) {
        return Err(format!("--{name} has a field of its own; set that"));
    }
    if OURS.contains(&name) {
        return Err(format!("--{name} is set by us to keep track of the job"));
    }
    // sbatch accepts abbreviations (getopt_long): --job-na=x is --job-name=x.
    let abbreviated = |known: &&&str| known.starts_with(name) && !OTHERS.contains(&name);
    if let Some(known) = OURS.iter().chain(&FIELDS).find(abbreviated) {
        return Err(format!("--{name} may be read as --{known}, which is not allowed here; write options in full"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_that_leave_tracking_alone_are_accepted() {
        for arg in [
            "--ntasks=1",
            "--ntasks-per-node=1",
            "--hold",
            "--mem-per-cpu=4G",
            "--gpus-per-task=1",
            "--gpu-bind=closest",
            "--cpu-freq=high",
            "--time-min=10",
            "--wckey=a b \"c\"",
            "--wait-all-nodes=1",
            "--export-something-new=1",
            "--core-spec=2",
            "--priority=TOP",
            "--deadline=now+2hours",
        ] {
            assert_eq!(validate_extra_arg(arg), Ok(()), "{arg}");
        }
    }

    #[test]
    fn options_that_break_tracking_are_refused_in_every_spelling() {
        for arg in [
            "--job-name=x",
            "--job-na=x",
            "--comment=x",
            "--com=x",
            "--output=/dev/null",
            "--out=/dev/null",
            "--error=e",
            "--wrap=true",
            "--array=1-3",
            "--arr=1-3",
            "--parsable",
            "--test-only",
            "--export=NONE",
            "--exp=NONE",
            "--requeue",
            "--no-requeue",
            "--signal=USR1",
            "--chdir=/",
            "--wait",
            "--uid=0",
            "--clusters=other",
            "--help",
            "-J",
            "-Jx",
            "-o",
            "-e",
            "-a",
            "-D",
            "-W",
            "-J x",
        ] {
            assert!(validate_extra_arg(arg).is_err(), "{arg}");
        }
    }

    #[test]
    fn what_has_a_field_of_its_own_belongs_there() {
        for arg in ["--partition=gpu", "--mem=1G", "--time=5", "--exclusive=user", "--part=gpu"] {
            assert!(validate_extra_arg(arg).is_err(), "{arg}");
        }
    }

    #[test]
    fn nothing_but_one_option_gets_through() {
        for arg in [
            "",
            " ",
            "-",
            "--",
            "--=x",
            "script.sh",
            "hetjob",
            "--ntasks 2",
            "--ntasks=1\n#SBATCH --uid=0",
            "--ntasks=1\r",
            "; rm -rf",
            "--Ntasks=1",
            "--a\tb",
        ] {
            assert!(validate_extra_arg(arg).is_err(), "{arg:?}");
        }
    }
}
