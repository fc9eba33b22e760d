//! `emctl describe`: all that the server knows of one experiment, for a person who asks "why?".

use std::fmt::Write as _;

use em_api::client::Client;
use em_api::experiment::Experiment;
use em_api::status::{ConditionStatus, Event, Job, Trial, TrialPhase};

use crate::cli::Format;
use crate::events::table as events_table;
use crate::failure::Failure;
use crate::human;
use crate::output::show;
use crate::progress;
use crate::table::{Align, render};

const LAST_EVENTS: usize = 10;
const LOG_LINES: usize = 12;

pub(crate) async fn run(client: &Client, name: &str, format: Format) -> Result<(), Failure> {
    let experiment = client.experiment(name).await?;
    if format != Format::Table {
        return show(&experiment, format, |_| String::new(), |experiment| experiment.metadata.name.clone());
    }
    let (jobs, events, trials) = (client.jobs(name).await?, client.events(name).await?, client.trials(name).await?);
    crate::output::print(&describe(&experiment, &jobs.items, &events.items, &trials.items))
}

fn describe(experiment: &Experiment, jobs: &[Job], events: &[Event], trials: &[Trial]) -> String {
    let (metadata, spec, status) = (&experiment.metadata, &experiment.spec, &experiment.status);
    let mut text = String::new();
    let mut put = |name: &str, value: String| {
        if !value.is_empty() {
            let _ = writeln!(text, "{:<14}{value}", format!("{name}:"));
        }
    };
    let pairs = |map: &std::collections::BTreeMap<String, String>| {
        map.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(", ")
    };
    put("Name", metadata.name.clone());
    put("Uid", metadata.uid.to_string());
    put("Owner", metadata.owner.clone());
    put("Created", format!("{} UTC", human::time(metadata.created_at)));
    put("Labels", pairs(&metadata.labels));
    put("Model", format!("{} @ {} ({})", spec.model.id, spec.model.revision, spec.model.dtype.as_str()));
    put("Data set", format!("{}, {} texts", spec.dataset.source.as_str(), human::number(spec.dataset.limit as f64)));
    put(
        "Backends",
        spec.backends.iter().map(|backend| format!("{} ({})", backend.name, backend.kind)).collect::<Vec<_>>().join(", "),
    );
    put("Batch sizes", list(&spec.matrix.batch_sizes));
    put("Concurrency", spec.matrix.concurrency.as_deref().map(list).unwrap_or_default());
    put("Requests/s", spec.matrix.request_rate.as_deref().map(list).unwrap_or_default());
    put("Texts/s", spec.matrix.text_rate.as_deref().map(list).unwrap_or_default());
    put("Window", format!("{} after {} of warm-up, {} repetitions", spec.load.duration, spec.load.warmup, spec.load.repetitions));
    put("Status", progress::line(experiment));
    put("Message", status.message.as_deref().map(human::one_line).unwrap_or_default());
    put("Work", status.estimated_seconds.map(|seconds| format!("about {}", human::seconds(seconds))).unwrap_or_default());
    if !status.conditions.is_empty() {
        let state = |state| match state {
            ConditionStatus::True => "True",
            ConditionStatus::False => "False",
            ConditionStatus::Unknown => "Unknown",
        };
        let row = |condition: &em_api::status::Condition| {
            vec![
                format!("{:?}", condition.kind),
                state(condition.status).to_owned(),
                condition.reason.clone(),
                human::one_line(&condition.message),
            ]
        };
        section(&mut text, "Conditions", &["TYPE", "STATUS", "REASON", "MESSAGE"], status.conditions.iter().map(row).collect());
    }
    if !jobs.is_empty() {
        let row = |job: &Job| {
            let or_dash = |value: &Option<String>| value.clone().unwrap_or_else(|| "—".to_owned());
            vec![or_dash(&job.id), job.attempt.to_string(), job.state.clone(), or_dash(&job.node), or_dash(&job.reason)]
        };
        section(&mut text, "Jobs", &["JOB", "ATTEMPT", "STATE", "NODE", "REASON"], jobs.iter().map(row).collect());
    }
    failures(&mut text, trials);
    if !events.is_empty() {
        let _ = write!(text, "\nLast events\n{}", indent(&events_table(&events[events.len().saturating_sub(LAST_EVENTS)..])));
    }
    text
}

