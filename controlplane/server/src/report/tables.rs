//! The tables of a report as data: text, Markdown and HTML show the same words in the same order.

use em_api::measurement::{Outcome, Resource};
use em_api::results::{Cell, ComparisonVerdict, Estimate, Parity, ParityVerdict, Percentile, Resources, Results, Verdict};
use em_api::spec::LoadLevel;

use crate::results::{ResultsInput, load_levels, words};

#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    /// Name with unit, and whether numbers stand below it.
    pub(super) columns: Vec<(String, bool)>,
    pub(super) rows: Vec<Vec<Field>>,
    /// What the dashes mean, numbered from 1.
    pub(super) footnotes: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Field {
    pub(super) text: String,
    /// An interval or a condition, smaller, after the text.
    pub(super) minor: Option<String>,
    /// Number of a footnote.
    pub(super) note: Option<usize>,
    pub(super) tone: Tone,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Tone {
    #[default]
    Plain,
    Good,
    Doubtful,
    Bad,
}

fn plain(text: impl Into<String>) -> Field {
    Field { text: text.into(), ..Field::default() }
}

fn toned(text: impl Into<String>, tone: Tone) -> Field {
    Field { text: text.into(), tone, ..Field::default() }
}

impl Table {
    fn new(columns: &[(&str, bool)]) -> Self {
        Self { columns: columns.iter().map(|(name, numeric)| ((*name).to_owned(), *numeric)).collect(), ..Self::default() }
    }

    fn footnote(&mut self, why: &str) -> usize {
        let place = self.footnotes.iter().position(|note| note == why).unwrap_or_else(|| {
            self.footnotes.push(why.to_owned());
            self.footnotes.len() - 1
        });
        place + 1
    }

    fn missing(&mut self, why: &str) -> Field {
        Field { note: Some(self.footnote(why)), ..plain("—") }
    }

    fn number(&mut self, value: Option<f64>, why_missing: &str, show: impl Fn(f64) -> String) -> Field {
        value.map_or_else(|| self.missing(why_missing), |value| plain(show(value)))
    }

    fn estimate(&mut self, estimate: Option<Estimate>) -> Field {
        let Some(estimate) = estimate else { return self.missing("no valid trial") };
        let interval =
            estimate.low.zip(estimate.high).map(|(low, high)| format!("[{}, {}]", words::number(low), words::number(high)));
        let note = interval.is_none().then(|| self.footnote("one repetition: no interval"));
        Field { minor: interval, note, ..plain(words::number(estimate.mean)) }
    }

    /// Cells with few requests share one footnote for each percentile.
    fn percentile(&mut self, percentile: &Percentile, p: f64, samples: u64) -> Field {
        match percentile.value {
            Some(value) => plain(words::number(value)),
            None if samples == 0 => self.missing("no valid trial"),
            None => {
                let needed = em_stats::percentile::least_samples(p, em_stats::percentile::CONFIDENCE);
                self.missing(&format!(
                    "fewer than {needed} requests in valid trials: they cannot carry a p{:.0} (early-stopping bound of MLPerf Inference, 99 % confidence)",
                    p * 100.0
                ))
            }
        }
    }
}

/// One row a cell.
pub(super) fn cells(input: &ResultsInput, results: &Results) -> Table {
    let gpu = results.cells.iter().any(|cell| cell.resources.resource == Resource::Gpu);
    let several = load_levels(&input.experiment.spec.matrix).len() > 1;
    let mut table = Table::new(&[("Batch", true)]);
    let mut name = |text: &str, numeric| table.columns.push((text.to_owned(), numeric));
    if several {
        name("Load", false);
    }
    name("Backend", false);
    let numbers = ["Throughput, texts/s [95 %]", "Requests/s", "p50, ms", "p95, ms", "p99, ms", "Success"];
    numbers.into_iter().for_each(|text| name(text, true));
    let used: &[&str] = if gpu { &["GPU use", "GPU memory", "Power, W", "J per million texts"] } else { &["CPU, cores", "Memory"] };
    used.iter().for_each(|text| name(text, true));
    name("Cold start, s", true);
    let slo = results.cells.iter().any(|cell| cell.slo.is_some());
    if slo {
        name("SLO", false);
    }
    name("Vectors", false);
    name("Valid trials", false);
    for cell in &results.cells {
        let mut row = vec![plain(cell.batch_size.to_string())];
        if several {
            row.push(plain(cell.load.to_string()));
        }
        row.push(plain(cell.backend.clone()));
        row.push(match &cell.void {
            Some(why) => Field { note: Some(table.footnote(why)), ..toned("void", Tone::Bad) },
            None => table.estimate(cell.texts_per_second),
        });
        row.push(table.number(cell.requests_per_second.map(|rate| rate.mean), "no valid trial", words::number));
        let latency = &cell.latency_ms;
        for (percentile, p) in [(&latency.p50, 0.50), (&latency.p95, 0.95), (&latency.p99, 0.99)] {
            row.push(table.percentile(percentile, p, latency.samples));
        }
        row.push(table.number(cell.success_rate, "no request was sent", words::success));
        let no_samples = if cell.repetitions == 0 { "no valid trial" } else { "the node had no such samples" };
        let used = &cell.resources;
        if gpu {
            row.push(Field { minor: activity(used), ..table.number(used.gpu_utilization, no_samples, words::percent) });
            row.push(table.number(used.gpu_memory_peak_bytes, no_samples, words::bytes));
            row.push(table.number(used.gpu_power_watts, no_samples, words::number));
            let error = used.joules_per_million_texts_error_ratio.map(|ratio| format!("± {:.1} %", ratio * 100.0));
            row.push(Field { minor: error, ..table.number(used.joules_per_million_texts, no_samples, words::number) });
        } else {
            row.push(table.number(used.cpu_cores, no_samples, |cores| format!("{cores:.2}")));
            row.push(table.number(used.memory_peak_bytes, no_samples, words::bytes));
        }
        row.push(table.number(
            cell.cold_start.map(|start| start.first_vector_s),
            "no valid trial of a service that was started here",
            |s| format!("{s:.1}"),
        ));
        if slo {
            row.push(match &cell.slo {
                None => table.missing("no valid trial"),
                Some(check) => {
                    let (word, tone) = match check.met {
                        Some(true) => ("met", Tone::Good),
                        Some(false) => ("missed", Tone::Bad),
                        None => ("unknown", Tone::Doubtful),
                    };
                    Field { minor: Some(check.message.clone()), ..toned(word, tone) }
                }
            });
        }
        row.push(quality(results.parity.iter().find(|one| one.backend == cell.backend)));
        row.push(repetitions(cell));
        table.rows.push(row);
    }
    table
}

/// What the multiprocessors did, where the GPU counts it: utilisation is but the time in which any kernel ran.
fn activity(used: &Resources) -> Option<String> {
    let parts = [("SM", used.gpu_sm_activity), ("tensor", used.gpu_tensor_activity), ("DRAM", used.gpu_dram_activity)];
    let shown: Vec<String> =
        parts.iter().filter_map(|(name, ratio)| Some(format!("{name} {}", words::percent((*ratio)?)))).collect();
    (!shown.is_empty()).then(|| shown.join(", "))
}

/// Quality beside speed: whether the vectors agree, and by how much they do not where nothing is required of them.
fn quality(parity: Option<&Parity>) -> Field {
    let Some(parity) = parity else { return plain("—") };
    match parity.verdict {
        ParityVerdict::Passed => toned("agree", Tone::Good),
        ParityVerdict::Failed => toned("wrong", Tone::Bad),
        ParityVerdict::Unknown => toned("unchecked", Tone::Doubtful),
        ParityVerdict::Reported => {
            let cosine = parity.min_cosine.map_or_else(|| "—".to_owned(), |cosine| format!("cosine ≥ {cosine:.4}"));
            let overlap = parity.neighbour_overlap.map(|share| format!("({} of neighbours)", words::overlap(share)));
            Field { minor: overlap, ..plain(cosine) }
        }
    }
}

fn repetitions(cell: &Cell) -> Field {
    let others = [(cell.invalid, "invalid"), (cell.inconclusive, "inconclusive"), (cell.failed, "failed")];
    let told: Vec<String> = others.iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!("{count} {word}")).collect();
    let tone = if told.is_empty() { Tone::Plain } else { Tone::Doubtful };
    Field { minor: (!told.is_empty()).then(|| format!("({})", told.join(", "))), ..toned(cell.repetitions.to_string(), tone) }
}

