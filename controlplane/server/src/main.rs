//! `em-controlplane`: reads settings, starts the server and waits for a signal, or looks whether it would work.

use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use em_controlplane::config::{Args, Command, DoctorArgs, DoctorFormat, LogFormat, SchedulerKind, Settings, resolve};
use em_controlplane::doctor::{self, Demands};
use em_controlplane::serve;
use em_slurm::{CliScheduler, CliSettings, LocalScheduler, LocalSettings, RestScheduler, Scheduler};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    // Whatever we make is for our account only, unless it says otherwise.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let result = match Args::parse().command {
        Command::Serve(args) => resolve(*args).map_err(anyhow::Error::from).and_then(|settings| {
            log_to_stderr(settings.log_format);
            run(&settings).map(|()| ExitCode::SUCCESS)
        }),
        Command::Doctor(args) => examine(*args),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("em-controlplane: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// What is stuck in a file system that hangs cannot be waited for.
const LAST_PATIENCE: Duration = Duration::from_secs(5);

fn run(settings: &Settings) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Runtime::new().context("starting the runtime")?;
    let result = runtime.block_on(serve_until_asked(settings));
    runtime.shutdown_timeout(LAST_PATIENCE);
    result
}

async fn serve_until_asked(settings: &Settings) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
    let mut running = serve::start(settings, scheduler(settings)?).await?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = running.broken() => anyhow::bail!("the reconciler ended unexpectedly"),
    }
    tracing::info!("stopping; jobs go on and the next start finds them");
    running.stop().await;
    Ok(())
}

fn scheduler(settings: &Settings) -> anyhow::Result<Arc<dyn Scheduler>> {
    Ok(match settings.scheduler {
        SchedulerKind::Cli => Arc::new(CliScheduler::new(CliSettings {
            timeout: settings.slurm_timeout,
            bin_dir: settings.slurm_bin_dir.clone(),
            ..CliSettings::default()
        })),
        SchedulerKind::Local => Arc::new(LocalScheduler::new(LocalSettings {
            jobs_at_once: settings.local_jobs,
            gpus: settings.local_gpus.clone(),
            ..LocalSettings::new(settings.state_dir.join("local"))
        })?),
        SchedulerKind::Rest => {
            let rest = settings.rest.clone().context("the settings of slurmrestd")?;
            Arc::new(RestScheduler::new(rest).context("setting up slurmrestd")?)
        }
    })
}

#[tokio::main]
async fn examine(args: DoctorArgs) -> anyhow::Result<ExitCode> {
    let settings = resolve(args.serve)?;
    let demands = Demands { partition: args.partition, account: args.account, qos: args.qos };
    let checks = doctor::examine(&settings, scheduler(&settings)?, &demands).await;
    match args.output {
        DoctorFormat::Text => print!("{}", doctor::table(&checks)),
        DoctorFormat::Json => println!("{}", serde_json::to_string_pretty(&checks)?),
    }
    Ok(if doctor::any_failed(&checks) { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn log_to_stderr(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,sqlx=warn,actix_server=warn"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false);
    match format {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().init(),
    }
}
