//! `em-agent`: the one binary on compute nodes. `run` executes the plan of a job; everything that it needs (embedding
//! services, load generation, sampling, filling the store) is here too, each also a command of its own.

mod doctor;
mod gpu;
mod inputs;
mod logging;
mod orphan;
mod run;

use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

#[derive(Parser)]
#[command(name = "em-agent", version, about = "Embedding Meter's agent on compute nodes", propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Execute the plan of a job: start services, drive load, hand in measurements
    Run(run::RunArgs),
    /// Serve embeddings on ONNX Runtime
    Serve(em_embed::serve::ServeArgs),
    /// Drive load against a service and write a report
    Load(em_load::cli::LoadArgs),
    /// Work on data sets
    #[command(subcommand)]
    Data(em_load::cli::DataCommand),
    /// Show visible GPUs and what this node is
    Gpu(gpu::GpuArgs),
    /// Work on model files
    #[command(subcommand)]
    Model(ModelCommand),
    /// Fill the input store: models, data sets, environments
    Setup(em_embed::setup::SetupArgs),
    /// Check that a running embedding server does what is needed to be measured beside others
    Conformance(em_embed::conformance::ConformanceArgs),
    /// Check whether this node can run an experiment
    Doctor(doctor::DoctorArgs),
}

#[derive(Subcommand)]
enum ModelCommand {
    /// Write the ONNX graph of a model from its safetensors
    Prepare(em_embed::prepare::PrepareArgs),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum OutputFormat {
    #[default]
    Text,
    Json,
}

fn main() -> ExitCode {
    orphan::die_with_parent();
    let cli = Cli::parse();
    logging::init();
    match cli.command {
        Command::Run(args) => on_runtime(AGENT_THREADS, run::run(&args)),
        Command::Doctor(args) => on_runtime(AGENT_THREADS, doctor::run(&args)),
        Command::Conformance(args) => on_runtime(AGENT_THREADS, async { ExitCode::from(em_embed::conformance::run(args).await) }),
        Command::Gpu(args) => {
            gpu::run(&args);
            ExitCode::SUCCESS
        }
        Command::Serve(args) => on_runtime(None, async { code(em_embed::serve::run(args).await, em_embed::serve::exit_code) }),
        Command::Load(args) => on_runtime(None, async {
            match em_load::cli::run(args).await {
                Ok(status) => u8::try_from(status).map_or(ExitCode::FAILURE, ExitCode::from),
                Err(problem) => code(Err(problem), |_| NOT_MEASURED),
            }
        }),
        Command::Data(command) => code(em_load::cli::data(&command), |_| 1),
        Command::Model(ModelCommand::Prepare(args)) => code(em_embed::prepare::run(args), |_| 1),
        Command::Setup(args) => code(em_embed::setup::run(args), |_| 1),
    }
}

/// The agent waits nearly always, and the node's cores are for what is measured.
const AGENT_THREADS: Option<usize> = Some(2);
/// Of `load`: see em_load::cli.
const NOT_MEASURED: u8 = 2;

/// `threads`: default: one a core. Children are started from the main thread, which lives as long as the process: the kernel
/// ends them with the *thread* that started them.
fn on_runtime(threads: Option<usize>, work: impl Future<Output = ExitCode>) -> ExitCode {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = threads {
        builder.worker_threads(threads);
    }
    match builder.enable_all().build() {
        Ok(runtime) => {
            let code = runtime.block_on(work);
            // A blocking read on a dead file system must not hold the process.
            runtime.shutdown_background();
            code
        }
        Err(problem) => code(Err(problem.into()), |_| 1),
    }
}

fn code(result: anyhow::Result<()>, of: impl Fn(&anyhow::Error) -> u8) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("error: {problem:#}");
            ExitCode::from(of(&problem))
        }
    }
}

/// An error with its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
