//! How fast jobs are submitted and 5,000 of them listed, on a private cluster on this machine. `make bench-slurm`.
//!
//! The peer of each rate is plain `sbatch`, as many at a time, in the same round; ratios are paired by round.

#![expect(clippy::unwrap_used, reason = "a bench ends where something is missing")]

#[path = "../tests/it/cluster.rs"]
#[allow(dead_code, reason = "shared with the tests, which use the rest")]
mod cluster;

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use cluster::{Cluster, agent, job};
use em_slurm::{
    CliScheduler, JobScript, RestEndpoint, RestScheduler, RestSettings, SQUEUE_FORMAT, Scheduler, TokenSource, parse_squeue,
};
use futures_util::{StreamExt, stream};

const ROUNDS: usize = 7;
const JOBS: usize = 300;
const AT_ONCE: usize = 8;
const LISTED: usize = 5_000;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let cluster = Cluster::up(&[("REST", "1")]);
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    println!(
        "Slurm {} and its clients on {cores} cores; {ROUNDS} rounds of {JOBS} held jobs, {AT_ONCE} at a time",
        cluster.version()
    );
    let mut held = job(&cluster, "em-bench", agent("true"));
    held.options.extra_args = vec!["--hold".to_owned()];
    held.options.time_minutes = Some(1);
    cluster.write(&held);
    let (cli, rest) = (cluster.scheduler(), rest(&cluster));

    let (mut plain, mut by_cli, mut by_rest) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        plain.push(plain_sbatch(&cluster, &held));
        by_cli.push(submissions(&cli, &held, &format!("em-cli-{round}")).await);
        by_rest.push(submissions(&rest, &held, &format!("em-rest-{round}")).await);
        cluster.slurm("scancel", &["--state=PENDING", "--user", &cluster.user()]);
    }
    report("plain sbatch", &plain, None);
    report("CliScheduler", &by_cli, Some(&plain));
    report("RestScheduler (token, TCP)", &by_rest, Some(&plain));

    let more = LISTED.saturating_sub(cli.list("em-").await.expect("a listing").len());
    let jobs: Vec<JobScript> = (0..more).map(|number| named(&held, &format!("em-list-{number}"))).collect();
    submit_all(&rest, &jobs).await;
    listing(&cluster, &cli).await;
}

fn rest(cluster: &Cluster) -> RestScheduler {
    let script = format!(". '{}' && echo \"$SLURMRESTD_URL\"", cluster.dir().join("env.sh").display());
    let output = Command::new("bash").args(["-c", &script]).output().unwrap();
    let url = String::from_utf8(output.stdout).unwrap().trim().to_owned();
    let conf = format!("SLURM_CONF={}", cluster.conf().display());
    let token = ["env", &conf, "scontrol", "token", "lifespan=3600"].map(str::to_owned).to_vec();
    let settings = RestSettings::new(RestEndpoint::Url(url), cluster.user());
    RestScheduler::new(RestSettings { token: Some(TokenSource::Command(token)), ..settings }).expect("settings")
}

fn named(job: &JobScript, name: &str) -> JobScript {
    JobScript { name: name.to_owned(), ..job.clone() }
}

/// Jobs a second.
async fn submissions(slurm: &dyn Scheduler, held: &JobScript, name: &str) -> f64 {
    let jobs: Vec<JobScript> = (0..JOBS).map(|number| named(held, &format!("{name}-{number}"))).collect();
    let begin = Instant::now();
    submit_all(slurm, &jobs).await;
    JOBS as f64 / begin.elapsed().as_secs_f64()
}

async fn submit_all(slurm: &dyn Scheduler, jobs: &[JobScript]) {
    let mut submissions = Vec::with_capacity(jobs.len());
    for job in jobs {
        submissions.push(slurm.submit(job));
    }
    let mut answers = stream::iter(submissions).buffer_unordered(AT_ONCE);
    while let Some(answer) = answers.next().await {
        answer.expect("a submission of the bench");
    }
}

/// What a shell does.
fn plain_sbatch(cluster: &Cluster, held: &JobScript) -> f64 {
    let begin = Instant::now();
    let status = Command::new("bash")
        .args(["-c", &format!("seq {JOBS} | xargs -P {AT_ONCE} -I % sbatch --parsable --job-name=em-plain-% job.sh")])
        .current_dir(&held.job_dir)
        .env("SLURM_CONF", cluster.conf())
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success(), "plain sbatch failed");
    JOBS as f64 / begin.elapsed().as_secs_f64()
}

fn spread(values: &[f64]) -> (f64, f64, f64) {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    (sorted[0], sorted[sorted.len() / 2], sorted[sorted.len() - 1])
}

fn report(name: &str, rates: &[f64], peer: Option<&[f64]>) {
    let (least, median, most) = spread(rates);
    let ratio = peer.map_or(String::new(), |peer| {
        let ratios: Vec<f64> = rates.iter().zip(peer).map(|(rate, peer)| rate / peer).collect();
        let (least, median, most) = spread(&ratios);
        format!("   {median:.2}x plain sbatch [{least:.2}, {most:.2}]")
    });
    println!("{name:28} {median:6.0} jobs/s [{least:.0}, {most:.0}]{ratio}");
}

/// The whole call, and what of it is reading squeue's answer.
async fn listing(cluster: &Cluster, cli: &CliScheduler) {
    let jobs = cli.list("em-").await.expect("a listing").len();
    let whole = times(cli).await;
    let squeue = Command::new("squeue")
        .args(["-h", "-t", "all", "-O", SQUEUE_FORMAT])
        .env("SLURM_CONF", cluster.conf())
        .env("SLURM_TIME_FORMAT", "%s")
        .output()
        .unwrap();
    let answer = String::from_utf8(squeue.stdout).unwrap();
    let reading: Vec<f64> = (0..50)
        .map(|_| {
            let begin = Instant::now();
            assert!(parse_squeue(std::hint::black_box(&answer)).unwrap().len() >= LISTED);
            begin.elapsed().as_secs_f64() * 1_000.0
        })
        .collect();
    for (name, times) in [("listing, whole call", whole), ("reading squeue's answer", reading)] {
        let (least, median, most) = spread(&times);
        println!("{name:28} {median:6.1} ms [{least:.1}, {most:.1}] for {jobs} jobs");
    }
}

/// Milliseconds of 15 listings.
async fn times(slurm: &CliScheduler) -> Vec<f64> {
    let mut times = Vec::new();
    for _ in 0..15 {
        let begin = Instant::now();
        slurm.list("em-").await.expect("a listing");
        times.push(begin.elapsed().as_secs_f64() * 1_000.0);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    times
}