/// One row a pair of backends and point of the matrix.
pub(super) fn comparisons(input: &ResultsInput, results: &Results) -> Table {
    let matrix = &input.experiment.spec.matrix;
    let mut table = Table::new(&[
        ("Where", false),
        ("A", false),
        ("B", false),
        ("A ÷ B, texts/s [95 %]", true),
        ("Verdict", false),
        ("Would have seen", true),
    ]);
    for one in &results.comparisons {
        let ratio = match one.throughput_ratio {
            Some(ratio) => plain(words::ratio_with_interval(&ratio)),
            None => table.missing("no block holds valid trials of both"),
        };
        let verdict = match one.verdict {
            ComparisonVerdict::Faster => toned("A is faster", Tone::Good),
            ComparisonVerdict::Slower => toned("A is slower", Tone::Good),
            ComparisonVerdict::NoDifferenceShown => plain("no difference shown"),
            ComparisonVerdict::TooFewRepetitions => toned("too few repetitions", Tone::Doubtful),
        };
        let least =
            table.number(one.smallest_detectable_ratio, "a verdict takes 3 blocks", |ratio| words::ratio(ratio, Some(0.01)));
        table.rows.push(vec![
            plain(words::place(one.batch_size, one.load, matrix)),
            plain(one.a.clone()),
            plain(one.b.clone()),
            ratio,
            verdict,
            least,
        ]);
    }
    table
}

