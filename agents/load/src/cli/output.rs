//! stdout, which is ours alone, and the progress on it or on stderr.

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::sync::Mutex;

use crate::{Phase, Progress};

/// Keeps the process's stdout for us and points descriptor 1 at stderr: Goose prints a line there on each run, and a reader of
/// our JSON lines must never see it.
pub(super) fn take_stdout() -> io::Result<File> {
    let ours = io::stdout().as_fd().try_clone_to_owned()?;
    rustix::stdio::dup2_stdout(io::stderr())?;
    Ok(File::from(ours))
}

/// JSON lines on stdout, or a line for people on stderr: each second on a terminal, else at phases and each 10 seconds.
pub(super) fn progress(json: bool, stdout: File) -> impl Fn(Progress) + Send + Sync + 'static {
    let stdout = Mutex::new(stdout);
    let terminal = io::stderr().is_terminal();
    move |progress: Progress| {
        // A reader that went away, or a full disk, is no reason to stop measuring.
        if json {
            if let (Ok(mut stdout), Ok(mut line)) = (stdout.lock(), serde_json::to_vec(&progress)) {
                line.push(b'\n');
                let _ = stdout.write_all(&line);
            }
        } else if terminal {
            let _ = write!(io::stderr(), "\r\x1b[K{}", line(&progress));
        } else if progress.elapsed_s < 0.5 || (progress.elapsed_s.round() as u64).is_multiple_of(10) {
            let _ = writeln!(io::stderr(), "{}", line(&progress));
        }
    }
}

fn line(progress: &Progress) -> String {
    let name = progress.phase.as_str();
    match progress.phase {
        Phase::Loading => "loading texts".to_owned(),
        Phase::Draining => "draining: waiting for answers under way".to_owned(),
        Phase::WarmUp | Phase::Measuring => {
            let ms = |value: Option<f64>| value.map_or("—".to_owned(), |ms| format!("{ms:.1} ms"));
            format!(
                "{name} {:.0}/{:.0} s  {:.0} texts/s  {:.1} requests/s  p50 {}  p99 {}  errors {}",
                progress.elapsed_s,
                progress.total_s,
                progress.texts_per_s,
                progress.requests_per_s,
                ms(progress.p50_ms),
                ms(progress.p99_ms),
                progress.errors
            )
        }
    }
}

/// The summary: on stdout, or on stderr when stdout carries JSON lines.
pub(super) fn say(mut stdout: File, text: &str, json: bool) -> io::Result<()> {
    if io::stderr().is_terminal() {
        let _ = write!(io::stderr(), "\r\x1b[K");
    }
    if json { io::stderr().write_all(text.as_bytes()) } else { stdout.write_all(text.as_bytes()) }
}
