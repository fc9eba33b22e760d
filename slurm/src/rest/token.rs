//! The JSON web token: read from its file when that changes, or had from a command before the old one expires. Its text goes
//! nowhere but into the request's header.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use reqwest::header::HeaderValue;
use serde::Deserialize;
use tokio::process::Command;
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::settings::TokenSource;
use crate::environment::inherited;

/// A refused token is not renewed more often than this: a command that yields bad tokens must not run all the time.
const PAUSE: Duration = Duration::from_secs(5);

pub(super) struct Token {
    source: TokenSource,
    timeout: Duration,
    held: Mutex<Option<Held>>,
}

struct Held {
    header: HeaderValue,
    /// Seconds since 1970 at which a new one is needed.
    renew_at: Option<i64>,
    /// State of the file when it was read.
    stamp: Option<(SystemTime, u64)>,
    since: Instant,
    refused: bool,
}

impl Token {
    pub(super) fn new(source: TokenSource, timeout: Duration) -> Self {
        Self { source, timeout, held: Mutex::new(None) }
    }

    /// The present token. The error says what is wrong with the source and never holds the token.
    pub(super) async fn header(&self) -> Result<HeaderValue, String> {
        let mut held = self.held.lock().await;
        let now = now();
        match &self.source {
            TokenSource::File(path) => {
                let stamp = stamp(path)?;
                if let Some(held) = held.as_ref().filter(|held| held.stamp == Some(stamp)) {
                    return Ok(held.header.clone());
                }
                let text = tokio::fs::read_to_string(path).await.map_err(|error| format!("reading {}: {error}", path.display()))?;
                let token =
                    Held { stamp: Some(stamp), ..parse(&text, now).ok_or_else(|| format!("{} holds no token", path.display()))? };
                Ok(held.insert(token).header.clone())
            }
            TokenSource::Command(words) => {
                if let Some(held) = held.as_ref()
                    && held.renew_at.is_none_or(|at| now < at)
                    && !(held.refused && held.since.elapsed() >= PAUSE)
                {
                    return Ok(held.header.clone());
                }
                let text = self.run(words).await?;
                let token = parse(&text, now).ok_or_else(|| format!("{} printed no token", words[0]))?;
                Ok(held.insert(token).header.clone())
            }
        }
    }

    /// Slurm did not like it, or may not have: the next call has a new one. False: there is none to be had now.
    pub(super) async fn refused(&self) -> bool {
        let mut held = self.held.lock().await;
        let renewable = match &self.source {
            TokenSource::File(path) => held.as_ref().is_some_and(|held| stamp(path).is_ok_and(|stamp| held.stamp != Some(stamp))),
            TokenSource::Command(_) => held.as_ref().is_some_and(|held| held.since.elapsed() >= PAUSE),
        };
        if let Some(held) = held.as_mut() {
            held.refused = true;
        }
        renewable
    }

