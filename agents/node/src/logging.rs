//! Where the agent's own log goes: standard error (Slurm's `slurm_%j.err`), as text, or as JSON with `EM_LOG_FORMAT=json`.
//! `EM_LOG` (or `RUST_LOG`) filters; the default is `info`.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

/// Call once, first: libraries that log through the `log` crate then arrive here too.
pub(crate) fn init() {
    let filter = ["EM_LOG", "RUST_LOG"].iter().find_map(|name| std::env::var(name).ok()).unwrap_or_else(|| "info".to_owned());
    let filter = EnvFilter::try_new(&filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    if std::env::var("EM_LOG_FORMAT").is_ok_and(|format| format.eq_ignore_ascii_case("json")) {
        builder.json().init();
    } else {
        builder.with_ansi(io::stderr().is_terminal()).with_target(false).init();
    }
}
