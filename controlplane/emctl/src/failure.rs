//! Why a command failed: the lines to print, and the exit code that scripts rely on (see `emctl --help`).

use std::io;

use em_api::client::ClientError;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The command line, or a file it names, is wrong.
    #[error("{0}")]
    Usage(String),
    /// Nothing tells where the control plane is.
    #[error("{0}")]
    NoServer(String),
    #[error("{doing}")]
    Io {
        doing: String,
        #[source]
        source: io::Error,
    },
    /// A report that cannot be unpacked.
    #[error("{0}")]
    Report(String),
    /// The experiment ended otherwise than Succeeded; it was told already.
    #[error("the experiment did not succeed")]
    Ended,
    /// Ctrl-C while waiting; it was told already.
    #[error("interrupted")]
    Interrupted,
}

impl Failure {
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::NoServer(_) | Self::Client(ClientError::Unreachable { .. }) => 3,
            Self::Client(ClientError::Address(_)) => 2,
            Self::Client(ClientError::Problem(problem)) => match problem.status {
                404 | 409 | 410 => 4,
                502..=504 => 3,
                500.. => 1,
                _ => 2,
            },
            Self::Interrupted => 130,
            Self::Client(_) | Self::Io { .. } | Self::Report(_) | Self::Ended => 1,
        }
    }

    /// What to tell the user: the error, then each mistake on a line of its own, then the causes.
    pub(crate) fn lines(&self) -> Vec<String> {
        if matches!(self, Self::Ended | Self::Interrupted) {
            return Vec::new();
        }
        let mut lines = match self {
            Self::Client(ClientError::Problem(problem)) => vec![format!("error: {}", problem.detail)],
            other => vec![format!("error: {other}")],
        };
        if let Self::Client(ClientError::Problem(problem)) = self {
            let told = |error: &em_api::problem::FieldError| match error.path.as_str() {
                "" => format!("  {}", error.message),
                path => format!("  {path}: {}", error.message),
            };
            lines.extend(problem.errors.iter().map(told));
            if problem.status == 401 {
                lines
                    .push("  give a token by --token-file or EM_TOKEN (the server writes one into its state directory)".to_owned());
            }
            return lines;
        }
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            lines.push(format!("  because: {error}"));
            cause = error.source();
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use em_api::problem::{FieldError, Problem};

    use super::*;

    fn problem(status: u16) -> Failure {
        let mut problem = Problem::new(status, "invalid_experiment", "t", "the experiment has two mistakes");
        problem.errors = vec![FieldError::new("spec.load.durration", "unknown field"), FieldError::new("", "is no object")];
        Failure::Client(ClientError::Problem(Box::new(problem)))
    }

    #[test]
    fn each_mistake_stands_on_its_own_line_with_its_path() {
        let expected = ["error: the experiment has two mistakes", "  spec.load.durration: unknown field", "  is no object"];
        assert_eq!(problem(422).lines(), expected);
    }

    #[test]
    fn scripts_can_tell_failures_apart() {
        for (status, code) in [(422, 2), (400, 2), (401, 2), (404, 4), (409, 4), (500, 1), (503, 3)] {
            assert_eq!(problem(status).exit_code(), code, "{status}");
        }
        assert_eq!(Failure::Ended.exit_code(), 1);
        assert_eq!(Failure::Ended.lines(), Vec::<String>::new());
    }
}
