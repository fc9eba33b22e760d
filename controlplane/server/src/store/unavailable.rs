//! Errors that say "not now" rather than "not so": the database is locked, full, read-only or away. Callers repeat the same later.

use super::Error;

/// Why the database cannot do its work for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unavailable {
    /// Locked by another process, or more is asked of it than it can do.
    Busy,
    /// Its disk, or its quota.
    Full,
    ReadOnly,
    /// No connection, or its files cannot be read.
    Away,
}

impl Unavailable {
    /// As a label of metrics and the end of an error code.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::Full => "full",
            Self::ReadOnly => "read_only",
            Self::Away => "unavailable",
        }
    }

    /// For people, with the cure.
    pub fn cure(self) -> &'static str {
        match self {
            Self::Busy => "the database is busy or locked by another program; try again in a moment",
            Self::Full => "the disk of the database is full: free space where --state-dir (or the database server) is",
            Self::ReadOnly => {
                "the database cannot be written: look at the rights and the mount of --state-dir (or the database server)"
            }
            Self::Away => "the database does not answer; try again in a moment",
        }
    }
}

impl Error {
    /// `Some`: the same may succeed later.
    pub fn unavailable(&self) -> Option<Unavailable> {
        match self {
            Self::Late | Self::Busy => Some(Unavailable::Busy),
            Self::Database(error) => of(error),
            // Nothing of it is stored, whatever the cause.
            Self::NotCommitted(error) => of(error).or(Some(Unavailable::Away)),
            _ => None,
        }
    }
}

fn of(error: &sqlx::Error) -> Option<Unavailable> {
    match error {
        sqlx::Error::PoolTimedOut => Some(Unavailable::Busy),
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => Some(Unavailable::Away),
        sqlx::Error::Database(error) => by_code(error.code()?.as_ref()),
        _ => None,
    }
}

/// SQLite's (extended) result codes are numbers of up to four digits, PostgreSQL's SQLSTATEs have five characters.
fn by_code(code: &str) -> Option<Unavailable> {
    if code.len() == 5 {
        return match code {
            "53100" => Some(Unavailable::Full),
            "25006" => Some(Unavailable::ReadOnly),
            "53300" | "55P03" | "57014" | "40001" | "40P01" => Some(Unavailable::Busy),
            _ if code.starts_with("08") || code.starts_with("57P") => Some(Unavailable::Away),
            _ => None,
        };
    }
    match code.parse::<u32>().ok()? & 0xff {
        // SQLITE_BUSY, SQLITE_LOCKED.
        5 | 6 => Some(Unavailable::Busy),
        // SQLITE_READONLY.
        8 => Some(Unavailable::ReadOnly),
        // SQLITE_FULL.
        13 => Some(Unavailable::Full),
        // SQLITE_IOERR, SQLITE_CANTOPEN.
        10 | 14 => Some(Unavailable::Away),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_both_databases_say_whether_it_may_succeed_later() {
        for (code, wanted) in [
            ("5", Some(Unavailable::Busy)),
            ("517", Some(Unavailable::Busy)),
            ("13", Some(Unavailable::Full)),
            ("1032", Some(Unavailable::ReadOnly)),
            ("778", Some(Unavailable::Away)),
            ("53100", Some(Unavailable::Full)),
            ("57014", Some(Unavailable::Busy)),
            ("57P03", Some(Unavailable::Away)),
            ("2067", None),
            ("23505", None),
        ] {
            assert_eq!(by_code(code), wanted, "{code}");
        }
    }
}
