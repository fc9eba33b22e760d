//! Counts what belongs to the window. One owner, fed by the users over a channel: no lock is near a request.

use std::sync::Arc;

use em_api::measurement::{Histogram as EncodedHistogram, LengthHistogram, OutcomeCounts, SecondBin};
use em_stats::histogram;
use hdrhistogram::Histogram;

use crate::clock::{Nanos, SECOND, seconds};
use crate::draw::{Draw, Portion};
use crate::exchange::Outcome;
use crate::requests::{Requests, Row};
use crate::window::{Place, Window};

/// One request, from its planned send time to its last byte.
pub(crate) struct Sample {
    /// Number of the request in this trial.
    pub(crate) number: u64,
    pub(crate) portion: Portion,
    pub(crate) planned: Nanos,
    pub(crate) sent: Nanos,
    pub(crate) ended: Nanos,
    /// A user was free when it was due.
    pub(crate) free: bool,
    pub(crate) outcome: Outcome,
    pub(crate) bytes: u64,
    pub(crate) fault: Option<String>,
}

/// Which moment of a request decides whether it belongs to the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Belongs {
    /// Closed loop: as many requests are under way at the begin as at the end.
    ByEnd,
    /// Open loop: the planned ones, however late they end, or the slowest would be left out.
    ByPlan,
}

/// Upper bounds of the histogram of words per text.
const WORD_BOUNDS: [u32; 14] = [4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 512, u32::MAX];
const MAX_EXAMPLES: usize = 5;

pub(crate) struct Collector {
    pub(crate) window: Window,
    belongs: Belongs,
    draw: Arc<Draw>,
    pub(crate) counts: OutcomeCounts,
    pub(crate) texts_ok: u64,
    /// Counts requests over a limit of latency.
    pub(crate) over: Over,
    /// Where every request is written to.
    pub(crate) requests: Option<Requests>,
    pub(crate) response_bytes: u64,
    pub(crate) dim: Option<u32>,
    latency: Histogram<u64>,
    service_time: Histogram<u64>,
    slip: Histogram<u64>,
    /// Slip of the requests for which a user was free.
    own_slip: Histogram<u64>,
    bins: Vec<SecondBin>,
    words: LengthHistogram,
    pub(crate) examples: Vec<String>,
    pub(crate) live: Live,
}

/// Requests of the window that took longer than `limit`, or failed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Over {
    pub(crate) limit: Option<Nanos>,
    pub(crate) count: u64,
}

/// What is shown while the trial runs: all requests that ended in this phase.
pub(crate) struct Live {
    pub(crate) requests: u64,
    pub(crate) texts: u64,
    pub(crate) errors: u64,
    pub(crate) latency: Histogram<u64>,
}

impl Live {
    fn new() -> Self {
        Self { requests: 0, texts: 0, errors: 0, latency: histogram::new() }
    }

    pub(crate) fn quantile_ms(&self, quantile: f64) -> Option<f64> {
        (!self.latency.is_empty()).then(|| self.latency.value_at_quantile(quantile) as f64 / 1000.0)
    }
}

impl Collector {
    pub(crate) fn new(window: Window, belongs: Belongs, draw: Arc<Draw>) -> Self {
        Self {
            window,
            belongs,
            draw,
            counts: OutcomeCounts::default(),
            texts_ok: 0,
            over: Over::default(),
            requests: None,
            response_bytes: 0,
            dim: None,
            latency: histogram::new(),
            service_time: histogram::new(),
            slip: histogram::new(),
            own_slip: histogram::new(),
            bins: Vec::new(),
            words: LengthHistogram { upper: WORD_BOUNDS.to_vec(), counts: vec![0; WORD_BOUNDS.len()], total_words: 0 },
            examples: Vec::new(),
            live: Live::new(),
        }
    }

    /// A new phase begins: what is shown starts from nothing.
    pub(crate) fn restart_live(&mut self) {
        self.live = Live::new();
    }

    pub(crate) fn record(&mut self, sample: Sample) {
        self.window.advance(sample.ended, self.counts.ok);
        self.show(&sample);
        let valid = matches!(sample.outcome, Outcome::Valid { .. });
        let place = self.window.place(match self.belongs {
            Belongs::ByEnd => sample.ended,
            Belongs::ByPlan => sample.planned,
        });
        self.write(&sample, place);
        match place {
            Place::Before => {}
            // Under way when a closed loop ended; an open loop's schedule is simply over.
            Place::After => self.counts.late += u64::from(valid && self.belongs == Belongs::ByEnd),
            Place::Inside => self.count(sample),
        }
    }

