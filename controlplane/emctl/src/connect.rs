//! Finds the control plane and a token: from the command line and environment, else from `server.json`, which a server on this
//! machine writes into its state directory.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use em_api::client::Client;
use serde::Deserialize;

use crate::cli::Connection;
use crate::failure::Failure;

/// What a server says of itself.
#[derive(Deserialize)]
struct ServerFile {
    url: String,
    token_file: PathBuf,
}

pub(crate) fn client(connection: &Connection) -> Result<Client, Failure> {
    let state_dir = connection.state_dir.clone().or_else(|| default_state_dir(&|name| std::env::var_os(name)));
    let (url, token) = find(connection, state_dir.as_deref())?;
    Ok(Client::new(&url, token)?)
}

fn find(connection: &Connection, state_dir: Option<&Path>) -> Result<(String, Option<String>), Failure> {
    let token = match (&connection.token, &connection.token_file) {
        (Some(token), _) => Some(token.clone()),
        (None, Some(file)) => Some(read_token(file)?),
        (None, None) => None,
    };
    let local = state_dir.map(read_server_file).transpose()?.flatten();
    let url = match (&connection.server, &local) {
        (Some(url), _) => url.clone(),
        (None, Some(file)) => file.url.clone(),
        (None, None) => {
            let place = state_dir.map_or_else(|| "a state directory".to_owned(), |dir| dir.display().to_string());
            return Err(Failure::NoServer(format!(
                "no control plane is known: {place} holds no server.json. Start one with `em-controlplane serve`, or name one with --server or EM_SERVER"
            )));
        }
    };
    // The local token is for the local server: another address never gets to see it.
    let theirs = |file: &&ServerFile| file.url.trim_end_matches('/') == url.trim_end_matches('/');
    let token = match (token, local.as_ref().filter(theirs)) {
        (Some(token), _) => Some(token),
        (None, Some(file)) => Some(read_token(&file.token_file)?),
        (None, None) => None,
    };
    Ok((url, token))
}

/// As `em-controlplane` chooses it.
fn default_state_dir(variable: &dyn Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let set = |name| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("XDG_STATE_HOME").or_else(|| set("HOME").map(|home| home.join(".local/state"))).map(|base| base.join("em"))
}

fn read_server_file(state_dir: &Path) -> Result<Option<ServerFile>, Failure> {
    let path = state_dir.join("server.json");
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(Failure::Io { doing: format!("reading {}", path.display()), source }),
    };
    let mut file: ServerFile =
        serde_json::from_slice(&bytes).map_err(|_| Failure::NoServer(format!("{} is not what a server writes", path.display())))?;
    file.token_file = state_dir.join(&file.token_file);
    Ok(Some(file))
}

fn read_token(path: &Path) -> Result<String, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| Failure::Io { doing: format!("reading the token file {}", path.display()), source })?;
    match text.trim() {
        "" => Err(Failure::Usage(format!("the token file {} is empty", path.display()))),
        token => Ok(token.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection(server: Option<&str>, token: Option<&str>) -> Connection {
        Connection { server: server.map(str::to_owned), token: token.map(str::to_owned), token_file: None, state_dir: None }
    }

    fn state_dir() -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::write(dir.path().join("server.json"), r#"{"url":"http://127.0.0.1:4711","token_file":"admin-token","pid":7}"#)
            .expect("file");
        std::fs::write(dir.path().join("admin-token"), "em_secret\n").expect("file");
        dir
    }

    #[test]
    fn a_server_on_this_machine_is_found_with_its_token() {
        let dir = state_dir();
        let found = find(&connection(None, None), Some(dir.path())).expect("found");
        assert_eq!(found, ("http://127.0.0.1:4711".to_owned(), Some("em_secret".to_owned())));
        let found = find(&connection(Some("http://127.0.0.1:4711/"), None), Some(dir.path())).expect("found");
        assert_eq!(found.1.as_deref(), Some("em_secret"), "the same address");
    }

    #[test]
    fn another_server_never_sees_the_local_token() {
        let dir = state_dir();
        let found = find(&connection(Some("http://elsewhere:80"), None), Some(dir.path())).expect("found");
        assert_eq!(found, ("http://elsewhere:80".to_owned(), None));
        let found = find(&connection(Some("http://elsewhere:80"), Some("own")), Some(dir.path())).expect("found");
        assert_eq!(found.1.as_deref(), Some("own"));
    }

    #[test]
    fn without_a_server_the_cure_is_told() {
        let dir = tempfile::tempdir().expect("a folder");
        let failure = find(&connection(None, None), Some(dir.path())).expect_err("nothing there");
        assert_eq!(failure.exit_code(), 3);
        assert!(failure.to_string().contains("em-controlplane serve"), "{failure}");
    }

    #[test]
    fn the_default_state_directory_follows_xdg() {
        let dir = |xdg: Option<&str>| {
            let xdg = xdg.map(OsString::from);
            default_state_dir(&move |name| if name == "HOME" { Some("/home/me".into()) } else { xdg.clone() })
        };
        assert_eq!(dir(None), Some(PathBuf::from("/home/me/.local/state/em")));
        assert_eq!(dir(Some("")), Some(PathBuf::from("/home/me/.local/state/em")));
        assert_eq!(dir(Some("/state")), Some(PathBuf::from("/state/em")));
    }
}
