//! `/proc/{pid}/stat`, the fields we need. Source: proc_pid_stat(5).

/// One process at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Stat {
    state: char,
    pub(super) parent: u32,
    pub(super) group: u32,
    /// utime + stime + cutime + cstime.
    pub(super) cpu_ticks: u64,
    pub(super) threads: u32,
    /// Ticks since boot.
    pub(super) started: u64,
    pub(super) resident_bytes: u64,
}

impl Stat {
    /// Zombie or dead: it runs no more.
    pub(super) fn ended(&self) -> bool {
        matches!(self.state, 'Z' | 'X' | 'x')
    }
}

/// `None`: there is no such process (any more).
pub(super) fn read_stat(pid: u32) -> Option<Stat> {
    parse(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

fn parse(text: &str) -> Option<Stat> {
    // The name may hold spaces and brackets, so count from its last bracket.
    let fields: Vec<&str> = text.get(text.rfind(')')? + 1..)?.split_ascii_whitespace().collect();
    // Field 3 of the manual is the first here.
    let field = |number: usize| fields.get(number - 3).copied();
    let count = |number: usize| field(number)?.parse::<u64>().ok();
    let signed = |number: usize| field(number)?.parse::<i64>().ok().map(|ticks| ticks.max(0) as u64);
    Some(Stat {
        state: field(3)?.chars().next()?,
        parent: field(4)?.parse().ok()?,
        group: field(5)?.parse().ok()?,
        cpu_ticks: count(14)? + count(15)? + signed(16)? + signed(17)?,
        threads: field(20)?.parse().ok()?,
        started: count(22)?,
        resident_bytes: signed(24)? * rustix::param::page_size() as u64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_and_spaces_shifts_no_field() {
        let line =
            "4242 (a) b (c) S 17 4242 4242 0 -1 4194304 900 0 0 0 120 30 7 3 20 0 11 0 555 1000000 25 18446744073709551615 1 1";
        let stat = parse(line).expect("a stat line");
        assert_eq!((stat.parent, stat.group, stat.cpu_ticks, stat.threads, stat.started), (17, 4_242, 160, 11, 555));
        assert_eq!(stat.resident_bytes, 25 * rustix::param::page_size() as u64);
        assert!(!stat.ended() && parse(&line.replace(" S ", " Z ")).expect("a stat line").ended());
        assert_eq!(parse("4242 (cut"), None);
        assert_eq!(parse("4242 (cut) S 17"), None);
    }
}
