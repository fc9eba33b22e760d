//! The TOML file: the same settings as the flags.

use std::path::Path;

use super::args::ServeArgs;
use super::resolve::ConfigError;

pub(super) fn read(path: &Path) -> Result<ServeArgs, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::ReadFile { path: path.to_owned(), source })?;
    // toml's message has line, column and the names that are known.
    toml::from_str(&text).map_err(|source| ConfigError::ParseFile { path: path.to_owned(), source: Box::new(source) })
}

/// `strong` where it has a value, else `weak`.
pub(super) fn merge(strong: ServeArgs, weak: ServeArgs) -> ServeArgs {
    ServeArgs {
        listen: strong.listen.or(weak.listen),
        agent_listen: strong.agent_listen.or(weak.agent_listen),
        advertise: strong.advertise.or(weak.advertise),
        state_dir: strong.state_dir.or(weak.state_dir),
        job_dir: strong.job_dir.or(weak.job_dir),
        store_dir: strong.store_dir.or(weak.store_dir),
        agent: strong.agent.or(weak.agent),
        scheduler: strong.scheduler.or(weak.scheduler),
        slurm_bin_dir: strong.slurm_bin_dir.or(weak.slurm_bin_dir),
        slurm_timeout: strong.slurm_timeout.or(weak.slurm_timeout),
        slurmrestd: strong.slurmrestd.or(weak.slurmrestd),
        slurmrestd_user: strong.slurmrestd_user.or(weak.slurmrestd_user),
        slurmrestd_token_file: strong.slurmrestd_token_file.or(weak.slurmrestd_token_file),
        slurmrestd_token_command: strong.slurmrestd_token_command.or(weak.slurmrestd_token_command),
        slurmrestd_version: strong.slurmrestd_version.or(weak.slurmrestd_version),
        local_gpus: strong.local_gpus.or(weak.local_gpus),
        local_jobs: strong.local_jobs.or(weak.local_jobs),
        database: strong.database.or(weak.database),
        config: strong.config,
        poll_interval: strong.poll_interval.or(weak.poll_interval),
        fast_poll_interval: strong.fast_poll_interval.or(weak.fast_poll_interval),
        slurm_reads_per_minute: strong.slurm_reads_per_minute.or(weak.slurm_reads_per_minute),
        settle_time: strong.settle_time.or(weak.settle_time),
        submit_rate: strong.submit_rate.or(weak.submit_rate),
        submit_burst: strong.submit_burst.or(weak.submit_burst),
        limit_pause: strong.limit_pause.or(weak.limit_pause),
        job_dir_timeout: strong.job_dir_timeout.or(weak.job_dir_timeout),
        missing_grace: strong.missing_grace.or(weak.missing_grace),
        retry_backoff: strong.retry_backoff.or(weak.retry_backoff),
        collect_grace: strong.collect_grace.or(weak.collect_grace),
        agent_silent_after: strong.agent_silent_after.or(weak.agent_silent_after),
        claim_timeout: strong.claim_timeout.or(weak.claim_timeout),
        max_active_experiments: strong.max_active_experiments.or(weak.max_active_experiments),
        max_active: if strong.max_active.is_empty() { weak.max_active } else { strong.max_active },
        webhook_url: strong.webhook_url.or(weak.webhook_url),
        webhook_secret_file: strong.webhook_secret_file.or(weak.webhook_secret_file),
        webhook_retry_pause: strong.webhook_retry_pause.or(weak.webhook_retry_pause),
        watch_history: strong.watch_history.or(weak.watch_history),
        log_format: strong.log_format.or(weak.log_format),
    }
}
