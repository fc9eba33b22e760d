//! The service without the agent: `cargo run -p em-embed --example embed -- serve --model DIR`, and `prepare DIR`.

use std::process::ExitCode;

use clap::Parser;
use em_embed::{prepare, serve};

#[derive(Parser)]
enum Command {
    /// Serve a model over HTTP.
    Serve(serve::ServeArgs),
    /// Write a model's ONNX graph.
    Prepare(prepare::PrepareArgs),
}

#[tokio::main]
async fn main() -> ExitCode {
    let result = match Command::parse() {
        Command::Serve(args) => serve::run(args).await,
        Command::Prepare(args) => prepare::run(args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::from(serve::exit_code(&error))
        }
    }
}
