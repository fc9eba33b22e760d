use std::process::Command;

use super::*;

/// Every option in sbatch(1) of Slurm 22.05.8.
const MANUAL_22_05: &str = "
    account acctg-freq array batch bb bbf begin chdir cluster-constraint clusters comment constraint container
    contiguous core-spec cores-per-socket cpu-freq cpus-per-gpu cpus-per-task deadline delay-boot dependency
    distribution error exclude exclusive export export-file extra-node-info get-user-env gid gpu-bind gpu-freq gpus
    gpus-per-node gpus-per-socket gpus-per-task gres gres-flags help hint hold ignore-pbs input job-name
    kill-on-invalid-dep licenses mail-type mail-user mcs-label mem mem-bind mem-per-cpu mem-per-gpu mincpus network nice
    no-kill no-requeue nodefile nodelist nodes ntasks ntasks-per-core ntasks-per-gpu ntasks-per-node ntasks-per-socket
    open-mode output overcommit oversubscribe parsable partition power prefer priority profile propagate qos quiet
    reboot requeue reservation signal sockets-per-node spread-job switches test-only thread-spec threads-per-core time
    time-min tmp uid usage use-min-nodes verbose version wait wait-all-nodes wckey wrap";

/// Those that sbatch(1) of Slurm 26.05.3 adds (it dropped `power`).
const ADDED_UNTIL_26_05: &str = "
    consolidate-segments container-id container-type extra mem-update oom-kill-step resources resv-ports segment
    spread-segments stepmgr tres-bind tres-per-task";

fn classes(option: &str) -> usize {
    let listed = |list: &[(&str, &str)]| list.iter().filter(|(name, _)| *name == option).count();
    listed(&OURS) + listed(&FIELDS) + ALLOWED.iter().filter(|name| **name == option).count()
}

#[test]
fn every_option_of_both_manuals_has_one_class() {
    let options: Vec<&str> = MANUAL_22_05.split_whitespace().chain(ADDED_UNTIL_26_05.split_whitespace()).collect();
    assert!(options.len() > 110, "{}", options.len());
    for option in options {
        assert_eq!(classes(option), 1, "--{option}");
    }
}

#[test]
fn every_option_of_the_installed_sbatch_has_one_class() {
    // Without any configuration it does not even print its help.
    let dir = tempfile::tempdir().expect("a folder");
    let conf = dir.path().join("slurm.conf");
    std::fs::write(&conf, "ClusterName=none\nSlurmctldHost=localhost\n").expect("written");
    let output = Command::new("sbatch").arg("--help").env("SLURM_CONF", conf).output().expect("sbatch is installed");
    let text = String::from_utf8_lossy(&output.stdout);
    let letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    // Lines such as `  -J, --job-name=jobname  name of job`; names inside the descriptions follow other words.
    let options: Vec<&str> = text
        .lines()
        .filter_map(|line| line.trim_start().split_once("--"))
        .filter(|(before, _)| before.len() <= 4)
        .map(|(_, rest)| rest.split(|c| !letter(c)).next().unwrap_or_default())
        .collect();
    assert!(options.len() > 60, "{text}");
    for option in options {
        assert_eq!(classes(option), 1, "sbatch has --{option}: put it into one of the lists");
    }
}

#[test]
fn allowed_options_are_accepted_and_the_others_refused_in_full_and_abbreviated() {
    for option in ALLOWED {
        assert_eq!(validate_extra_arg(&format!("--{option}=x")), Ok(()), "--{option}");
    }
    for (option, _) in OURS.iter().chain(&FIELDS) {
        for length in 1..=option.len() {
            let name = &option[..length];
            let message = validate_extra_arg(&format!("--{name}=x"));
            // `bb` is an option of its own and the beginning of `bbf`.
            assert_eq!(message.is_ok(), ALLOWED.contains(&name), "--{name}: {message:?}");
            assert_eq!(validate_extra_arg(&format!("--{name}")).is_ok(), ALLOWED.contains(&name), "--{name}");
        }
    }
}

#[test]
fn allowed_options_that_one_version_lacks_are_no_abbreviation_of_a_refused_one() {
    let refused = || OURS.iter().chain(&FIELDS).map(|(option, _)| option);
    for option in ALLOWED.iter().filter(|option| **option != "bb") {
        assert_eq!(refused().find(|refused| refused.starts_with(option)), None, "--{option}");
    }
}

#[test]
fn options_of_the_sites_own_plugins_are_accepted() {
    for arg in ["--container-mounts=/a:/b", "--export-something-new=1", "--wckey=a b \"c\""] {
        assert_eq!(validate_extra_arg(arg), Ok(()), "{arg}");
    }
}

#[test]
fn the_message_says_what_to_write_instead() {
    let message = |arg| validate_extra_arg(arg).expect_err(arg);
    assert_eq!(message("--mem=4G"), "--mem has a field of its own; set `memory`");
    assert_eq!(message("--output=x"), "--output is not allowed here: the logs belong into the job directory");
    assert_eq!(message("--job-na=x"), "--job-na may be read as --job-name, which is not allowed here; write options in full");
    assert_eq!(message("-J x"), "`-J x` must be a long option such as --ntasks=1, with its value after `=`");
}

#[test]
fn nothing_but_one_long_option_gets_through() {
    for letter in "AabCcDdeGgHhiJkLMmNnOopqQsStVvWwxF".chars() {
        for arg in [format!("-{letter}"), format!("-{letter}x"), format!("-{letter} x"), format!("-{letter}=x")] {
            assert!(validate_extra_arg(&arg).is_err(), "{arg}");
        }
    }
    for arg in [
        "",
        " ",
        "-",
        "--",
        "--=x",
        "script.sh",
        "hetjob",
        ":",
        "--ntasks 2",
        "--ntasks=1\n#SBATCH --uid=0",
        "--ntasks=1\r",
        "; rm -rf",
        "--Ntasks=1",
        "--a\tb",
        " --ntasks=1",
        "#--ntasks=1",
        "--ntasks\u{a0}=1",
    ] {
        assert!(validate_extra_arg(arg).is_err(), "{arg:?}");
    }
}
