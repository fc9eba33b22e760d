//! Choosing a port, and knowing whose it is. A health route that answers proves little: another user's server, or an older one
//! of our own, may hold the port. The kernel's socket tables say which process listens.

use std::collections::HashSet;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;

/// `preferred` when it is free and wanted, else a free one. Nothing is held: whoever binds it next has it.
pub(super) fn choose(preferred: u16, want_preferred: bool) -> io::Result<u16> {
    if want_preferred && TcpListener::bind((Ipv4Addr::LOCALHOST, preferred)).is_ok() {
        return Ok(preferred);
    }
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// Whose the sockets are that listen on a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    Nobody,
    Ours,
    /// Somebody else, alone or beside us: SO_REUSEPORT (vLLM sets it) lets strangers share a port. By name and process, where
    /// that can be seen.
    Stranger(String),
}

pub(super) fn owner(port: u16, pids: &[u32]) -> Owner {
    let listening = listening_inodes(port);
    let ours: HashSet<u64> = pids.iter().flat_map(|pid| socket_inodes(*pid)).collect();
    match listening.iter().find(|inode| !ours.contains(inode)) {
        None if listening.is_empty() => Owner::Nobody,
        None => Owner::Ours,
        Some(foreign) => Owner::Stranger(holder(*foreign)),
    }
}

/// Who holds a socket, in words: `python3 (process 4711)`. Processes of other users do not show theirs.
fn holder(inode: u64) -> String {
    let pids = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pid = pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).find(|pid| socket_inodes(*pid).contains(&inode));
    match pid {
        Some(pid) => {
            let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            format!("{} (process {pid})", name.trim())
        }
        None => "a process of another user or container".to_owned(),
    }
}

fn listening_inodes(port: u16) -> HashSet<u64> {
    ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| std::fs::read_to_string(table).ok())
        .flat_map(|table| table.lines().filter_map(|line| listening_inode(line, port)).collect::<Vec<_>>())
        .collect()
}

/// A line of /proc/net/tcp: `sl local_address rem_address st tx_queue:rx_queue tr:tm->when retrnsmt uid timeout inode …` (proc(5)).
fn listening_inode(line: &str, port: u16) -> Option<u64> {
    const LISTEN: &str = "0A";
    let fields: Vec<&str> = line.split_whitespace().collect();
    let (_, local_port) = fields.get(1)?.rsplit_once(':')?;
    if *fields.get(3)? != LISTEN || u16::from_str_radix(local_port, 16).ok()? != port {
        return None;
    }
    fields.get(9)?.parse().ok()
}

fn socket_inodes(pid: u32) -> Vec<u64> {
    let Ok(entries) = std::fs::read_dir(Path::new("/proc").join(pid.to_string()).join("fd")) else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| std::fs::read_link(entry.path()).ok())
        .filter_map(|target| target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_not_chosen() {
        let held = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind");
        let taken = held.local_addr().expect("address").port();
        assert_ne!(choose(taken, true).expect("choose"), taken);
        drop(held);
        assert_eq!(choose(taken, true).expect("choose"), taken);
        assert_ne!(choose(taken, false).expect("choose"), 0);
    }

    #[test]
    fn a_listener_is_known_by_its_process() {
        let held = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind");
        let port = held.local_addr().expect("address").port();
        let me = std::process::id();
        assert_eq!(owner(port, &[me]), Owner::Ours);
        let Owner::Stranger(who) = owner(port, &[1]) else { panic!("a squatter is noticed") };
        assert!(who.contains(&format!("(process {me})")), "{who}");
        drop(held);
        assert_eq!(owner(port, &[me]), Owner::Nobody);
    }

    #[test]
    fn only_listening_sockets_of_the_port_are_read() {
        let listening =
            "   0: 0100007F:1F40 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0";
        assert_eq!(listening_inode(listening, 8000), Some(4711));
        assert_eq!(listening_inode(listening, 8001), None);
        assert_eq!(listening_inode(&listening.replace(" 0A ", " 01 "), 8000), None, "a connection");
        assert_eq!(listening_inode("  sl  local_address rem_address   st tx_queue", 8000), None);
    }
}
