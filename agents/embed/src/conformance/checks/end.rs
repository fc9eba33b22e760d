//! How a server ends: SIGTERM lets open requests be answered, takes no new ones, and the process is gone in time.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::{Check, Difference, Finding, Seen, Subject, checks, differs, fine};

/// A job must be gone within 20 s of its signal; more where a client that was never answered kept the server.
const GONE_WITHIN: Duration = Duration::from_secs(20);
/// Long enough to be sure that it is under way, and still open when the signal comes.
const ANSWERED_WITHIN: Duration = Duration::from_secs(12);
const OPEN_FOR: Duration = Duration::from_millis(1_500);
const UNDER_WAY: Duration = Duration::from_millis(400);

pub(super) fn all() -> Vec<Check> {
    checks![it_drains_and_ends]
}

async fn it_drains_and_ends(subject: &Subject) -> Seen {
    let Some(pid) = subject.settings.pid else {
        return Ok(Finding::Skipped("give the server's process by --pid; it is ended then".into()));
    };
    let signal = || {
        i32::try_from(pid)
            .ok()
            .and_then(Pid::from_raw)
            .ok_or("--pid is no process")
            .and_then(|pid| kill_process(pid, Signal::TERM).map_err(|_| "the process cannot be sent a signal"))
    };
    let body = |count: usize| {
        let texts: Vec<String> = (0..count).map(|number| format!("{number} {}", "a longer text to work on ".repeat(8))).collect();
        subject.body(texts)
    };
    // How many texts keep it busy for long enough.
    let (probe, took) = Subject::timed(subject.post("/v1/embeddings", &body(16))).await;
    probe?.vectors()?;
    let count = (16.0 * OPEN_FOR.as_secs_f64() / took.as_secs_f64().max(1e-3)).ceil().clamp(16.0, 1_024.0) as usize;
    let body = body(count);
    let open = subject.post("/v1/embeddings", &body);
    let mut open = Box::pin(open);
    let early = tokio::time::timeout(UNDER_WAY, &mut open).await;
    if early.is_ok() {
        return Ok(Finding::Skipped(format!("{count} texts were answered before a signal could be sent")));
    }
    let started = Instant::now();
    signal()?;
    // Some end what works on it and leave the connection open: then the client leaves, and they may go.
    let answer = tokio::time::timeout(ANSWERED_WITHIN, &mut open).await;
    drop(open);
    while Path::new("/proc").join(pid.to_string()).exists() && !zombie(pid) {
        if started.elapsed() > GONE_WITHIN {
            return Err(format!("still there {:.0} s after SIGTERM", started.elapsed().as_secs_f64()));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let gone = format!("gone after {:.1} s", started.elapsed().as_secs_f64());
    if subject.get("/health").await.is_ok_and(|answer| answer.status == 200) {
        return Err("its port still answers 200 after its end".into());
    }
    let Ok(answer) = answer else {
        return differs(Difference::DropsOpenRequests, format!("neither answered nor closed; {gone}"));
    };
    match answer {
        Ok(answer) if answer.status == 200 => {
            let vectors = answer.vectors()?;
            if vectors.len() == count {
                fine(format!("{count} open texts were answered; {gone}"))
            } else {
                Err(format!("{} of {count} vectors", vectors.len()))
            }
        }
        Ok(answer) => differs(Difference::DropsOpenRequests, format!("status {}; {gone}", answer.status)),
        Err(_) => differs(Difference::DropsOpenRequests, format!("connection closed; {gone}")),
    }
}

/// Ended, and not yet waited for by whoever started it.
fn zombie(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with(['Z', 'X']))
}