/// Each failed trial with its reason; the end of a service's log once, where several trials failed by the same start.
fn failures(text: &mut String, trials: &[Trial]) {
    let mut told: Vec<&str> = Vec::new();
    for trial in trials.iter().filter(|trial| trial.phase == TrialPhase::Failed) {
        if told.is_empty() {
            text.push_str("\nFailed trials\n");
        }
        let (reason, message) =
            (trial.reason.as_deref().unwrap_or("Failed"), trial.message.as_deref().map(human::one_line).unwrap_or_default());
        let _ = writeln!(
            text,
            "  {} batch {} {} repetition {}: {reason}: {message}",
            trial.backend, trial.batch_size, trial.load, trial.repetition
        );
        let tail = trial.log_tail.as_deref().unwrap_or_default();
        if !told.contains(&tail) {
            let lines: Vec<&str> = tail.lines().collect();
            for line in &lines[lines.len().saturating_sub(LOG_LINES)..] {
                let _ = writeln!(text, "    | {}", human::harmless(line));
            }
        }
        told.push(tail);
    }
}

fn section(text: &mut String, title: &str, columns: &[&str], rows: Vec<Vec<String>>) {
    let columns: Vec<(&str, Align)> = columns.iter().map(|title| (*title, Align::Left)).collect();
    let _ = write!(text, "\n{title}\n{}", indent(&render(&columns, &rows)));
}

fn indent(table: &str) -> String {
    table.lines().map(|line| format!("  {line}\n")).collect()
}

fn list<T: ToString>(values: &[T]) -> String {
    values.iter().map(T::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::progress::tests::experiment;

    #[test]
    fn everything_about_an_experiment_is_on_one_page() {
        let failed = experiment("Failed");
        let event = json!({"seq": 1, "at": "2026-11-24T12:00:01Z", "type": "Warning", "who": "reconciler", "reason": "TrialFailed",
                           "message": "vllm did not start"});
        let trial = |repetition: u32| {
            json!({"id": "01JDD2T4C3X5B7N9Q1R3S5T7V9", "block": "01JDD2T4C3X5B7N9Q1R3S5T7V9", "backend": "vllm", "batchSize": 16,
                   "load": {"concurrency": 2}, "repetition": repetition, "phase": "Failed", "attempt": null, "epoch": null,
                   "reason": "ServiceStartFailed", "message": "exited with 3", "logTail": "loading\nthe weights are gone", "verdict": null,
                   "textsPerSecond": null, "startedAt": null, "finishedAt": null})
        };
        let events: Vec<Event> = serde_json::from_value(json!([event])).expect("events");
        let trials: Vec<Trial> = serde_json::from_value(json!([trial(1), trial(2)])).expect("trials");
        insta::assert_snapshot!(describe(&failed, &failed.status.jobs, &events, &trials), @"
        Name:         demo-failed
        Uid:          01JDD2T4C3X5B7N9Q1R3S5T7V9
        Owner:        admin
        Created:      2026-11-24 12:00:00 UTC
        Labels:       team=search
        Model:        org/model @ main (float32)
        Data set:     wordnet, 100,000 texts
        Backends:     hf (huggingface), vllm (vllm)
        Batch sizes:  16, 32
        Concurrency:  2
        Window:       10s after 3s of warm-up, 3 repetitions
        Status:       Failed · 10 of 12 trials measured · 2 failed
        Message:      2 trials failed: ServiceStartFailed
        Work:         about 13 min

        Jobs
          JOB   ATTEMPT  STATE      NODE   REASON
          4711  1        COMPLETED  gpu07  —

        Failed trials
          vllm batch 16 concurrency 2 repetition 1: ServiceStartFailed: exited with 3
            | loading
            | the weights are gone
          vllm batch 16 concurrency 2 repetition 2: ServiceStartFailed: exited with 3

        Last events
          TIME (UTC)           TYPE     WHO         REASON       MESSAGE
          2026-11-24 12:00:01  Warning  reconciler  TrialFailed  vllm did not start
        ");
    }
}
