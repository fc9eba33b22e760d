//! `emctl`: the command line of Embedding Meter. Everything it does goes through the control plane's API; what it adds is
//! finding the server, short ways to write an experiment, and output for people.

mod act;
mod capsule;
mod cli;
mod cluster;
mod connect;
mod describe;
mod events;
mod failure;
mod get;
mod human;
mod logs;
mod output;
mod prepare;
mod progress;
mod report;
mod rerun;
mod results;
mod script;
mod standalone;
mod submit;
mod table;
mod wait;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use cli::{Cli, Command};
use em_api::client::experiments::ListOptions;
use failure::Failure;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output::complain(&failure.lines());
            ExitCode::from(failure.exit_code())
        }
    }
}

async fn run(cli: Cli) -> Result<(), Failure> {
    if let Command::Completion { shell } = cli.command {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Cli::command(), "emctl", &mut script);
        return output::print(&String::from_utf8_lossy(&script));
    }
    let client = connect::client(&cli.connection)?;
    let format = cli.output;
    match cli.command {
        Command::Submit(submit) => submit::run(&client, *submit, format).await,
        Command::Rerun(args) => rerun::run(&client, args, format).await,
        Command::Get { name, watch, selector, field_selector } => {
            let options = ListOptions { label_selector: selector, field_selector, ..ListOptions::default() };
            get::run(&client, name, watch, options, format).await
        }
        Command::Describe { name } => describe::run(&client, &name, format).await,
        Command::Logs { name, follow } => logs::run(&client, &name, follow, format).await,
        Command::Events { name, watch } => events::run(&client, &name, watch, format).await,
        Command::Wait { name } => wait::run(&client, &name, format).await,
        Command::Results { name } => results::run(&client, &name, format).await,
        Command::Capsule { name } => capsule::run(&client, &name, format).await,
        Command::Report { name, out } => report::run(&client, &name, &out).await,
        Command::Script(args) => script::run(&client, args).await,
        Command::Prepare(args) => prepare::run(&client, args).await,
        Command::Import { dir, name } => standalone::import(&client, &dir, name.as_deref(), format).await,
        Command::Cancel { name } => act::cancel(&client, &name).await,
        Command::Suspend { name } => act::suspend(&client, &name).await,
        Command::Resume { name } => act::resume(&client, &name).await,
        Command::Patch { name, patch } => act::patch(&client, &name, &patch, format).await,
        Command::Delete { name } => act::delete(&client, &name).await,
        Command::Cluster => cluster::run(&client, format).await,
        Command::Dashboard => act::dashboard(&client).await,
        Command::Completion { .. } => Ok(()),
    }
}