    fn write(&mut self, sample: &Sample, place: Place) {
        let Some(requests) = &mut self.requests else { return };
        let valid = matches!(sample.outcome, Outcome::Valid { .. });
        let late = valid && (place == Place::After || self.window.place(sample.ended) == Place::After);
        requests.push(Row {
            number: sample.number,
            planned_us: since(self.window.start, sample.planned),
            sent_us: since(self.window.start, sample.sent),
            ended_us: since(self.window.start, sample.ended),
            latency_us: micros(sample.planned, sample.ended),
            service_us: micros(sample.sent, sample.ended),
            slip_us: micros(sample.planned, sample.sent),
            texts: sample.portion.texts,
            bytes: sample.bytes,
            outcome: if late { "late" } else { sample.outcome.word() },
            status: if let Outcome::Status(code) = sample.outcome { Some(code) } else { None },
            in_window: place == Place::Inside,
        });
    }

    fn count(&mut self, sample: Sample) {
        let late = self.window.place(sample.ended) == Place::After;
        let slip = micros(sample.planned, sample.sent);
        self.slip.saturating_record(slip);
        if sample.free {
            self.own_slip.saturating_record(slip);
        }
        let valid = matches!(sample.outcome, Outcome::Valid { .. });
        let too_slow = self.over.limit.is_some_and(|limit| sample.ended.saturating_sub(sample.planned) > limit);
        self.over.count += u64::from(self.over.limit.is_some() && (too_slow || !valid));
        self.response_bytes += sample.bytes;
        let draw = self.draw.clone();
        for index in draw.indices(sample.portion) {
            self.add_words(draw.texts.words(index));
        }
        if let Some(fault) = sample.fault
            && self.examples.len() < MAX_EXAMPLES
            && !self.examples.contains(&fault)
        {
            self.examples.push(fault);
        }
        if let Outcome::Valid { dim } = sample.outcome {
            self.dim.get_or_insert(dim);
            self.latency.saturating_record(micros(sample.planned, sample.ended));
            self.service_time.saturating_record(micros(sample.sent, sample.ended));
        }
        let valid = match sample.outcome {
            Outcome::Valid { .. } if late => {
                self.counts.late += 1;
                return;
            }
            Outcome::Valid { .. } => {
                self.counts.ok += 1;
                true
            }
            other => {
                *self.counter(&other) += 1;
                false
            }
        };
        if !late {
            let texts = if valid { u64::from(sample.portion.texts) } else { 0 };
            self.texts_ok += texts;
            let bin = self.bin(sample.ended);
            bin.requests_ok += u64::from(valid);
            bin.texts_ok += texts;
            bin.errors += u64::from(!valid);
        }
    }

    fn counter(&mut self, outcome: &Outcome) -> &mut u64 {
        match outcome {
            Outcome::Valid { .. } => &mut self.counts.ok,
            Outcome::Refused => &mut self.counts.refused,
            Outcome::TimedOut => &mut self.counts.timed_out,
            Outcome::Status(code) => self.counts.http_status.entry(*code).or_default(),
            Outcome::WrongShape => &mut self.counts.wrong_shape,
            Outcome::NotFinite => &mut self.counts.not_finite,
            Outcome::WrongNorm => &mut self.counts.wrong_norm,
            Outcome::Other => &mut self.counts.other,
        }
    }

    fn show(&mut self, sample: &Sample) {
        if matches!(sample.outcome, Outcome::Valid { .. }) {
            self.live.requests += 1;
            self.live.texts += u64::from(sample.portion.texts);
            self.live.latency.saturating_record(micros(sample.planned, sample.ended));
        } else {
            self.live.errors += 1;
        }
    }

    fn add_words(&mut self, words: u32) {
        let bucket = self.words.upper.partition_point(|&upper| upper < words);
        self.words.counts[bucket] += 1;
        self.words.total_words += u64::from(words);
    }

    fn bin(&mut self, ended: Nanos) -> &mut SecondBin {
        let second = (ended.saturating_sub(self.window.start) / SECOND) as usize;
        self.fill_bins(second + 1);
        &mut self.bins[second]
    }

    fn fill_bins(&mut self, count: usize) {
        while self.bins.len() < count {
            let second = u32::try_from(self.bins.len()).unwrap_or(u32::MAX);
            self.bins.push(SecondBin { second, requests_ok: 0, texts_ok: 0, errors: 0 });
        }
    }

    /// Length of the closed window, seconds.
    pub(crate) fn window_s(&self) -> f64 {
        seconds(self.window.boundary() - self.window.start)
    }

    /// One bin per second of the window, the silent ones too.
    pub(crate) fn per_second(&mut self) -> Vec<SecondBin> {
        self.fill_bins(self.window_s().ceil() as usize);
        self.bins.clone()
    }