    async fn run(&self, words: &[String]) -> Result<String, String> {
        let [program, args @ ..] = words else { return Err("the command for tokens is empty".to_owned()) };
        let mut command = Command::new(program);
        command.args(args).env_clear().envs(inherited(&[])).stdin(Stdio::null()).kill_on_drop(true);
        let output = timeout(self.timeout, command.output()).await;
        let output = output.map_err(|_| format!("{program} gave no token within {} s", self.timeout.as_secs()))?;
        let output = output.map_err(|error| format!("starting {program} for a token: {error}"))?;
        if !output.status.success() {
            // Not its standard output, where a token might be.
            return Err(format!("{program} gave no token: {}", String::from_utf8_lossy(&output.stderr).trim()));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

fn stamp(path: &Path) -> Result<(SystemTime, u64), String> {
    let metadata = std::fs::metadata(path).and_then(|metadata| Ok((metadata.modified()?, metadata.len())));
    metadata.map_err(|error| format!("reading {}: {error}", path.display()))
}

#[derive(Deserialize)]
struct Claims {
    exp: Option<i64>,
}

/// The last line, with or without `SLURM_JWT=`. A tenth of its time is left at the renewal, a minute at most.
fn parse(text: &str, now: i64) -> Option<Held> {
    let line = text.lines().map(str::trim).rfind(|line| !line.is_empty())?;
    let token = line.strip_prefix("SLURM_JWT=").unwrap_or(line);
    let mut header = HeaderValue::from_str(token).ok().filter(|_| !token.contains(' '))?;
    header.set_sensitive(true);
    let claims = token.split('.').nth(1).and_then(|part| BASE64_URL_SAFE_NO_PAD.decode(part).ok());
    let expires = claims.and_then(|json| serde_json::from_slice::<Claims>(&json).ok()).and_then(|claims| claims.exp);
    let renew_at = expires.map(|at| at - ((at - now) / 10).clamp(1, 60));
    Some(Held { header, renew_at, stamp: None, since: Instant::now(), refused: false })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jwt(claims: &str) -> String {
        format!("eyJhbGciOiJIUzI1NiJ9.{}.c2lnbmF0dXJl", BASE64_URL_SAFE_NO_PAD.encode(claims))
    }

    #[test]
    fn a_token_is_renewed_before_it_expires() {
        let renew_at = |claims: &str| parse(&jwt(claims), 1000).expect("a token").renew_at;
        assert_eq!(renew_at(r#"{"exp":1005,"iat":1000,"sun":"root"}"#), Some(1004));
        assert_eq!(renew_at(r#"{"exp":1200}"#), Some(1180));
        assert_eq!(renew_at(r#"{"exp":90000}"#), Some(89940));
        assert_eq!(renew_at("{}"), None, "a token without an end");
    }

    #[test]
    fn the_output_of_scontrol_and_a_bare_token_are_read_and_other_texts_are_not() {
        for text in ["SLURM_JWT=a.b.c\n", "a.b.c", "Welcome\nSLURM_JWT=a.b.c\n\n"] {
            assert_eq!(parse(text, 0).expect("a token").header, "a.b.c");
        }
        for text in ["", "\n", "scontrol: error: no", "a\u{1}b"] {
            assert!(parse(text, 0).is_none(), "{text:?}");
        }
    }

    #[test]
    fn a_token_is_not_shown_by_debugging() {
        assert_eq!(format!("{:?}", parse("a.b.c", 0).expect("a token").header), "Sensitive");
    }

    #[tokio::test]
    async fn a_token_file_is_read_anew_when_it_changes() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), "first").expect("written");
        let token = Token::new(TokenSource::File(file.path().to_owned()), Duration::from_secs(1));
        assert_eq!(token.header().await.expect("a token"), "first");
        assert!(!token.refused().await, "the same token again is of no use");
        std::fs::write(file.path(), "SLURM_JWT=another").expect("written");
        assert!(token.refused().await);
        assert_eq!(token.header().await.expect("a token"), "another");
        file.close().expect("removed");
        let error = token.header().await.expect_err("no file");
        assert!(!error.contains("another"), "{error}");
    }

    #[tokio::test]
    async fn a_command_is_run_again_when_its_token_expires() {
        let dir = tempfile::tempdir().expect("a folder");
        let runs = dir.path().join("runs");
        let script = format!("echo run >> {}; echo SLURM_JWT={}", runs.display(), jwt(&format!("{{\"exp\":{}}}", now() + 2)));
        let token = Token::new(TokenSource::Command(["bash", "-c", &script].map(str::to_owned).to_vec()), Duration::from_secs(10));
        let runs = || std::fs::read_to_string(&runs).expect("runs").lines().count();
        token.header().await.expect("a token");
        assert_eq!(runs(), 1);
        let end = Instant::now() + Duration::from_secs(20);
        while runs() == 1 {
            assert!(Instant::now() < end, "never renewed");
            token.header().await.expect("a token");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let failing = Token::new(TokenSource::Command(vec!["false".to_owned()]), Duration::from_secs(10));
        assert!(failing.header().await.is_err());
    }
}
