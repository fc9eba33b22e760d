//! A child of the agent must not outlive it, not even when the agent is killed with SIGKILL. The kernel can promise that,
//! but only at the child's own request: the agent names itself in the environment, the child asks at its start.

use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};

/// The agent's process id, set for child processes that are `em-agent` themselves.
pub(crate) const VARIABLE: &str = "EM_DIE_WITH_PARENT";

/// Asks for death with the parent where [`VARIABLE`] is set. The parent may be gone before the kernel was asked: then
/// this process ends here.
pub(crate) fn die_with_parent() {
    let Some(parent) = std::env::var(VARIABLE).ok().and_then(|text| text.parse().ok()).and_then(Pid::from_raw) else { return };
    // An error (a seccomp filter) leaves a child that is still stopped in every orderly end.
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
    if getppid() != Some(parent) {
        eprintln!("em-agent: the agent that started this process is gone");
        std::process::exit(1);
    }
}
