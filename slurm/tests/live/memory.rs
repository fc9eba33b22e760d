//! Too much memory: an end of its own only where cgroups enforce it.

use em_slurm::{ExitStatus, JobState};

use crate::stage::{Stage, status};

/// slurmd looks once a second and kills: a failure by signal 9, with the reason only on standard error.
#[tokio::test(flavor = "multi_thread")]
async fn without_cgroups_too_much_memory_is_a_failure_by_kill() {
    let gather = "JobAcctGatherType=jobacct_gather/linux\nJobAcctGatherFrequency=task=1\nJobAcctGatherParams=OverMemoryKill\n";
    let stage = Stage::up(&[], gather);
    stage.sbatch("hog", &["--mem=50M"], "#!/bin/bash\nx=$(head -c 200M /dev/zero | tr '\\0' x)\nsleep 300\n");
    let view = stage.ended("hog").await;
    assert_eq!((&view.state, view.exit), (&JobState::Failed, status(0, 9)), "{view:?}");
    let log = std::fs::read_to_string(stage.folder().join("hog.out")).expect("standard output and error");
    assert!(log.contains("memory limit"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_cgroups_too_much_memory_is_out_of_memory_whatever_the_script_says() {
    if !cgroups_are_ours() {
        eprintln!("NOT PRODUCED HERE: an OUT_OF_MEMORY job needs root and memory cgroups; only its recorded form is checked");
        assert!(JobState::parse("OUT_OF_MEMORY").ended());
        assert_eq!((ExitStatus::parse("253"), ExitStatus::parse("0:125")), (status(0, 125), status(0, 125)));
        return;
    }
    let knobs = [("TASK", "task/cgroup"), ("PROCTRACK", "proctrack/cgroup"), ("MEM", "2000")];
    let stage = Stage::up(&knobs, "");
    let hog = "tail -c 300M /dev/zero | tail -c 250M >/dev/null";
    stage.sbatch("oom", &["--mem=50M"], &format!("#!/bin/bash\n{hog}\nexit 0\n"));
    stage.sbatch("oom-in-step", &["--mem=50M"], &format!("#!/bin/bash\nsrun bash -c '{hog}'\nexit 0\n"));
    let view = stage.ended("oom").await;
    assert_eq!((&view.state, view.exit, view.reason.as_deref()), (&JobState::OutOfMemory, status(0, 125), Some("OutOfMemory")));
    let view = stage.ended("oom-in-step").await;
    assert_eq!(
        (&view.state, view.exit, view.derived_exit),
        (&JobState::Completed, status(0, 0), status(0, 125)),
        "{:?}",
        stage.shown("oom-in-step")
    );
}

/// Root, and a memory controller in which folders can be made.
fn cgroups_are_ours() -> bool {
    let probe = std::path::Path::new("/sys/fs/cgroup/memory").join(format!("em-test-{}", std::process::id()));
    let made = std::fs::create_dir(&probe).is_ok();
    made && std::fs::remove_dir(&probe).is_ok() && rustix::process::getuid().is_root()
}
