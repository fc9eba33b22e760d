//! `em-controlplane doctor`: would `serve`, with the same settings, work here? One line a check. Every check does the real thing in
//! small, the most important one included: a held job is submitted, read back and cancelled.

mod places;
mod scheduler;
mod submission;

use std::fmt::Write as _;
use std::sync::Arc;

use em_slurm::Scheduler;
use serde::Serialize;

use crate::config::{SchedulerKind, Settings};

/// What a site may demand of every job, the doctor's own included.
#[derive(Clone, Debug, Default)]
pub struct Demands {
    pub partition: Option<String>,
    pub account: Option<String>,
    pub qos: Option<String>,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Check {
    pub name: &'static str,
    pub outcome: Outcome,
    /// What was found.
    pub detail: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cure: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    Ok,
    /// It works, with a limit that one should know.
    Warning,
    Failed,
}

impl Check {
    fn ok(name: &'static str, detail: impl Into<String>) -> Self {
        Self { name, outcome: Outcome::Ok, detail: detail.into(), cure: None }
    }

    fn warning(name: &'static str, detail: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { name, outcome: Outcome::Warning, detail: detail.into(), cure: Some(cure.into()) }
    }

    fn failed(name: &'static str, detail: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { name, outcome: Outcome::Failed, detail: detail.into(), cure: Some(cure.into()) }
    }
}

/// All checks, in the order in which one would repair what they find.
pub async fn examine(settings: &Settings, scheduler: Arc<dyn Scheduler>, demands: &Demands) -> Vec<Check> {
    let mut checks =
        vec![places::state_dir(&settings.state_dir), places::job_dir(&settings.job_dir), places::agent(&settings.agent).await];
    let job_dir_works = checks[1].outcome != Outcome::Failed;
    if settings.scheduler == SchedulerKind::Local {
        checks.push(scheduler::machine(scheduler.as_ref(), settings.local_jobs).await);
        return checks;
    }
    let (found, view) = scheduler::cluster(scheduler.as_ref()).await;
    checks.push(found);
    let Some(view) = view else { return checks };
    checks.extend(scheduler::limits(settings, scheduler.as_ref(), &view.limits).await);
    if job_dir_works {
        checks.extend(submission::names_and_clock(&settings.job_dir, scheduler.as_ref(), demands).await);
    }
    checks
}

pub fn any_failed(checks: &[Check]) -> bool {
    checks.iter().any(|check| check.outcome == Outcome::Failed)
}

/// For people: `✓ name  what was found`, cures below.
pub fn table(checks: &[Check]) -> String {
    let width = checks.iter().map(|check| check.name.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for check in checks {
        let sign = match check.outcome {
            Outcome::Ok => '✓',
            Outcome::Warning => '!',
            Outcome::Failed => '✗',
        };
        // What Slurm says may have several lines.
        let detail = check.detail.lines().map(str::trim).collect::<Vec<_>>().join("; ");
        let _ = writeln!(text, "{sign} {:<width$}  {detail}", check.name);
        if let Some(cure) = &check.cure {
            let _ = writeln!(text, "  {:<width$}  → {cure}", "");
        }
    }
    let count = |outcome| checks.iter().filter(|check| check.outcome == outcome).count();
    let (failed, warnings) = (count(Outcome::Failed), count(Outcome::Warning));
    let _ = match (failed, warnings) {
        (0, 0) => writeln!(text, "\nAll is well."),
        (0, _) => writeln!(text, "\nIt will work; {warnings} to know about."),
        _ => writeln!(text, "\n{failed} to repair first."),
    };
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_check_is_a_line_and_its_cure_stands_below() {
        let checks = [
            Check::ok("agent", "/opt/em-agent runs"),
            Check::warning("accounting", "none", "keep MinJobAge"),
            Check::failed("job names", "came back\n as x", "ask"),
        ];
        insta::assert_snapshot!(table(&checks), @"
        ✓ agent       /opt/em-agent runs
        ! accounting  none
                      → keep MinJobAge
        ✗ job names   came back; as x
                      → ask

        1 to repair first.
        ");
        assert!(any_failed(&checks) && !any_failed(&checks[..2]));
    }
}