pub(super) fn overall(results: &Results) -> Table {
    let mut table =
        Table::new(&[("Backend", false), ("Geometric mean, texts/s", true), ("Against the best", true), ("Cells missing", true)]);
    for one in &results.overall {
        let mean = table.number(one.geometric_mean_texts_per_second, "no valid trial", words::number);
        let relative = table.number(one.relative, "no valid trial", words::percent);
        let tone = if one.missing_cells > 0 { Tone::Doubtful } else { Tone::Plain };
        table.rows.push(vec![plain(one.backend.clone()), mean, relative, toned(one.missing_cells.to_string(), tone)]);
    }
    table
}

pub(super) fn parity(results: &Results) -> Table {
    let mut table = Table::new(&[
        ("Backend", false),
        ("Verdict", false),
        ("Texts", true),
        ("Least cosine", true),
        ("Mean cosine", true),
        ("Largest difference", true),
        ("Neighbours", true),
        ("What it says", false),
    ]);
    for one in &results.parity {
        let verdict = match one.verdict {
            ParityVerdict::Passed => toned("passed", Tone::Good),
            ParityVerdict::Failed => toned("failed", Tone::Bad),
            ParityVerdict::Unknown => toned("unknown", Tone::Doubtful),
            ParityVerdict::Reported => plain("reported"),
        };
        let why = "not compared";
        let row = vec![
            plain(one.backend.clone()),
            verdict,
            plain(one.texts.to_string()),
            table.number(one.min_cosine, why, |cosine| format!("{cosine:.6}")),
            table.number(one.mean_cosine, why, |cosine| format!("{cosine:.6}")),
            table.number(one.max_abs_difference, why, |difference| format!("{difference:.2e}")),
            table.number(
                one.neighbour_overlap,
                if one.verdict == ParityVerdict::Unknown { why } else { "the reference, or too few texts" },
                words::overlap,
            ),
            plain(one.message.clone()),
        ];
        table.rows.push(row);
    }
    table
}

/// Every trial in the order of execution, failed and interrupted ones too.
pub(super) fn trials(input: &ResultsInput, results: &Results) -> Table {
    let mut table = Table::new(&[
        ("Start, UTC", false),
        ("Backend", false),
        ("Batch", true),
        ("Load", false),
        ("Repetition", true),
        ("Texts/s", true),
        ("p50, ms", true),
        ("p99, ms", true),
        ("Verdict", false),
    ]);
    let mut measurements: Vec<_> = input.measurements.iter().collect();
    measurements.sort_by_key(|one| (one.started_at, one.trial));
    for one in measurements {
        let result = results
            .trials
            .iter()
            .find(|result| (result.trial, result.attempt, result.started_at) == (one.trial, one.attempt, one.started_at));
        let load = match one.load {
            LoadLevel::Concurrency(users) => format!("concurrency {users}"),
            other => other.to_string(),
        };
        let mut row = vec![
            plain(one.started_at.strftime("%Y-%m-%d %H:%M:%S").to_string()),
            plain(one.backend.clone()),
            plain(one.batch_size.to_string()),
            plain(load),
            plain(one.repetition.to_string()),
        ];
        for value in
            [result.map(|result| result.texts_per_second), result.and_then(|one| one.p50_ms), result.and_then(|one| one.p99_ms)]
        {
            row.push(value.map_or_else(|| plain("—"), |value| plain(words::number(value))));
        }
        row.push(match (&one.outcome, result) {
            (Outcome::Failed { reason, message, .. }, _) => {
                Field { minor: Some(format!("{reason}: {message}")), ..toned("failed", Tone::Bad) }
            }
            (Outcome::Interrupted { message }, _) => Field { minor: Some(message.clone()), ..toned("interrupted", Tone::Doubtful) },
            (Outcome::Measured { .. }, None) => {
                Field { minor: Some("its block ran again".to_owned()), ..toned("replaced", Tone::Doubtful) }
            }
            (Outcome::Measured { .. }, Some(result)) => {
                let reasons: Vec<String> =
                    result.reasons.iter().map(|reason| format!("{}: {}", reason.code, reason.message)).collect();
                let (word, tone) = match result.verdict {
                    Verdict::Valid => ("valid", Tone::Good),
                    Verdict::Inconclusive => ("inconclusive", Tone::Doubtful),
                    Verdict::Invalid => ("invalid", Tone::Bad),
                };
                Field { minor: (!reasons.is_empty()).then(|| reasons.join("; ")), ..toned(word, tone) }
            }
        });
        table.rows.push(row);
    }
    table
}
