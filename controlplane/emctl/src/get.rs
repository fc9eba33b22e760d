//! `emctl get`: experiments as a table or as they are, once or at each change.

use std::time::Duration;

use em_api::client::experiments::ListOptions;
use em_api::client::{Client, ClientError};
use em_api::experiment::Experiment;
use jiff::Timestamp;
use serde::Serialize;

use crate::cli::Format;
use crate::failure::Failure;
use crate::human;
use crate::output::{note, show};
use crate::progress::waits_for;
use crate::table::{Align, render};

const PAUSE: Duration = Duration::from_secs(2);

/// The same shape as the API's list, whatever the number of pages.
#[derive(Serialize, PartialEq)]
struct List {
    items: Vec<Experiment>,
}

pub(crate) async fn run(
    client: &Client,
    name: Option<String>,
    watch: bool,
    options: ListOptions,
    format: Format,
) -> Result<(), Failure> {
    let mut shown: Option<List> = None;
    loop {
        match read(client, name.as_deref(), &options).await {
            Ok(list) if shown.as_ref() != Some(&list) => {
                print(&list, name.is_some(), format)?;
                shown = Some(list);
            }
            Ok(_) => {}
            Err(error @ ClientError::Unreachable { .. }) if shown.is_some() => note(&format!("{error}; trying again")),
            Err(error) => return Err(error.into()),
        }
        if !watch {
            return Ok(());
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn read(client: &Client, name: Option<&str>, options: &ListOptions) -> Result<List, ClientError> {
    let items = match name {
        Some(name) => vec![client.experiment(name).await?],
        None => client.all_experiments(options.clone()).await?,
    };
    Ok(List { items })
}

fn print(list: &List, single: bool, format: Format) -> Result<(), Failure> {
    let names = |list: &List| list.items.iter().map(|experiment| format!("{}\n", experiment.metadata.name)).collect();
    match list.items.first() {
        Some(experiment) if single && matches!(format, Format::Json | Format::Yaml) => {
            show(experiment, format, |_| String::new(), |_| String::new())
        }
        _ => show(list, format, |list| table(&list.items, Timestamp::now()), names),
    }
}

fn table(experiments: &[Experiment], now: Timestamp) -> String {
    if experiments.is_empty() {
        return "no experiments; post one with `emctl submit -f FILE`\n".to_owned();
    }
    let columns = [
        ("NAME", Align::Left),
        ("PHASE", Align::Left),
        ("TRIALS", Align::Right),
        ("MODEL", Align::Left),
        ("BACKENDS", Align::Left),
        ("AGE", Align::Right),
        ("MESSAGE", Align::Left),
    ];
    let row = |experiment: &Experiment| {
        let trials = &experiment.status.trials;
        let backends: Vec<&str> = experiment.spec.backends.iter().map(|backend| backend.name.as_str()).collect();
        vec![
            experiment.metadata.name.clone(),
            experiment.status.phase.as_str().to_owned(),
            format!("{}/{}", trials.succeeded, trials.total),
            experiment.spec.model.id.clone(),
            shorten(&backends.join(","), 40),
            human::age(experiment.metadata.created_at, now),
            shorten(
                &waits_for(&experiment.status)
                    .or_else(|| experiment.status.message.as_deref().map(human::one_line))
                    .unwrap_or_default(),
                60,
            ),
        ]
    };
    render(&columns, &experiments.iter().map(row).collect::<Vec<_>>())
}

fn shorten(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::tests::experiment;

    #[test]
    fn the_table_says_where_each_experiment_stands() {
        let now = "2026-11-24T12:30:00Z".parse().expect("a time");
        insta::assert_snapshot!(table(&[experiment("Queued"), experiment("Running"), experiment("Failed")], now), @"
        NAME          PHASE    TRIALS  MODEL      BACKENDS     AGE  MESSAGE
        demo-queued   Queued     0/12  org/model  hf,vllm   30 min  job 4711 waits: Priority (starts about Nov 24 12:40 UTC)
        demo-running  Running    3/12  org/model  hf,vllm   30 min
        demo-failed   Failed    10/12  org/model  hf,vllm   30 min  2 trials failed: ServiceStartFailed
        ");
        insta::assert_snapshot!(table(&[], now), @"no experiments; post one with `emctl submit -f FILE`");
    }
}