    pub(crate) fn text_words(&self) -> LengthHistogram {
        self.words.clone()
    }

    /// The p99 of the generator's own lateness, milliseconds.
    pub(crate) fn own_slip_p99_ms(&self) -> Option<f64> {
        (!self.own_slip.is_empty()).then(|| self.own_slip.value_at_quantile(0.99) as f64 / 1_000.0)
    }

    /// Latency from the planned send time, service time, slip.
    pub(crate) fn histograms(&self) -> [EncodedHistogram; 3] {
        [&self.latency, &self.service_time, &self.slip].map(|histogram| EncodedHistogram(histogram::encode(histogram)))
    }
}

/// Microseconds after `start`; negative before it.
fn since(start: Nanos, at: Nanos) -> i64 {
    (at as i64 - start as i64) / 1_000
}

fn micros(from: Nanos, to: Nanos) -> u64 {
    to.saturating_sub(from) / 1_000
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use em_api::spec::DatasetSource;

    use super::*;
    use crate::DatasetRef;

    const MS: Nanos = SECOND / 1_000;

    /// A window from 1 s to 3 s.
    fn collector(belongs: Belongs) -> Collector {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("texts.txt");
        std::fs::write(&path, "one\ntwo words\nthree words here\n").unwrap();
        let texts = crate::dataset::load(&DatasetRef { source: DatasetSource::Text, path, limit: 10, seed: 1 }).unwrap();
        let draw = Draw::new(Arc::new(texts), &crate::LoadPlan { batch_size: 3, ..crate::plan::tests::plan() }, false);
        Collector::new(Window::new(SECOND, 2 * SECOND, 0), belongs, Arc::new(draw))
    }

    fn valid(planned_ms: u64, sent_ms: u64, ended_ms: u64) -> Sample {
        let (planned, sent, ended) = (planned_ms * MS, sent_ms * MS, ended_ms * MS);
        let portion = Portion { first: 0, texts: 3, words: None };
        Sample { number: 0, portion, planned, sent, ended, free: true, outcome: Outcome::Valid { dim: 8 }, bytes: 10, fault: None }
    }

    fn decoded(collector: &Collector) -> [Histogram<u64>; 3] {
        collector.histograms().map(|encoded| histogram::decode(&encoded.0).unwrap())
    }

    #[test]
    fn an_open_loop_counts_by_plan_and_keeps_the_latency_of_late_answers() {
        let mut collector = collector(Belongs::ByPlan);
        for sample in [
            valid(900, 900, 1_100), // planned in the warm-up
            valid(1_000, 1_250, 1_500),
            valid(2_900, 2_900, 3_400), // late
            valid(3_000, 3_000, 3_100), // planned after the end
        ] {
            collector.record(sample);
        }
        assert_eq!((collector.counts.ok, collector.counts.late, collector.counts.errors()), (1, 1, 0));
        let [latency, service_time, slip] = decoded(&collector);
        let near = |value: u64, ms: u64| value.abs_diff(ms * 1_000) <= ms * 1_000 / 500;
        assert!(latency.len() == 2 && near(latency.min(), 500) && near(latency.max(), 500));
        assert!(near(service_time.min(), 250) && near(service_time.max(), 500));
        assert!(slip.min() == 0 && near(slip.max(), 250));
        let bins: Vec<u64> = collector.per_second().iter().map(|bin| bin.texts_ok).collect();
        assert_eq!(bins, [3, 0]);
        assert_eq!((collector.words.total_words, collector.words.counts[0]), (12, 6));
    }

    #[test]
    fn a_closed_loop_counts_by_end() {
        let mut collector = collector(Belongs::ByEnd);
        for sample in [valid(900, 900, 999), valid(900, 900, 1_000), valid(2_000, 2_000, 2_999), valid(2_900, 2_900, 3_000)] {
            collector.record(sample);
        }
        assert_eq!((collector.counts.ok, collector.counts.late), (2, 1));
        assert_eq!(decoded(&collector)[0].len(), 2);
        assert_eq!(collector.response_bytes, 20);
    }

    #[test]
    fn a_fault_after_the_window_is_nobodys_fault() {
        let mut collector = collector(Belongs::ByEnd);
        for ended in [2_000, 4_000] {
            let fault = Some("no".to_owned());
            collector.record(Sample { outcome: Outcome::Status(500), fault, ..valid(1_500, 1_500, ended) });
        }
        assert_eq!((collector.counts.errors(), collector.examples.len()), (1, 1));
        assert_eq!(collector.live.errors, 2, "but it is shown");
    }
}
