//! The settings of the webhook.

use std::time::Duration;

use url::Url;

use super::args::ServeArgs;
use super::resolve::ConfigError;
use crate::notify::{Secret, Webhook};

pub(super) fn settings(args: &ServeArgs) -> Result<Option<Webhook>, ConfigError> {
    let Some(address) = args.webhook_url.as_deref().filter(|address| !address.is_empty()) else { return Ok(None) };
    let url = address.parse::<Url>().ok().filter(|url| {
        // A password would be shown with the settings; the secret has a file of its own.
        matches!(url.scheme(), "http" | "https") && url.has_host() && url.username().is_empty() && url.password().is_none()
    });
    let url = url.ok_or(ConfigError::WebhookUrl)?;
    let path = args.webhook_secret_file.as_deref().ok_or(ConfigError::NoWebhookSecret)?;
    let secret = Secret::read(path).map_err(ConfigError::WebhookSecret)?;
    let first_pause = args.webhook_retry_pause.map_or(Duration::from_secs(10), |pause| pause.0);
    if first_pause.is_zero() {
        return Err(ConfigError::Zero { setting: "--webhook-retry-pause" });
    }
    Ok(Some(Webhook { url, secret, first_pause }))
}
