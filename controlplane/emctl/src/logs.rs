//! `emctl logs`: lines as they come, through interruptions of the server.

use std::time::Duration;

use em_api::client::Client;
use em_api::status::LogLine;

use crate::cli::Format;
use crate::failure::Failure;
use crate::human;
use crate::output::{note, print};

const PAUSE: Duration = Duration::from_secs(2);

pub(crate) async fn run(client: &Client, name: &str, follow: bool, format: Format) -> Result<(), Failure> {
    let mut after = None;
    let mut away = false;
    loop {
        match pass(client, name, follow, format, &mut after).await {
            Ok(()) if !follow => return Ok(()),
            // The server closes a followed log when the experiment has ended, and when it stops itself.
            Ok(()) => match client.experiment(name).await {
                Ok(experiment) if experiment.status.phase.ended() => return Ok(()),
                Ok(_) => {}
                Err(error) if error.problem().is_some() => return Err(error.into()),
                Err(_) => {}
            },
            Err(Failure::Client(error)) if follow && after.is_some() && error.problem().is_none() => {
                if !std::mem::replace(&mut away, true) {
                    note(&format!("{error}; trying again"));
                }
            }
            Err(failure) => return Err(failure),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Everything behind `after`, which moves on with each line.
async fn pass(client: &Client, name: &str, follow: bool, format: Format, after: &mut Option<u64>) -> Result<(), Failure> {
    let mut lines = client.logs(name, *after, follow).await?;
    while let Some(line) = lines.next().await? {
        match format {
            Format::Json => print(&serde_json::to_string(&line).unwrap_or_default())?,
            _ => print(&shown(&line))?,
        }
        *after = Some(line.seq);
    }
    Ok(())
}

/// `14:03:05 vllm service | …`; what a service wrote cannot steer the terminal.
fn shown(line: &LogLine) -> String {
    let clock = human::time(line.at);
    let clock = clock.split(' ').next_back().unwrap_or_default();
    let source = match &line.backend {
        Some(backend) => format!("{backend} {}", line.stream),
        None => line.stream.clone(),
    };
    format!("{clock} {source} | {}", human::harmless(&line.line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_when_and_who_and_cannot_steer_the_terminal() {
        let line = LogLine {
            seq: 1,
            at: "2026-11-24T14:03:05Z".parse().expect("a time"),
            stream: "service".to_owned(),
            backend: Some("vllm".to_owned()),
            trial: None,
            line: "\u{1b}[31mred\u{7}".to_owned(),
        };
        assert_eq!(shown(&line), "14:03:05 vllm service | ·[31mred·");
    }
}
