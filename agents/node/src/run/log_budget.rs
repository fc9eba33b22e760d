//! How much of a chatty log is sent: 50 lines a second (bursts of 200: a traceback must come through whole) and 16 MiB a
//! trial. What is left out is counted and said.

use std::time::Instant;

const LINES_PER_SECOND: f64 = 50.0;
const BURST: f64 = 200.0;
const BYTES_PER_TRIAL: u64 = 16 * 1024 * 1024;
/// A longer line is cut.
const LINE_BYTES: usize = 4 * 1024;

#[derive(Debug)]
pub(crate) struct LogBudget {
    lines: f64,
    at: Instant,
    bytes_left: u64,
    dropped: u64,
}

impl LogBudget {
    pub(crate) fn new(now: Instant) -> Self {
        Self { lines: BURST, at: now, bytes_left: BYTES_PER_TRIAL, dropped: 0 }
    }

    /// A new trial has its own bytes.
    pub(crate) fn next_trial(&mut self) {
        self.bytes_left = BYTES_PER_TRIAL;
    }

    /// The lines to send for `line`: none when it is dropped; a note about dropped ones before it when the flow goes on.
    pub(crate) fn admit(&mut self, now: Instant, line: &str) -> Vec<String> {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.lines = (self.lines + passed * LINES_PER_SECOND).min(BURST);
        self.at = now;
        let line = cut(line);
        if self.lines < 1.0 || (line.len() as u64) > self.bytes_left {
            self.dropped += 1;
            return Vec::new();
        }
        self.lines -= 1.0;
        self.bytes_left -= line.len() as u64;
        let mut admitted: Vec<String> = self.note().into_iter().collect();
        admitted.push(line);
        admitted
    }

    /// What to say of lines dropped since the last note; also at the end of the log.
    pub(crate) fn note(&mut self) -> Option<String> {
        let dropped = std::mem::take(&mut self.dropped);
        (dropped > 0).then(|| {
            format!("[{dropped} lines left out: more than 50 lines/s or 16 MiB a trial; the file in the job directory has all]")
        })
    }
}

fn cut(line: &str) -> String {
    if line.len() <= LINE_BYTES {
        return line.to_owned();
    }
    let end = line.floor_char_boundary(LINE_BYTES);
    format!("{}… [line cut]", &line[..end])
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_flood_is_cut_to_its_rate_and_says_how_much_is_missing() {
        let begin = Instant::now();
        let mut budget = LogBudget::new(begin);
        let sent: usize = (0..10_000).map(|n| budget.admit(begin + Duration::from_millis(n / 10), "line").len()).sum();
        // 10,000 lines in a second: the burst, then 50 a second (each with its note).
        assert!((240..=300).contains(&sent), "{sent}");
        let quiet = budget.admit(begin + Duration::from_secs(10), "after the flood");
        assert_eq!(quiet.len(), 2);
        assert!(quiet[0].contains("lines left out"), "{quiet:?}");
        assert_eq!(budget.note(), None, "said once");
    }

    #[test]
    fn a_trial_sends_at_most_16_mib_and_the_next_one_may_again() {
        let begin = Instant::now();
        let mut budget = LogBudget::new(begin);
        let line = "x".repeat(LINE_BYTES);
        let slow = |n: u64| begin + Duration::from_millis(n * 20);
        let sent: u64 = (1..6_000).map(|n| budget.admit(slow(n), &line).iter().map(|l| l.len() as u64).sum::<u64>()).sum();
        assert_eq!(sent, BYTES_PER_TRIAL);
        budget.next_trial();
        assert_eq!(budget.admit(slow(6_000), &line).len(), 2);
    }

    #[test]
    fn a_long_line_is_cut_at_a_character() {
        let line = "ä".repeat(LINE_BYTES);
        let cut = cut(&line);
        assert!(cut.len() < LINE_BYTES + 32 && cut.ends_with("[line cut]"));
        assert!(cut.starts_with("ää"));
    }
}
