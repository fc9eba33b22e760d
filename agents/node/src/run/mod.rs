//! `em-agent run`: executes the plan of one job. Preflight, claim, then every planned service with its trials; records and
//! measurements go through the spool to the control plane. Read in this order: [`plan`], [`claim`], [`service`], [`trial`],
//! [`job`] (how a measurement leaves), [`spool`], [`records`], [`uplink`], [`shutdown`].
//!
//! A plan without a server is worked on alone ([`standalone`]): the job directory decides the claim and keeps the measurements.
//!
//! Exit codes: 0 the plan was worked on to its end, or the run was stopped, and nothing was lost (what was not delivered lies
//! in the spool); without a server, 0 every trial was measured; 1 it could not begin; 70 an orderly end took too long; 74 something
//! is neither delivered nor in the spool; 75 the attempt belongs to another agent; 76 without a server: some trial was not measured.

mod backoff;
mod batch;
mod capsule;
mod claim;
mod deadline;
mod exposition;
mod generator;
mod headroom;
mod job;
mod log_budget;
mod log_tail;
mod placement;
mod plan;
mod preflight;
mod records;
mod service;
mod shutdown;
mod spool;
mod standalone;
mod texts;
mod trial;
mod uplink;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use em_api::Timestamp;
use em_api::agent::{AgentPhase, RecordBody};
use em_api::client::{Client, ClientError};
use tracing::{error, info};

use claim::{Claim, ClaimError};
use job::{Failure, Run, reason};
use plan::{JobDir, PlanError};
use records::Recorder;
use shutdown::Stop;
use spool::Spool;
use texts::Texts;
use uplink::{Delivered, Link, Uplink};

pub(crate) use capsule::node;

/// For what is left at the end of the plan; the control plane reads the spool otherwise.
const DELIVER_WITHIN: Duration = Duration::from_secs(30);
/// After a signal: one last try.
const DELIVER_WITHIN_WHEN_STOPPED: Duration = Duration::from_secs(4);
const EXIT_LOST: u8 = 74;
const EXIT_NOT_OURS: u8 = 75;
const EXIT_NOT_ALL_MEASURED: u8 = 76;

#[derive(Clone, Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 nothing was lost (worked to the end, or stopped); 1 it could not begin; 70 it had to be cut off; \
74 something is neither delivered nor in the spool; 75 the attempt belongs to another agent; 76 a run without a server did not \
measure every trial."
)]
pub(crate) struct RunArgs {
    /// The job's plan.json; its folder is the job directory.
    #[arg(long, value_name = "FILE")]
    plan: PathBuf,
}

