//! The second key of a job. Its name is how it is found again, and a site's job_submit plugin may rewrite names; so the name is sent
//! a second time, as the last word of the comment, and read back from there.

use crate::JobView;

const WORD: &str = "name=";

/// The comment that Slurm gets.
pub(crate) fn stamp(comment: &str, name: &str) -> String {
    if comment.is_empty() { format!("{WORD}{name}") } else { format!("{comment} {WORD}{name}") }
}

/// Gives a job back the name and the comment that it was submitted with.
pub(crate) fn restore(mut job: JobView) -> JobView {
    let (comment, word) = job.comment.rsplit_once(' ').unwrap_or(("", &job.comment));
    match word.strip_prefix(WORD) {
        Some(name) if name == job.name => job.comment = comment.to_owned(),
        Some(name) if !name.is_empty() => job.name = name.to_owned(),
        _ => {}
    }
    job
}

impl JobView {
    /// Whether the site has rewritten the job's name: `name` is then the one that it was submitted under, taken from the comment, whose
    /// last word still says so. Accounting finds such a job only by chance.
    pub fn renamed(&self) -> bool {
        self.comment.rsplit(' ').next().and_then(|word| word.strip_prefix(WORD)).is_some_and(|name| name == self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::JobState;

    fn job(name: &str, comment: &str) -> JobView {
        JobView {
            id: "1".to_owned(),
            name: name.to_owned(),
            comment: comment.to_owned(),
            state: JobState::Pending,
            raw_state: "PENDING".to_owned(),
            reason: None,
            pending: None,
            nodes: None,
            restart_count: None,
            submitted_at: None,
            started_at: None,
            expected_start: None,
            ends_at: None,
            exit: None,
            derived_exit: None,
            user: None,
        }
    }

    #[test]
    fn name_and_comment_come_back_as_they_were_sent() {
        for comment in ["", "em attempt=1", "a name=b", "é 'x'  y "] {
            let back = restore(job("em-1", &stamp(comment, "em-1")));
            assert_eq!((back.name.as_str(), back.comment.as_str(), back.renamed()), ("em-1", comment, false));
            let back = restore(job("site_em-1_x", &stamp(comment, "em-1")));
            assert_eq!((back.name.as_str(), back.renamed()), ("em-1", true), "rewritten by the site");
        }
    }

    #[test]
    fn jobs_of_others_are_left_as_they_are() {
        for comment in ["", "a comment", "name=", "x=name=em-1"] {
            let theirs = job("theirs", comment);
            assert_eq!(restore(theirs.clone()), theirs);
            assert!(!theirs.renamed());
        }
    }
}
