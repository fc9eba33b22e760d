//! The reads of Slurm are as many for thousands of jobs as for one: by our own metric, and by what the controller counts.

use std::time::Duration;

use em_e2e::{Cluster, ControlPlane, EmbeddingServer};

use super::experiment;

/// `load.repetitions` allows no more.
const SHARDS_EACH: usize = 100;
/// DESIGN section 7.
const READS_PER_MINUTE: f64 = 20.0;

#[test]
fn more_jobs_cost_no_more_reads() {
    let counts = std::env::var("EM_BUDGET_JOBS").unwrap_or_else(|_| "1,60".to_owned());
    let counts: Vec<usize> = counts.split(',').map(|count| count.parse().expect("a number")).collect();
    let window = std::env::var("EM_BUDGET_SECONDS").map_or(15, |text| text.parse().expect("a number"));
    let reads: Vec<u64> = counts.iter().map(|jobs| reads_for(*jobs, window)).collect();
    println!("{counts:?} jobs: {reads:?} reads in {window} s");
    let (least, most) = (reads.iter().min().expect("some"), reads.iter().max().expect("some"));
    assert!(most - least <= 1, "the number of reads depends on the number of jobs: {reads:?} for {counts:?}");
    assert!(*least >= 1 && *most as f64 <= READS_PER_MINUTE * window as f64 / 60.0 + 1.0, "{reads:?} in {window} s");
}

/// Listings in a window while so many jobs of ours are queued.
fn reads_for(jobs: usize, window: u64) -> u64 {
    let cluster = Cluster::up();
    let settings = ["--poll-interval", "2s", "--fast-poll-interval", "2s", "--submit-rate", "0", "--slurm-timeout", "60s"];
    let plane = ControlPlane::start_with(&cluster, &settings);
    let server = EmbeddingServer::start();
    for number in 0..jobs.div_ceil(SHARDS_EACH) {
        let name = format!("held-{number}");
        let shards = SHARDS_EACH.min(jobs - number * SHARDS_EACH);
        let held = experiment(&name, shards, &server).replace("shard: trial", "shard: trial, extraArgs: [--hold]");
        let file = plane.file(&format!("{name}.yaml"), &held);
        plane.emctl_ok(&["submit", "-f", &file.to_string_lossy()]);
    }
    let limit = Duration::from_secs(60 + jobs as u64 / 5);
    em_e2e::wait_until("all jobs are queued", limit, || {
        let queued = cluster.slurm("squeue", &["-h", "-t", "PD", "-o", "%i"]).lines().count();
        std::thread::sleep(Duration::from_secs(1));
        (queued == jobs).then_some(())
    });
    // The last submission's answer is recorded, and the burst of the budget is spent.
    std::thread::sleep(Duration::from_secs(6));
    let before = (listings(&plane), job_info_requests(&cluster));
    std::thread::sleep(Duration::from_secs(window));
    let after = (listings(&plane), job_info_requests(&cluster));
    let (ours, theirs) = (after.0 - before.0, after.1 - before.1);
    assert!(ours.abs_diff(theirs) <= 1, "we count {ours} listings, the controller {theirs}");
    ours
}

/// By our metric.
fn listings(plane: &ControlPlane) -> u64 {
    let text = plane.get_text("/metrics");
    let counted = text.lines().filter(|line| line.starts_with("em_slurm_rpc_total{") && line.contains("verb=\"list\""));
    counted.map(|line| line.rsplit(' ').next().and_then(|number| number.parse::<u64>().ok()).expect("a number")).sum()
}

/// By sdiag(1): requests for the list of jobs, anybody's.
fn job_info_requests(cluster: &Cluster) -> u64 {
    let text = cluster.slurm("sdiag", &[]);
    let line = text.lines().find(|line| line.trim_start().starts_with("REQUEST_JOB_INFO ")).unwrap_or_default();
    line.split("count:").nth(1).and_then(|rest| rest.split_whitespace().next()).and_then(|number| number.parse().ok()).unwrap_or(0)
}
