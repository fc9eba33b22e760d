//! Who runs when, on what, and under which id.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::time::Duration;

use em_slurm::{JobOptions, JobState, LocalScheduler, LocalSettings, PendingReason, ReadError, Scheduler, SubmitError};

use crate::bench::{Bench, ended, view, wait_for};

const UNTIL_GO: &str = "touch up; while [ ! -e go ]; do sleep 0.05; done";

fn go(bench: &Bench, name: &str) {
    std::fs::write(bench.job_dir(name).join("go"), "").expect("written");
}

fn gpus(count: &str) -> JobOptions {
    JobOptions { gres: Some(format!("gpu:{count}")), ..JobOptions::default() }
}

#[tokio::test]
async fn one_at_a_time_in_the_order_of_submission() {
    let bench = Bench::new();
    let local = bench.open();
    for name in ["em-a", "em-b", "em-c"] {
        bench.submit(&local, name, UNTIL_GO).await;
    }
    let waits = |reason: &str| Some(PendingReason::Waiting(reason.to_owned()));
    view(&local, "em-a", |view| view.state == JobState::Running).await;
    let job = view(&local, "em-b", |_| true).await;
    assert_eq!((job.state, job.pending, job.started_at), (JobState::Pending, waits("Resources"), None));
    assert_eq!(view(&local, "em-c", |_| true).await.pending, waits("Priority"));
    // Nobody asks: the queue moves by itself.
    go(&bench, "em-a");
    wait_for("the second job", || bench.job_dir("em-b").join("up").exists()).await;
    assert!(!bench.job_dir("em-c").join("up").exists());
    go(&bench, "em-b");
    go(&bench, "em-c");
    assert_eq!(ended(&local, "em-c").await.state, JobState::Completed);
}

#[tokio::test]
async fn each_gpu_has_one_job_and_the_machine_says_what_is_in_use() {
    let bench = Bench::with(|settings| {
        settings.jobs_at_once = NonZeroUsize::MAX;
        settings.gpus = "l40s:4,6".parse().expect("two GPUs");
    });
    let local = bench.open();
    let shows = format!("echo $CUDA_VISIBLE_DEVICES $SLURM_GPUS_ON_NODE $CUDA_DEVICE_ORDER > gpus; {UNTIL_GO}");
    for (name, count) in [("em-a", "l40s:1"), ("em-b", "1"), ("em-both", "2"), ("em-behind", "1")] {
        // Fits a machine of two CPUs twice.
        bench.submit_with(&local, name, &shows, gpus(count)).await.expect("accepted");
    }
    wait_for("two jobs", || ["em-a", "em-b"].iter().all(|name| bench.job_dir(name).join("up").exists())).await;
    assert_eq!(
        (bench.read("em-a", "gpus").as_str(), bench.read("em-b", "gpus").as_str()),
        ("4 1 PCI_BUS_ID\n", "6 1 PCI_BUS_ID\n")
    );
    let cluster = local.cluster().await.expect("an answer");
    let [node] = &cluster.nodes[..] else { panic!("one node: {cluster:?}") };
    assert_eq!((node.gres[0].model.as_deref(), node.gres[0].count, node.gres[0].used), (Some("l40s"), 2, 2));
    assert_eq!((node.cpus_allocated, &cluster.partitions[0].nodes), (2, &vec![node.name.clone()]));

    go(&bench, "em-b");
    ended(&local, "em-b").await;
    let behind = view(&local, "em-behind", |_| true).await;
    assert_eq!(behind.state, JobState::Pending, "it overtook the job that waits for two GPUs");
    for name in ["em-a", "em-both", "em-behind"] {
        go(&bench, name);
    }
    ended(&local, "em-behind").await;
    assert_eq!(bench.read("em-both", "gpus"), "4,6 2 PCI_BUS_ID\n");
    let gone = bench.submit_with(&local, "em-more", "true", gpus("3")).await;
    assert!(matches!(gone, Err(SubmitError::Rejected { stderr }) if stderr.contains("3 GPUs, this machine has 2 GPUs")));
}

#[tokio::test]
async fn cpus_that_a_job_asks_for_are_all_that_it_has() {
    let bench = Bench::new();
    let local = bench.open();
    let one = JobOptions { cpus_per_task: Some(1), ..JobOptions::default() };
    bench.submit_with(&local, "em-bound", "nproc > bound; echo $SLURM_CPUS_ON_NODE >> bound", one).await.expect("accepted");
    ended(&local, "em-bound").await;
    assert_eq!(bench.read("em-bound", "bound"), "1\n1\n");
}

