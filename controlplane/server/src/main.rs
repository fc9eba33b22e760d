//! `em-controlplane`: reads settings, starts the server, waits for a signal.

use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use clap::Parser;
use em_controlplane::config::{Args, Command, LogFormat, SchedulerKind, Settings, resolve};
use em_controlplane::serve;
use em_slurm::{CliScheduler, CliSettings, LocalScheduler, LocalSettings, RestScheduler, Scheduler};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let Command::Serve(args) = Args::parse().command;
    let result = resolve(*args).map_err(anyhow::Error::from).and_then(|settings| {
        // Whatever we make is for our account only, unless it says otherwise.
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
        log_to_stderr(settings.log_format);
        run(&settings)
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("em-controlplane: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn run(settings: &Settings) -> anyhow::Result<()> {
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
