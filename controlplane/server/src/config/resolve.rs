//! Flags, variables and file → complete settings, or the first thing that is wrong with its cure.

use std::io;
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::time::Duration;

use em_api::HumanDuration;
use em_slurm::{LocalGpus, RestSettings};

use super::args::{LogFormat, SchedulerKind, ServeArgs};
use super::{file, rest, webhook};
use crate::notify::{SecretError, Webhook};
use crate::reconcile::Limits;

#[derive(Clone, Debug)]
pub struct Settings {
    pub listen: SocketAddr,
    pub agent_listen: Option<SocketAddr>,
    pub advertise: Option<String>,
    pub state_dir: PathBuf,
    pub job_dir: PathBuf,
    pub store_dir: PathBuf,
    pub agent: PathBuf,
    pub slurm_bin_dir: Option<PathBuf>,
    pub slurm_timeout: Duration,
    pub scheduler: SchedulerKind,
    /// With `--scheduler rest`.
    pub rest: Option<RestSettings>,
    pub local_gpus: LocalGpus,
    pub local_jobs: NonZeroUsize,
    /// `None`: SQLite in the state directory.
    pub database: Option<String>,
    pub poll_interval: Duration,
    pub fast_poll_interval: Duration,
    pub slurm_reads_per_minute: u32,
    pub settle_time: Duration,
    /// A second; 0: no limit.
    pub submit_rate: f64,
    pub submit_burst: u32,
    pub limit_pause: Duration,
    pub job_dir_timeout: Duration,
    pub missing_grace: Duration,
    pub retry_backoff: Duration,
    pub collect_grace: Duration,
    pub agent_silent_after: Duration,
    pub claim_timeout: Duration,
    pub limits: Limits,
    /// Where ends of experiments are told.
    pub webhook: Option<Webhook>,
    pub watch_history: Duration,
    pub log_format: LogFormat,
}

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error(
        "{setting} {address} is not a loopback address: TLS is not built in yet, and without it tokens would cross the network in the \
         clear. Listen on 127.0.0.1 and use an SSH tunnel (ssh -L) or a TLS proxy in front"
    )]
    NotLoopback { setting: &'static str, address: SocketAddr },
    #[error("--scheduler rest needs --slurmrestd: the path of its Unix socket, or http://host:port")]
    NoSlurmrestd,
    #[error("--slurmrestd-version")]
    SlurmrestdVersion(#[source] em_slurm::UnknownVersion),
    #[error("--local-gpus: {0}")]
    LocalGpus(String),
    #[error("--advertise `{0}` is not a web address; write for example http://login1:8080")]
    Advertise(String),
    #[error("neither --state-dir nor XDG_STATE_HOME nor HOME is set: say where the state directory is with --state-dir")]
    NoHome,
    #[error("{setting} {} is not usable", path.display())]
    Directory {
        setting: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("reading {}", path.display())]
    ReadFile {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{} is not a valid configuration", path.display())]
    ParseFile {
        path: PathBuf,
        #[source]
        source: Box<toml::de::Error>,
    },
    #[error("--webhook-url is not a web address without a password; write for example https://chat.example.org/hooks/em")]
    WebhookUrl,
    #[error("--webhook-url needs --webhook-secret-file: a file (0600) with the secret that both sides know")]
    NoWebhookSecret,
    #[error("--webhook-secret-file")]
    WebhookSecret(#[source] SecretError),
    #[error("--job-dir {0}")]
    JobDirectory(String),
    #[error("{setting} must be longer than zero")]
    Zero { setting: &'static str },
    #[error("{setting} {value} is not a number from {least} to {most}")]
    Number { setting: &'static str, value: f64, least: f64, most: f64 },
}

pub fn resolve(args: ServeArgs) -> Result<Settings, ConfigError> {
    let args = match &args.config {
        Some(path) => {
            let weak = file::read(path)?;
            file::merge(args, weak)
        }
        None => args,
    };
    let scheduler = args.scheduler.unwrap_or(SchedulerKind::Cli);
    let rest = if scheduler == SchedulerKind::Rest { Some(rest::settings(&args)?) } else { None };
    let webhook = webhook::settings(&args)?;
    let local_gpus = args.local_gpus.as_deref().unwrap_or("0").parse().map_err(ConfigError::LocalGpus)?;
    let listen = loopback("--listen", args.listen.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 8080))))?;
    let agent_listen = args.agent_listen.map(|address| loopback("--agent-listen", address)).transpose()?;
    if let Some(advertise) = &args.advertise {
        let valid = advertise.parse::<url::Url>().is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        if !valid {
            return Err(ConfigError::Advertise(advertise.clone()));
        }
    }
    let state_dir = absolute("--state-dir", args.state_dir.map_or_else(default_state_dir, Ok)?)?;
    let job_dir = absolute("--job-dir", args.job_dir.unwrap_or_else(|| state_dir.join("jobs")))?;
    em_slurm::validate_job_dir(&job_dir).map_err(ConfigError::JobDirectory)?;
    let store_dir = absolute("--store-dir", args.store_dir.unwrap_or_else(|| job_dir.join("store")))?;
    let agent = absolute("--agent", args.agent.unwrap_or_else(agent_beside_us))?;
    let seconds = |setting, value: Option<HumanDuration>, default: u64| match value {
        Some(value) if value.0.is_zero() => Err(ConfigError::Zero { setting }),
        Some(value) => Ok(value.0),
        None => Ok(Duration::from_secs(default)),
    };
    let reads = number("--slurm-reads-per-minute", f64::from(args.slurm_reads_per_minute.unwrap_or(20)), 8.0, 6_000.0)?;
    let submit_rate = number("--submit-rate", args.submit_rate.unwrap_or(2.0), 0.0, 1_000.0)?;
    let submit_burst = number("--submit-burst", f64::from(args.submit_burst.unwrap_or(20)), 1.0, 10_000.0)?;
    Ok(Settings {
        listen,
        agent_listen,
        advertise: args.advertise,
        state_dir,
        job_dir,
        store_dir,
        agent,
        slurm_bin_dir: args.slurm_bin_dir,
        slurm_timeout: seconds("--slurm-timeout", args.slurm_timeout, 30)?,
        scheduler,
        rest,
        local_gpus,
        local_jobs: args.local_jobs.unwrap_or(NonZeroUsize::MIN),
        database: args.database,
        poll_interval: seconds("--poll-interval", args.poll_interval, 15)?,
        fast_poll_interval: seconds("--fast-poll-interval", args.fast_poll_interval, 3)?,
        slurm_reads_per_minute: reads as u32,
        settle_time: seconds("--settle-time", args.settle_time, 20)?,
        submit_rate,
        submit_burst: submit_burst as u32,
        limit_pause: seconds("--limit-pause", args.limit_pause, 15)?,
        job_dir_timeout: seconds("--job-dir-timeout", args.job_dir_timeout, 10)?,
        missing_grace: seconds("--missing-grace", args.missing_grace, 120)?,
        retry_backoff: seconds("--retry-backoff", args.retry_backoff, 10)?,
        collect_grace: seconds("--collect-grace", args.collect_grace, 5)?,
        agent_silent_after: seconds("--agent-silent-after", args.agent_silent_after, 60)?,
        claim_timeout: seconds("--claim-timeout", args.claim_timeout, 120)?,
        limits: Limits {
            experiments: args.max_active_experiments.map(NonZeroU32::get),
            by_label: args.max_active.into_iter().map(|limit| (limit.key, limit.most)).collect(),
        },
        webhook,
        watch_history: seconds("--watch-history", args.watch_history, 24 * 3600)?,
        log_format: args.log_format.unwrap_or(LogFormat::Text),
    })
}

fn number(setting: &'static str, value: f64, least: f64, most: f64) -> Result<f64, ConfigError> {
    if (least..=most).contains(&value) { Ok(value) } else { Err(ConfigError::Number { setting, value, least, most }) }
}

fn loopback(setting: &'static str, address: SocketAddr) -> Result<SocketAddr, ConfigError> {
    if address.ip().is_loopback() { Ok(address) } else { Err(ConfigError::NotLoopback { setting, address }) }
}

fn absolute(setting: &'static str, path: PathBuf) -> Result<PathBuf, ConfigError> {
    std::path::absolute(&path).map_err(|source| ConfigError::Directory { setting, path, source })
}

fn default_state_dir() -> Result<PathBuf, ConfigError> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("XDG_STATE_HOME")
        .or_else(|| set("HOME").map(|home| home.join(".local/state")))
        .map(|base| base.join("em"))
        .ok_or(ConfigError::NoHome)
}

fn agent_beside_us() -> PathBuf {
    let us = std::env::current_exe().unwrap_or_default();
    us.parent().unwrap_or(Path::new(".")).join("em-agent")
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use clap::Parser;
    use em_slurm::{RestEndpoint, TokenSource};

    use super::*;
    use crate::config::{Args, Command};

    fn parse(arguments: &[&str]) -> ServeArgs {
        let arguments = ["em-controlplane", "serve", "--state-dir", "/srv/state"].iter().chain(arguments);
        match Args::try_parse_from(arguments).unwrap().command {
            Command::Serve(args) => *args,
            Command::Doctor(args) => args.serve,
        }
    }

    #[test]
    fn only_loopback_is_listened_on() {
        for arguments in [["--listen", "0.0.0.0:8080"], ["--agent-listen", "10.0.0.1:0"]] {
            let error = resolve(parse(&arguments)).unwrap_err();
            assert!(error.to_string().contains("TLS is not built in yet"), "{error}");
        }
        assert!(resolve(parse(&["--listen", "[::1]:0"])).is_ok());
    }

    #[test]
    fn slurmrestd_is_reached_by_its_socket_or_its_address() {
        let error = resolve(parse(&["--scheduler", "rest"])).unwrap_err();
        assert!(error.to_string().contains("needs --slurmrestd"), "{error}");
        let rest = |arguments: &[&str]| resolve(parse(&[&["--scheduler", "rest"], arguments].concat())).unwrap().rest.unwrap();
        for path in ["/run/slurmrestd.sock", "unix:/run/slurmrestd.sock"] {
            let by_socket = rest(&["--slurmrestd", path]);
            assert_eq!((by_socket.endpoint, by_socket.token), (RestEndpoint::Socket("/run/slurmrestd.sock".into()), None));
        }
        let command = "scontrol token lifespan=600";
        let by_token = rest(&["--slurmrestd", "http://login:6820", "--slurmrestd-token-command", command]);
        let words = command.split(' ').map(str::to_owned).collect();
        assert_eq!(by_token.token, Some(TokenSource::Command(words)));
        let error = resolve(parse(&["--scheduler", "rest", "--slurmrestd", "/s", "--slurmrestd-version", "v1"])).unwrap_err();
        assert!(std::error::Error::source(&error).unwrap().to_string().contains("v1"), "{error}");
    }

    #[test]
    fn a_machine_without_slurm_says_which_gpus_jobs_may_have() {
        let settings = resolve(parse(&["--scheduler", "local"])).unwrap();
        assert_eq!(
            (settings.scheduler, settings.local_jobs.get(), settings.local_gpus.devices.len()),
            (SchedulerKind::Local, 1, 0)
        );
        let settings = resolve(parse(&["--scheduler", "local", "--local-gpus", "l40s:2", "--local-jobs", "2"])).unwrap();
        assert_eq!((settings.local_jobs.get(), settings.local_gpus.devices.len()), (2, 2));
        let error = resolve(parse(&["--local-gpus", "both"])).unwrap_err();
        assert!(error.to_string().contains("--local-gpus: `both` names no GPUs"), "{error}");
    }

    #[test]
    fn a_job_directory_that_slurm_would_misread_is_refused() {
        for path in ["/srv/100%", "/srv/a\\b", "/srv/a\nb"] {
            let error = resolve(parse(&["--job-dir", path])).unwrap_err();
            assert!(error.to_string().starts_with("--job-dir `/srv/"), "{error}");
        }
    }

    #[test]
    fn flags_win_over_the_file_and_the_file_over_defaults() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "listen = \"127.0.0.1:1\"\npoll-interval = \"7s\"\njob-dir = \"/srv/jobs\"\n").unwrap();
        let path = file.path().to_str().unwrap();
        let settings = resolve(parse(&["--config", path, "--listen", "127.0.0.1:2"])).unwrap();
        assert_eq!(settings.listen.port(), 2);
        assert_eq!(settings.poll_interval, Duration::from_secs(7));
        assert_eq!(settings.store_dir, Path::new("/srv/jobs/store"));
        assert_eq!(settings.settle_time, Duration::from_secs(20));
    }

    #[test]
    fn rates_that_are_no_rates_are_refused_by_name() {
        for arguments in [["--submit-rate", "-1"], ["--submit-rate", "NaN"], ["--submit-burst", "0"]] {
            let arguments = format!("{}={}", arguments[0], arguments[1]);
            let error = resolve(parse(&[&arguments])).unwrap_err();
            assert!(error.to_string().contains("--submit-"), "{error}");
        }
        assert_eq!(resolve(parse(&["--submit-rate", "0"])).unwrap().submit_rate, 0.0);
    }

    #[test]
    fn limits_on_labels_add_up_and_stand_in_the_file_too() {
        let limits = resolve(parse(&["--max-active", "team=4", "--max-active", "user=1,site=9"])).unwrap().limits;
        assert_eq!(limits.by_label.into_iter().collect::<Vec<_>>(), [("site".into(), 9), ("team".into(), 4), ("user".into(), 1)]);
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "max-active = [\"team=2\"]\nmax-active-experiments = 7\n").unwrap();
        let limits = resolve(parse(&["--config", file.path().to_str().unwrap()])).unwrap().limits;
        assert_eq!((limits.experiments, limits.by_label.get("team")), (Some(7), Some(&2)));
    }

    #[test]
    fn the_webhook_needs_a_secret_and_an_address() {
        let error = resolve(parse(&["--webhook-url", "https://example.org/hook"])).unwrap_err();
        assert!(error.to_string().contains("--webhook-secret-file"), "{error}");
        for wrong in ["ftp://example.org", "example.org", "https://me:secret@example.org"] {
            let error = resolve(parse(&["--webhook-url", wrong])).unwrap_err();
            assert!(error.to_string().starts_with("--webhook-url is not") && !error.to_string().contains("secret@"), "{error}");
        }
    }

    #[test]
    fn a_typo_in_the_file_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "polinterval = \"7s\"\n").unwrap();
        let error = resolve(parse(&["--config", file.path().to_str().unwrap()])).unwrap_err();
        assert!(std::error::Error::source(&error).unwrap().to_string().contains("polinterval"));
    }
}