#[tokio::test]
async fn a_job_that_new_settings_leave_no_room_for_says_so_and_holds_nobody_back() {
    let mut bench = Bench::with(|settings| settings.gpus = "1".parse().expect("one GPU"));
    let local = bench.open();
    bench.submit(&local, "em-first", UNTIL_GO).await;
    bench.submit_with(&local, "em-gpu", "true", gpus("1")).await.expect("accepted");
    bench.submit(&local, "em-last", "true").await;
    drop(local);
    bench.settings.gpus = "0".parse().expect("none");
    let local = bench.open();
    go(&bench, "em-first");
    ended(&local, "em-last").await;
    let job = view(&local, "em-gpu", |_| true).await;
    assert_eq!((job.state, job.pending), (JobState::Pending, Some(PendingReason::NeverStarts("PartitionConfig".to_owned()))));
}

#[tokio::test]
async fn ids_are_never_given_twice() {
    let bench = Bench::with(|settings| settings.keep = Duration::ZERO);
    let mut ids = BTreeSet::new();
    for name in ["em-1", "em-2", "em-3"] {
        let local = bench.open();
        assert!(ids.insert(bench.submit(&local, name, "true").await));
        while !local.find(name).await.expect("an answer").is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    assert!(!bench.record("3").exists(), "records are forgotten when they were kept long enough");
    let bench = Bench::new();
    let local = bench.open();
    let id = bench.submit(&local, "em-1", "true").await;
    std::fs::remove_file(bench.settings.state_dir.join("last-id")).expect("the counter is lost");
    assert_ne!(bench.submit(&local, "em-2", "true").await, id);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn servers_that_share_a_queue_run_each_job_once_and_keep_to_the_number_at_one_time() {
    let bench = Bench::with(|settings| settings.jobs_at_once = 2.try_into().expect("two"));
    let locals: Vec<LocalScheduler> = (0..3).map(|_| bench.open()).collect();
    // `mkdir` fails where two are there at one time already.
    let places = bench.dir().join("places");
    std::fs::create_dir(&places).expect("a folder");
    let code = format!(
        "echo run >> runs; cd {}; mkdir 1 && p=1 || {{ mkdir 2 && p=2; }} || exit 9; sleep 0.1; rmdir $p",
        places.display()
    );
    let (bench, code) = (&bench, &code);
    let submit = |index: usize| async move {
        let local = &LocalScheduler::new(bench.settings.clone()).expect("the queue opens");
        bench.submit(local, &format!("em-{index}"), code).await
    };
    let (a, b, c, d) = tokio::join!(submit(0), submit(1), submit(2), submit(3));
    let mut ids = BTreeSet::from([a, b, c, d]);
    let at_once =
        locals.iter().enumerate().map(|(at, local)| async move { bench.submit(local, &format!("em-{}", at + 4), code).await });
    for id in at_once {
        ids.insert(id.await);
    }
    assert_eq!(ids.len(), 7);
    for index in 0..7 {
        let job = ended(&locals[index % 3], &format!("em-{index}")).await;
        assert_eq!((job.state, bench.read(&format!("em-{index}"), "runs").as_str()), (JobState::Completed, "run\n"), "em-{index}");
    }
}

#[tokio::test]
async fn a_queue_that_cannot_be_written_or_read_is_an_error_and_no_answer() {
    let bench = Bench::new();
    let local = bench.open();
    bench.submit(&local, "em-1", UNTIL_GO).await;
    let counter = bench.settings.state_dir.join("last-id");
    std::fs::remove_file(&counter).expect("removed");
    std::fs::create_dir(&counter).expect("a folder in the way");
    let refused = local.submit(&bench.job("em-2", "touch ran")).await;
    assert!(matches!(refused, Err(SubmitError::Unreachable { .. })), "{refused:?}");
    assert_eq!(local.find("em-2").await.expect("an answer"), [], "Unreachable means: not submitted");

    std::fs::write(bench.record("1").join("job.json"), "{").expect("written");
    let listed = local.list("em-").await;
    assert!(matches!(listed, Err(ReadError::Unreadable { .. })), "{listed:?}");
    assert!(local.cancel("1").await.is_err());
    let nowhere = LocalScheduler::new(LocalSettings::new("/proc/nowhere".into()));
    assert!(nowhere.is_err_and(|error| error.to_string().contains("/proc/nowhere")));
}
