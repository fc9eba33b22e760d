//! Which environment variables a user may set for the agent: any, but for those that bash keeps for itself (the value would not
//! arrive) and those by which the agent knows its job.

/// bash sets these itself, or refuses to let them be set (bash(1), "Shell Variables").
const OF_BASH: [&str; 28] = [
    "_",
    "BASH",
    "BASHOPTS",
    "BASHPID",
    "BASH_ARGC",
    "BASH_ARGV",
    "BASH_ARGV0",
    "BASH_COMMAND",
    "BASH_LINENO",
    "BASH_SOURCE",
    "BASH_SUBSHELL",
    "BASH_VERSINFO",
    "DIRSTACK",
    "EPOCHREALTIME",
    "EPOCHSECONDS",
    "EUID",
    "FUNCNAME",
    "GROUPS",
    "LINENO",
    "OLDPWD",
    "PPID",
    "PWD",
    "RANDOM",
    "SECONDS",
    "SHELLOPTS",
    "SHLVL",
    "SRANDOM",
    "UID",
];

/// The script's own and those that say which job this is.
const OF_THE_JOB: [&str; 2] = ["SLURM_RESTART_COUNT", "SLURM_CONF"];

/// Accepts the name of a variable for the job script's environment. Errors: what is wrong with it.
pub fn validate_env_name(name: &str) -> Result<(), String> {
    let sound = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if !sound {
        let shown: String = name.chars().take(60).flat_map(char::escape_debug).collect();
        return Err(format!("`{shown}` is not a name of an environment variable"));
    }
    let reserved =
        OF_BASH.contains(&name) || OF_THE_JOB.contains(&name) || name.starts_with("SLURM_JOB") || name.starts_with("em_");
    if reserved { Err(format!("{name} is set by Slurm, by bash or by the job script itself; use another name")) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_would_not_arrive_or_would_mislead_the_agent_are_refused() {
        for name in ["HF_HUB_OFFLINE", "PATH", "_x", "a1", "SLURM_CPU_BIND", "IFS"] {
            assert_eq!(validate_env_name(name), Ok(()), "{name}");
        }
        for name in ["", "1a", "a b", "a=b", "a;b", "é", "UID", "_", "SHELLOPTS", "SLURM_JOB_ID", "SLURM_RESTART_COUNT", "em_agent"]
        {
            assert!(validate_env_name(name).is_err(), "{name}");
        }
    }
}
