//! The bearer token of a protected server: out of a file or an environment variable on the node, never out of the plan. Never
//! shown: `Debug` hides it.

use std::fmt;

use em_api::spec::Backend;

/// Where a token is to be had.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeySource {
    pub file: Option<String>,
    pub variable: Option<String>,
}

/// The token itself.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(String);

impl KeySource {
    pub fn of(backend: &Backend) -> Self {
        Self { file: backend.api_key_file.clone(), variable: backend.api_key_env.clone() }
    }

    /// `None`: none is needed. Errors: the field and what is wrong, without the token.
    pub fn read(&self) -> Result<Option<ApiKey>, String> {
        let (field, text) = match (&self.file, &self.variable) {
            (Some(path), _) => {
                let read = std::fs::read_to_string(path).map_err(|error| format!("apiKeyFile: cannot read {path}: {error}"))?;
                ("apiKeyFile", read)
            }
            (None, Some(name)) => {
                let unset = format!("apiKeyEnv: {name} is not set in the job; set it by slurm.setup, or use apiKeyFile");
                ("apiKeyEnv", std::env::var(name).map_err(|_| unset)?)
            }
            (None, None) => return Ok(None),
        };
        let key = text.trim();
        if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(format!("{field}: it must hold one token of visible ASCII characters on one line"));
        }
        Ok(Some(ApiKey(key.to_owned())))
    }
}

impl ApiKey {
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Takes the token out of what a server said: some repeat it in their errors.
    pub fn redacted(&self, text: &str) -> String {
        text.replace(&self.0, "<the API key>")
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_comes_from_a_file_and_is_never_shown() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("key");
        let read = |content: &str| {
            std::fs::write(&path, content).expect("write");
            KeySource { file: Some(path.display().to_string()), variable: None }.read()
        };
        let key = read("sk-4711\n").expect("readable").expect("a key");
        assert_eq!((key.expose(), format!("{key:?}").as_str()), ("sk-4711", "ApiKey(hidden)"));
        assert_eq!(key.redacted("401 for sk-4711"), "401 for <the API key>");
        for wrong in ["", " \n", "two words", "two\nlines"] {
            let refused = read(wrong).expect_err("no token");
            assert!(refused.starts_with("apiKeyFile") && (wrong.trim().is_empty() || !refused.contains(wrong)), "{refused}");
        }
    }

    #[test]
    fn a_missing_key_names_its_cure() {
        let missing = KeySource { file: None, variable: Some("EM_TEST_KEY_THAT_NOBODY_SETS".into()) }.read();
        assert!(missing.expect_err("unset").contains("slurm.setup"));
        assert_eq!(KeySource::default().read(), Ok(None));
    }
}