#[derive(Debug, thiserror::Error)]
enum RunError {
    #[error(transparent)]
    Plan(#[from] PlanError),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Claim(#[from] ClaimError),
    #[error("the spool folder {path} cannot be used; another run of this job writes there, or the disk is full")]
    Spool {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("setting up signals, metrics or this program's own path")]
    Setup(#[source] std::io::Error),
}

/// Runs to the end and says how it went.
pub(crate) async fn run(args: &RunArgs) -> ExitCode {
    match execute(args).await {
        Ok(code) => code,
        Err(problem) => {
            error!("{}", crate::chain(&problem));
            match problem {
                RunError::Claim(ClaimError::Refused(_)) => ExitCode::from(EXIT_NOT_OURS),
                RunError::Claim(ClaimError::Stopped) => ExitCode::SUCCESS,
                _ => ExitCode::FAILURE,
            }
        }
    }
}

async fn execute(args: &RunArgs) -> Result<ExitCode, RunError> {
    let job = JobDir::open(&args.plan)?;
    let stop = Stop::default();
    stop.listen().map_err(RunError::Setup)?;
    let to = match &job.plan.server {
        Some(server) => Some((Client::new(&server.url, Some(job.token()))?, server.claim_timeout)),
        None => None,
    };
    let preflight = preflight::gpus(job.plan.gpus_expected);
    let request = claim::request(&job.plan, node());
    let claim = match &to {
        Some((client, claim_timeout)) => claim::claim(client, *claim_timeout, &job, &request, &stop).await?,
        None => claim::claim_alone(&job, &request)?,
    };
    stop.obey(claim.directive);
    let alone = to.is_none();
    let run = begin(job, to.map(|(client, _)| client), claim, request, stop).await?;
    work(&run, preflight).await;
    let told = alone.then(|| standalone::Told::of(&run));
    let code = end(run).await;
    Ok(match told {
        Some(told) => told.print(code),
        None => code,
    })
}

/// Everything that is there for the whole of a claimed run.
async fn begin(
    job: JobDir,
    client: Option<Client>,
    claim: Claim,
    request: em_api::agent::ClaimRequest,
    stop: Stop,
) -> Result<Run, RunError> {
    let epoch = claim.epoch;
    let folder = job.spool(epoch);
    let fail = |source| RunError::Spool { path: folder.clone(), source };
    let spool = Spool::create(folder.clone()).map_err(fail)?;
    let recorder = Recorder::start(&spool).map_err(fail)?;
    let placement = placement::Placement::of_this_process();
    let environment = capsule::fill(&job.plan, &placement).await;
    let metrics = exposition::Metrics::new(&job.plan.experiment, &request.node)
        .map_err(|error| RunError::Setup(std::io::Error::other(error)))?;
    let exe = std::env::current_exe().map_err(RunError::Setup)?;
    let link = |client| Link {
        client,
        attempt: job.plan.attempt,
        epoch,
        unconfirmed: (!claim.confirmed).then_some(request),
        records: spool.records_path(),
        written: recorder.written(),
        stop: stop.clone(),
    };
    let uplink = client.map_or_else(Uplink::to_nowhere, |client| Uplink::start(link(client)));
    let job_end = deadline::job_end().await;
    let metrics = Arc::new(metrics);
    let handed_in = AtomicUsize::new(0);
    Ok(Run {
        job,
        epoch,
        spool,
        recorder,
        uplink,
        stop,
        placement,
        environment,
        job_end,
        exe,
        metrics,
        handed_in,
        headroom: headroom::Headroom::default(),
    })
}

/// Works on the plan while metrics are pushed.
async fn work(run: &Run, preflight: Result<(), String>) {
    tokio::select! {
        () = services(run, preflight) => {}
        () = exposition::push(&run.metrics, &run.recorder) => {}
    }
    run.recorder.record(RecordBody::Exposition { text: run.metrics.text() });
}

async fn services(run: &Run, preflight: Result<(), String>) {
    let trials = run.job.trials_total();
    let words = format!("{trials} trials on {}, {}", run.environment.node, run.placement.describe());
    run.recorder.phase(AgentPhase::Preflight, &words, None, None);
    let texts = match preflight {
        Ok(()) => load_texts(run).await,
        Err(message) => Err(Failure::new(reason::GPU_NOT_VISIBLE, message)),
    };
    for planned in &run.job.plan.services {
        match &texts {
            _ if run.stop.drained() => break,
            Ok(texts) => service::execute(run, texts, planned).await,
            Err(failure) => run.fail_all(&planned.backend, planned.repetition, &planned.trials, failure).await,
        }
    }
}

async fn load_texts(run: &Run) -> Result<Texts, Failure> {
    let dataset = &run.job.plan.dataset;
    let words = format!("{}, at most {} texts", dataset.source.as_str(), dataset.limit);
    run.recorder.phase(AgentPhase::LoadingTexts, &words, None, None);
    let plan = run.job.plan.clone();
    let loaded = tokio::task::spawn_blocking(move || texts::load(&plan)).await;
    let fail = |message| Failure::new(reason::LOAD_FAILED, message);
    loaded.map_err(|panic| fail(panic.to_string()))?.map_err(|problem| fail(crate::chain(&problem)))
}

/// Says farewell and waits, within bounds, until everything is delivered.
async fn end(run: Run) -> ExitCode {
    let trials = run.job.trials_total();
    let handed_in = run.handed_in.load(Ordering::Relaxed);
    let message = match (run.stop.drained(), handed_in == trials) {
        (false, _) | (true, true) => format!("{handed_in} of {trials} trials handed in"),
        (true, false) => format!("{handed_in} of {trials} trials handed in; {}", run.stop.reason()),
    };
    run.recorder.phase(AgentPhase::Done, &message, None, None);
    run.recorder.record(RecordBody::Farewell { message });
    run.recorder.sync().await;
    let lost_records = run.recorder.written().borrow().lost;
    let delivered = run.uplink.finish(&run.stop, DELIVER_WITHIN, DELIVER_WITHIN_WHEN_STOPPED).await;
    judge(delivered, lost_records)
}

fn judge(delivered: Delivered, lost_records: u64) -> ExitCode {
    if delivered.measurements_left > 0 || delivered.records_left > 0 {
        info!(
            "{} measurements and {} bytes of records were not taken; the control plane finds them in the spool",
            delivered.measurements_left, delivered.records_left
        );
    }
    if delivered.fenced {
        return ExitCode::from(EXIT_NOT_OURS);
    }
    if delivered.lost > 0 || lost_records > 0 {
        error!("lost: {} measurements and {lost_records} records are neither delivered nor in the spool", delivered.lost);
        return ExitCode::from(EXIT_LOST);
    }
    info!("done at {}", Timestamp::now());
    ExitCode::SUCCESS
}
