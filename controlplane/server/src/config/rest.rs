//! The settings of `--scheduler rest`.

use std::path::PathBuf;
use std::time::Duration;

use em_slurm::{RestEndpoint, RestSettings, TokenSource};

use super::args::ServeArgs;
use super::resolve::ConfigError;

pub(super) fn settings(args: &ServeArgs) -> Result<RestSettings, ConfigError> {
    let address = args.slurmrestd.as_deref().filter(|address| !address.is_empty()).ok_or(ConfigError::NoSlurmrestd)?;
    let endpoint = match address.strip_prefix("unix:") {
        Some(path) => RestEndpoint::Socket(PathBuf::from(path)),
        None if address.starts_with('/') => RestEndpoint::Socket(PathBuf::from(address)),
        None => RestEndpoint::Url(address.to_owned()),
    };
    let words = |command: &String| command.split_whitespace().map(str::to_owned).collect();
    let file = args.slurmrestd_token_file.clone().map(TokenSource::File);
    let token = file.or_else(|| args.slurmrestd_token_command.as_ref().map(words).map(TokenSource::Command));
    let version = args.slurmrestd_version.as_deref().map(str::parse).transpose();
    let user = args.slurmrestd_user.clone().unwrap_or_else(crate::serve::user_name);
    Ok(RestSettings {
        token,
        version: version.map_err(ConfigError::SlurmrestdVersion)?,
        timeout: args.slurm_timeout.map_or(Duration::from_secs(30), |timeout| timeout.0),
        ..RestSettings::new(endpoint, user)
    })
}
