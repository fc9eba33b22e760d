//! What sbatch and scancel refuse, through the scheduler: each text is read as what it is.

use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt, chown};

use em_slurm::{CancelError, CliScheduler, CliSettings, JobScript, Scheduler, SubmitError};

use crate::cluster::{agent, job, prefix, wait_for};
use crate::stage::Stage;

/// A user of every system beside root. (26.05 knows no user `nobody`, uid 65534.)
const OTHER: &str = "daemon";

const OK: &str = "#!/bin/bash\nsleep 300\n";

/// Lines of the script's header, and what sbatch must say.
const REFUSED: [(&str, &str); 20] = [
    ("-p nope", "Invalid partition name specified"),
    ("--gres=fpga:1", "Invalid generic resource (gres) specification"),
    ("--gres=gpu:99", "Requested node configuration is not available"),
    ("--mem=900G", "Memory specification can not be satisfied"),
    ("-A nope", "Invalid account or account/partition combination specified"),
    ("--qos=nope", "Invalid qos specification"),
    ("-p short -t 100", "Requested time limit is invalid"),
    ("-N 50", ""),
    ("-n 500", "More processors requested than permitted"),
    ("-w nope", "Invalid node name specified"),
    ("-C nope", "Invalid feature specification"),
    ("-L nope:1", "Invalid license specification"),
    ("--reservation=nope", "Requested reservation is invalid"),
    ("--array=0-5000", "Invalid job array specification"),
    ("-d afterok:xyz", "Job dependency problem"),
    ("-p inactive", "Required partition not available"),
    ("-t nonsense", "--time"),
    ("--mem=nonsense", "--mem"),
    ("--nope", "--nope"),
    ("--begin=nonsense", "--begin"),
];

#[tokio::test(flavor = "multi_thread")]
async fn refusals_limits_and_denials_are_told_apart() {
    let extra = "EnforcePartLimits=ALL\nLicenses=matlab:2\nMaxArraySize=10\nPartitionName=inactive Nodes=ALL State=INACTIVE\n";
    let stage = Stage::up(&[("ACCT", "1"), ("ENFORCE", "associations,limits,qos")], extra);
    let submit = async |name: &str, text: &str| {
        let script = job(&stage.cluster, name, agent("true"));
        std::fs::create_dir_all(&script.job_dir).expect("a folder");
        std::fs::write(script.job_dir.join("job.sh"), text).expect("written");
        (stage.slurm.submit(&script).await, script)
    };
    for (at, (line, says)) in REFUSED.iter().enumerate() {
        let (answer, script) = submit(&format!("refused-{at}"), &format!("#!/bin/bash\n#SBATCH {line}\n")).await;
        assert!(matches!(&answer, Err(SubmitError::Rejected { stderr }) if stderr.contains(says)), "{line}: {answer:?}");
        // Of some, Slurm keeps a record nevertheless.
        assert_eq!(stage.slurm.find(&script.name).await.expect("an answer"), [], "{line}");
    }
    let big = format!("#!/bin/bash\n{}\n", "#".repeat(4_300_000));
    for (at, (text, says)) in [
        ("sleep 1\n", "does not look like a batch script"),
        ("#!/bin/bash\r\nsleep 1\r\n", "DOS line breaks"),
        ("", "Batch script is empty"),
        ("  \n", "only whitespace"),
        (&big, ""),
    ]
    .into_iter()
    .enumerate()
    {
        let (answer, _) = submit(&format!("no-script-{at}"), text).await;
        assert!(matches!(&answer, Err(SubmitError::Rejected { stderr }) if stderr.contains(says)), "{says}: {answer:?}");
    }
    // A job that does not exist is a dependency that 22.05 takes, and 26.05 does not.
    let (answer, _) = submit("depends", "#!/bin/bash\n#SBATCH -d afterok:99999\n").await;
    assert!(matches!(answer, Ok(_) | Err(SubmitError::Rejected { .. })), "{answer:?}");
    let held = submit("held", "#!/bin/bash\n#SBATCH --hold\n").await.0.expect("accepted").id;
    stage.slurm.cancel(&held).await.expect("cancelled");
    stage.slurm.cancel(&held).await.expect("cancelled twice");
    stage.slurm.cancel("99999").await.expect("unknown");

    // The folder must be there for sbatch to start in.
    let nowhere = JobScript { job_dir: stage.folder().join("none"), ..job(&stage.cluster, "nowhere", agent("true")) };
    assert!(matches!(stage.slurm.submit(&nowhere).await, Err(SubmitError::Spawn { .. })));
    limits_of_another_account(&stage).await;
}

/// Root and Slurm's own user have no limits, so this needs a third: only root can be someone else.
async fn limits_of_another_account(stage: &Stage) {
    if !rustix::process::getuid().is_root() {
        eprintln!("NOT PRODUCED HERE: a limit of the account and a denied scancel need root, to act as another user");
        return;
    }
    for args in [
        &["-i", "add", "user", OTHER, "Account=research", "DefaultAccount=research"] as &[&str],
        &["-i", "modify", "user", OTHER, "set", "MaxSubmitJobs=1"],
    ] {
        stage.cluster.slurm("sacctmgr", args);
    }
    // slurmdbd tells the controller a moment later.
    let limits = || stage.cluster.slurm("scontrol", &["show", "assoc_mgr", "users=daemon", "flags=assoc"]);
    wait_for("the limit", || limits().contains("MaxSubmitJobs=1(")).await;
    let other = as_other(stage);
    let output = std::process::Command::new("id").args(["-u", OTHER]).output().expect("id runs");
    let uid = String::from_utf8_lossy(&output.stdout).trim().parse().expect("a user id");
    let script = |name: &str| {
        let script = job(&stage.cluster, name, agent("true"));
        std::fs::create_dir_all(&script.job_dir).expect("a folder");
        std::fs::write(script.job_dir.join("job.sh"), "#!/bin/bash\n#SBATCH --hold\n").expect("written");
        chown(&script.job_dir, Some(uid), None).expect("chown");
        script
    };
    let first = other.submit(&script("limited-1")).await.expect("the first is within the limit");
    let second = other.submit(&script("limited-2")).await;
    assert!(matches!(&second, Err(SubmitError::Limited { stderr }) if stderr.contains("AssocMaxSubmitJobLimit")), "{second:?}");

    let foreign = stage.sbatch("foreign", &["--hold"], OK);
    let denied = other.cancel(&foreign).await;
    assert!(matches!(&denied, Err(CancelError::Denied { .. })), "{denied:?}");
    other.cancel(&first.id).await.expect("one's own");
}

/// The same commands, run by somebody else.
fn as_other(stage: &Stage) -> CliScheduler {
    let folder = stage.cluster.dir().join("as-other");
    std::fs::create_dir(&folder).expect("a folder");
    std::fs::set_permissions(stage.cluster.dir(), Permissions::from_mode(0o755)).expect("chmod");
    let bin = prefix().map(|prefix| format!("{}/bin/", prefix.display())).unwrap_or_default();
    for program in ["sbatch", "squeue", "scancel", "sacct"] {
        let file = folder.join(program);
        let line = format!("#!/bin/sh\nexec setpriv --reuid={OTHER} --regid={OTHER} --clear-groups {bin}{program} \"$@\"\n");
        std::fs::write(&file, line).expect("written");
        std::fs::set_permissions(&file, Permissions::from_mode(0o755)).expect("chmod");
    }
    let slurm_conf = Some(stage.cluster.dir().join("etc/slurm.conf"));
    CliScheduler::new(CliSettings { bin_dir: Some(folder), slurm_conf, ..CliSettings::default() })
}
