//! The number of an account on this machine, asked of `id`, which knows those of directories (LDAP) too.

use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

use crate::environment::inherited;

/// `None`: no such account here, or no answer within 5 s.
pub(super) async fn uid(user: &str) -> Option<u32> {
    let mut command = Command::new("id");
    command.args(["-u", "--", user]).env_clear().envs(inherited(&[])).stdin(Stdio::null()).kill_on_drop(true);
    let output = timeout(Duration::from_secs(5), command.output()).await.ok()?.ok()?;
    String::from_utf8_lossy(&output.stdout).trim().parse().ok().filter(|_| output.status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn accounts_are_known_by_their_numbers() {
        assert_eq!(uid("root").await, Some(0));
        assert_eq!(uid("no-such-account").await, None);
        assert_eq!(uid("-n").await, None);
    }
}
