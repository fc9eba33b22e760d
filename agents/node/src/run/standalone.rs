//! The end of a run without a server: nobody else tells what was measured, so this does, on standard output.

use std::io::Write as _;
use std::process::ExitCode;

use em_api::measurement::{Measurement, Outcome};

use super::EXIT_NOT_ALL_MEASURED;
use super::job::Run;

/// What there is to tell. Figures of single trials; results with their statistics are the control plane's, after `emctl import`.
pub(super) struct Told {
    text: String,
    measured: usize,
    planned: usize,
}

impl Told {
    /// Reads the spool, where every measurement of this run lies.
    pub(super) fn of(run: &Run) -> Self {
        let mut text = format!(
            "{:<16} {:>5} {:>16} {:>3} {:>12} {:>12} {:>8}  outcome\n",
            "backend", "batch", "load", "rep", "texts/s", "requests/s", "errors"
        );
        let (mut measured, mut planned) = (0, 0);
        for service in &run.job.plan.services {
            for trial in &service.trials {
                planned += 1;
                let load = serde_json::to_string(&trial.load).unwrap_or_default();
                let load = load.trim_matches(['{', '}']).replace('"', "");
                text.push_str(&format!("{:<16} {:>5} {load:>16} {:>3} ", service.backend, trial.batch_size, service.repetition));
                let path = run.spool.measurement_path(trial.id);
                let found = std::fs::read(path).ok().and_then(|json| serde_json::from_slice::<Measurement>(&json).ok());
                let (figures, outcome) = match found.map(|measurement| measurement.outcome) {
                    Some(Outcome::Measured { load }) => {
                        measured += 1;
                        let per_second = |count: u64| count as f64 / load.window_s.max(f64::EPSILON);
                        let (texts, requests) = (per_second(load.texts_ok), per_second(load.requests_ok));
                        (format!("{texts:>12.1} {requests:>12.1} {:>8}", load.counts.errors()), "measured".to_owned())
                    }
                    Some(Outcome::Failed { reason, message, .. }) => (nothing(), format!("{reason}: {message}")),
                    Some(Outcome::Interrupted { message }) => (nothing(), format!("interrupted: {message}")),
                    None => (nothing(), "not begun".to_owned()),
                };
                text.push_str(&format!("{figures}  {outcome}\n"));
            }
        }
        text.push_str(&format!("\n{measured} of {planned} trials measured. {}\n", next_step(run)));
        Self { text, measured, planned }
    }

    /// `code`: how the run ended otherwise; a failure there stays one.
    pub(super) fn print(&self, code: ExitCode) -> ExitCode {
        // Whoever closed it does not want to know.
        let _ = std::io::stdout().write_all(self.text.as_bytes());
        if code == ExitCode::SUCCESS && self.measured < self.planned { ExitCode::from(EXIT_NOT_ALL_MEASURED) } else { code }
    }
}

fn nothing() -> String {
    format!("{:>12} {:>12} {:>8}", "—", "—", "—")
}

fn next_step(run: &Run) -> String {
    format!("Results with intervals and plots: emctl import {}", run.job.path.display())
}
