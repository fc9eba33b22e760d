//! `emctl events`: what happened to an experiment and why, once or as it happens.

use std::time::Duration;

use em_api::client::{Client, ClientError};
use em_api::status::{Event, EventList, EventType};

use crate::cli::Format;
use crate::failure::Failure;
use crate::human;
use crate::output::{note, print, show};
use crate::table::{Align, render};

const PAUSE: Duration = Duration::from_secs(1);

pub(crate) async fn run(client: &Client, name: &str, watch: bool, format: Format) -> Result<(), Failure> {
    let names = |list: &EventList| list.items.iter().map(|event| format!("{}\n", event.reason)).collect();
    let mut seen = client.events(name).await?;
    if !watch {
        return show(&seen, format, |list| table(&list.items), names);
    }
    if format == Format::Table {
        print(&columns(TITLES))?;
    }
    print_each(&seen.items, format)?;
    let mut after = seen.items.last().map_or(0, |event| event.seq);
    let mut away = false;
    loop {
        tokio::time::sleep(PAUSE).await;
        seen = match client.events(name).await {
            Ok(list) => list,
            Err(error @ ClientError::Unreachable { .. }) => {
                if !std::mem::replace(&mut away, true) {
                    note(&format!("{error}; trying again"));
                }
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        away = false;
        seen.items.retain(|event| event.seq > after);
        after = seen.items.last().map_or(after, |event| event.seq);
        print_each(&seen.items, format)?;
    }
}

/// A line an event; JSON in one line each, YAML as documents.
fn print_each(events: &[Event], format: Format) -> Result<(), Failure> {
    events.iter().try_for_each(|event| match format {
        Format::Json => print(&serde_json::to_string(event).unwrap_or_default()),
        Format::Yaml => print(&format!("---\n{}", crate::output::yaml(event))),
        Format::Name => print(&event.reason),
        Format::Table => print(&columns(row(event).each_ref().map(String::as_str))),
    })
}

/// Wide enough for what is usual: what will come is not known yet.
fn columns([at, kind, who, reason, message]: [&str; 5]) -> String {
    format!("{at:<19}  {kind:<7}  {who:<10}  {reason:<18}  {message}")
}

const TITLES: [&str; 5] = ["TIME (UTC)", "TYPE", "WHO", "REASON", "MESSAGE"];

pub(crate) fn table(events: &[Event]) -> String {
    render(&TITLES.map(|title| (title, Align::Left)), &events.iter().map(|event| row(event).to_vec()).collect::<Vec<_>>())
}

fn row(event: &Event) -> [String; 5] {
    let kind = if event.kind == EventType::Warning { "Warning" } else { "Normal" };
    [human::time(event.at), kind.to_owned(), event.who.clone(), event.reason.clone(), human::one_line(&event.message)]
}
