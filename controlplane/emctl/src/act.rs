//! Short commands that change something or hand something out.

use em_api::client::Client;
use em_api::spec::Desired;

use crate::cli::Format;
use crate::failure::Failure;
use crate::output::{json, note, print, yaml};
use crate::submit::parse;

pub(crate) async fn cancel(client: &Client, name: &str) -> Result<(), Failure> {
    let experiment = client.set_desired(name, Desired::Cancelled).await?;
    if experiment.status.phase.ended() {
        return print(&format!("{name} has ended already: {}", experiment.status.phase.as_str()));
    }
    print(&format!("{name} is being cancelled; what was measured stays (`emctl results {name}`)"))
}

pub(crate) async fn suspend(client: &Client, name: &str) -> Result<(), Failure> {
    client.set_desired(name, Desired::Suspended).await?;
    print(&format!("{name} is being suspended; finished trials are kept. To go on: `emctl resume {name}`"))
}

pub(crate) async fn resume(client: &Client, name: &str) -> Result<(), Failure> {
    client.set_desired(name, Desired::Run).await?;
    print(&format!("{name} goes on"))
}

/// The server says what of it may not change.
pub(crate) async fn patch(client: &Client, name: &str, patch: &str, format: Format) -> Result<(), Failure> {
    let patch = parse(patch.as_bytes())?;
    let experiment = client.patch_experiment(name, &patch).await?;
    print(&match format {
        Format::Json => json(&experiment),
        Format::Yaml => yaml(&experiment),
        Format::Name => experiment.metadata.name,
        Format::Table => format!("{name} is changed (generation {})", experiment.metadata.generation),
    })
}

pub(crate) async fn delete(client: &Client, name: &str) -> Result<(), Failure> {
    client.delete_experiment(name).await?;
    print(&format!("{name} is being deleted; it goes when no job of it is left"))
}

/// The link alone on standard output, so that it can be handed on; how to reach it from afar beside it.
pub(crate) async fn dashboard(client: &Client) -> Result<(), Failure> {
    let link = client.session_link().await?.url;
    print(&link)?;
    let base = client.base();
    note("This link works once. Open it in a browser on this machine");
    if let (Some("127.0.0.1" | "localhost" | "[::1]"), Some(port)) = (base.host_str(), base.port_or_known_default()) {
        note("or, from your own machine, forward the port first and open it there:");
        note(&format!("  ssh -L {port}:127.0.0.1:{port} {}", this_host()));
    }
    Ok(())
}

fn this_host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" => "THIS_MACHINE".to_owned(),
        name => name.to_owned(),
    }
}
