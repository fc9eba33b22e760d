//! The bearer token of a protected server: read when a trial begins, from a file or the environment. The plan says only where.

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};

use crate::LoadError;

/// Never shown.
#[derive(Clone)]
pub struct Key {
    token: String,
    header: HeaderValue,
}

impl Key {
    /// Errors: Plan, with the field; the token is in no message.
    pub fn new(token: &str) -> Result<Self, LoadError> {
        let cure = "it must hold one token of visible ASCII characters";
        let token = token.trim().to_owned();
        let sound = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
        let header = HeaderValue::from_str(&format!("Bearer {token}")).ok().filter(|_| sound);
        let mut header = header.ok_or_else(|| LoadError::Plan { field: "apiKey", cure: cure.to_owned() })?;
        header.set_sensitive(true);
        Ok(Self { token, header })
    }

    /// `None`: neither a file nor a variable is named.
    pub(crate) fn read(file: Option<&str>, variable: Option<&str>) -> Result<Option<Self>, LoadError> {
        let refuse = |field, cure: String| LoadError::Plan { field, cure };
        match (file, variable) {
            (Some(path), _) => {
                let read = std::fs::read_to_string(path);
                let token = read.map_err(|error| refuse("apiKeyFile", format!("cannot read {path}: {error}")))?;
                Self::new(&token).map(Some)
            }
            (None, Some(name)) => {
                let token = std::env::var(name).map_err(|_| refuse("apiKeyEnv", format!("{name} is not set")))?;
                Self::new(&token).map(Some)
            }
            (None, None) => Ok(None),
        }
    }

    pub(crate) fn headers(&self) -> HeaderMap {
        HeaderMap::from_iter([(AUTHORIZATION, self.header.clone())])
    }

    /// Some servers repeat the token in their errors.
    pub(crate) fn redacted(&self, text: &str) -> String {
        text.replace(&self.token, "<the API key>")
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(hidden)")
    }
}
