//! One report of several generators that ran at the same time against one service, exact: histograms bucket for bucket, counts by
//! addition. What no addition can answer is refused: reports of another plan, of windows of another length or at another time.
//!
//! Seconds are added by their number, each counted from the begin of its own window. `slip_p99_ms` becomes the largest one, which the p99
//! of all requests cannot exceed; `headroom_requests_per_s` that of the generator with the least room, scaled to the whole load: one
//! generator at its limit makes the whole what it is.

use std::collections::BTreeMap;

use em_api::Timestamp;
use em_api::measurement::{GeneratorReport, Histogram, LengthHistogram, LoadReport, Merged, OutcomeCounts, SecondBin};
use em_api::spec::LoadLevel;
use em_stats::histogram::{self, HistogramError};

/// As many as one generator keeps.
const MAX_EXAMPLES: usize = 5;
/// Each generator has texts of its own.
pub const TEXT_OFFSET: &str = "textOffset";

#[derive(Debug, thiserror::Error, PartialEq)]
pub enum MergeError {
    #[error("give at least two reports")]
    TooFew,
    #[error(transparent)]
    Differs(Box<Difference>),
    #[error("level: {name} searched for a largest rate, each generator by itself; give the generators a rate")]
    Search { name: String },
    #[error("merged: {name} is made of several reports; give those")]
    MergedAlready { name: String },
    #[error("window_started_at: {name} had no moment in common with the others; start the generators together")]
    NoOverlap { name: String },
    #[error("{field} of {name} cannot be read: {why}")]
    Histogram { field: &'static str, name: String, why: String },
}

#[derive(Debug, thiserror::Error, PartialEq)]
#[error("{field}: {first} in {first_name}, {other} in {other_name}; only reports of one plan can be merged{cure}")]
pub struct Difference {
    pub field: String,
    pub first: String,
    pub first_name: String,
    pub other: String,
    pub other_name: String,
    cure: &'static str,
}

/// `reports`: each with its name, for errors.
pub fn merge(reports: &[(String, LoadReport)]) -> Result<LoadReport, MergeError> {
    let [(first_name, first), others @ ..] = reports else { return Err(MergeError::TooFew) };
    if others.is_empty() {
        return Err(MergeError::TooFew);
    }
    for (name, report) in reports {
        if report.merged.is_some() {
            return Err(MergeError::MergedAlready { name: name.clone() });
        }
        if report.find_max.is_some() || matches!(report.level, LoadLevel::FindMax(_)) {
            return Err(MergeError::Search { name: name.clone() });
        }
    }
    for (other_name, other) in others {
        same_plan((first_name, first), (other_name, other))?;
    }
    let all = || reports.iter().map(|(_, report)| report);
    let sum = |of: fn(&LoadReport) -> u64| all().map(of).sum();
    let (begin, merged) = windows(reports)?;
    let mut plan = first.plan.clone();
    plan.remove(TEXT_OFFSET);
    Ok(LoadReport {
        url: first.url.clone(),
        level: level(all()),
        batch_size: first.batch_size,
        warmup_s: first.warmup_s,
        window_started_at: begin,
        window_s: first.window_s,
        extended: first.extended,
        counts: counts(all()),
        texts_ok: sum(|report| report.texts_ok),
        requests_ok: sum(|report| report.requests_ok),
        latency_us: histograms(reports, "latency_us", |report| &report.latency_us)?,
        service_time_us: histograms(reports, "service_time_us", |report| &report.service_time_us)?,
        slip_us: histograms(reports, "slip_us", |report| &report.slip_us)?,
        per_second: seconds(all()),
        text_words: words(all()),
        embedding_dim: all().find_map(|report| report.embedding_dim),
        response_bytes: sum(|report| report.response_bytes),
        generator: generator(all(), first),
        dataset: first.dataset.clone(),
        error_examples: examples(all()),
        find_max: None,
        plan,
        merged: Some(merged),
    })
}

/// Names of the reports that sent the same texts in the same order as an earlier one: a cache may have answered.
pub fn same_texts(reports: &[(String, LoadReport)]) -> Vec<&str> {
    let offset = |report: &LoadReport| report.plan.get(TEXT_OFFSET).cloned();
    let repeated = |(at, (_, report)): &(usize, &(String, LoadReport))| {
        offset(report).is_some() && reports[..*at].iter().any(|(_, earlier)| offset(earlier) == offset(report))
    };
    reports.iter().enumerate().filter(repeated).map(|(_, (name, _))| name.as_str()).collect()
}

fn same_plan((first_name, first): (&String, &LoadReport), (other_name, other): (&String, &LoadReport)) -> Result<(), MergeError> {
    let differs = |field: &str, first: String, other: String, cure| {
        let (first_name, other_name) = (first_name.clone(), other_name.clone());
        Err(MergeError::Differs(Box::new(Difference { field: field.to_owned(), first, first_name, other, other_name, cure })))
    };
    let of = |report: &LoadReport| {
        [
            ("url", report.url.clone(), ""),
            ("level", kind(report.level).to_owned(), ""),
            ("batch_size", report.batch_size.to_string(), ""),
            ("warmup_s", report.warmup_s.to_string(), ""),
            ("window_s", report.window_s.to_string(), ": a rate needs one window (see --duration, --min-requests)"),
            ("dataset.source", report.dataset.source.clone(), ""),
            ("dataset.texts", report.dataset.texts.to_string(), ""),
            ("dataset.seed", report.dataset.seed.to_string(), ": one --seed for all, and each its own --text-offset"),
            ("dataset.sha256", report.dataset.sha256.clone(), ""),
            ("text_words.upper", format!("{:?}", report.text_words.upper), ""),
            ("generator.version", report.generator.version.clone(), ""),
        ]
    };
    for ((field, one, cure), (_, two, _)) in of(first).into_iter().zip(of(other)) {
        if one != two {
            return differs(field, one, two, cure);
        }
    }
    if let (Some(one), Some(two)) = (first.embedding_dim, other.embedding_dim)
        && one != two
    {
        return differs("embedding_dim", one.to_string(), two.to_string(), "");
    }
    let value = |plan: &BTreeMap<String, String>, field: &str| plan.get(field).cloned().unwrap_or_else(|| "nothing".to_owned());
    let fields = first.plan.keys().chain(other.plan.keys()).filter(|field| *field != TEXT_OFFSET);
    for field in fields {
        let (one, two) = (value(&first.plan, field), value(&other.plan, field));
        if one != two {
            return differs(&format!("plan.{field}"), one, two, "");
        }
    }
    Ok(())
}

fn kind(level: LoadLevel) -> &'static str {
    match level {
        LoadLevel::Concurrency(_) => "concurrency",
        LoadLevel::RequestRate(_) => "requestRate",
        LoadLevel::TextRate(_) => "textRate",
        LoadLevel::FindMax(_) => "findMax",
    }
}

/// What all generators together were told; they are of one kind.
fn level<'a>(reports: impl Iterator<Item = &'a LoadReport>) -> LoadLevel {
    let add = |sum, level| match (sum, level) {
        (LoadLevel::Concurrency(sum), LoadLevel::Concurrency(users)) => LoadLevel::Concurrency(sum + users),
        (LoadLevel::RequestRate(sum), LoadLevel::RequestRate(rate)) => LoadLevel::RequestRate(sum + rate),
        (LoadLevel::TextRate(sum), LoadLevel::TextRate(rate)) => LoadLevel::TextRate(sum + rate),
        (sum, _) => sum,
    };
    reports.map(|report| report.level).reduce(add).expect("there are two reports")
}

/// The earliest begin, and how the windows lay.
fn windows(reports: &[(String, LoadReport)]) -> Result<(Timestamp, Merged), MergeError> {
    let begins = || reports.iter().map(|(_, report)| report.window_started_at);
    let (earliest, latest) = (begins().min().expect("there are two"), begins().max().expect("there are two"));
    let spread_s = latest.duration_since(earliest).as_secs_f64();
    let overlap_s = reports[0].1.window_s - spread_s;
    if overlap_s <= 0.0 {
        let last = reports.iter().find(|(_, report)| report.window_started_at == latest);
        return Err(MergeError::NoOverlap { name: last.map(|(name, _)| name.clone()).unwrap_or_default() });
    }
    let generators = u32::try_from(reports.len()).unwrap_or(u32::MAX);
    Ok((earliest, Merged { generators, overlap_s, spread_s }))
}

fn counts<'a>(reports: impl Iterator<Item = &'a LoadReport>) -> OutcomeCounts {
    let mut sum = OutcomeCounts::default();
    for OutcomeCounts { ok, refused, timed_out, http_status, wrong_shape, not_finite, wrong_norm, late, other } in
        reports.map(|report| &report.counts)
    {
        sum.ok += ok;
        sum.refused += refused;
        sum.timed_out += timed_out;
        for (status, count) in http_status {
            *sum.http_status.entry(*status).or_default() += count;
        }
        sum.wrong_shape += wrong_shape;
        sum.not_finite += not_finite;
        sum.wrong_norm += wrong_norm;
        sum.late += late;
        sum.other += other;
    }
    sum
}

fn histograms(
    reports: &[(String, LoadReport)],
    field: &'static str,
    of: fn(&LoadReport) -> &Histogram,
) -> Result<Histogram, MergeError> {
    let decode = |(name, report): &(String, LoadReport)| {
        let unreadable = |error: HistogramError| MergeError::Histogram { field, name: name.clone(), why: error.to_string() };
        histogram::decode(&of(report).0).map_err(unreadable)
    };
    let parts: Vec<_> = reports.iter().map(decode).collect::<Result<_, _>>()?;
    Ok(Histogram(histogram::encode(&histogram::merge(&parts))))
}

fn seconds<'a>(reports: impl Iterator<Item = &'a LoadReport>) -> Vec<SecondBin> {
    let mut sum: BTreeMap<u32, SecondBin> = BTreeMap::new();
    for bin in reports.flat_map(|report| &report.per_second) {
        let empty = SecondBin { second: bin.second, requests_ok: 0, texts_ok: 0, errors: 0 };
        let total = sum.entry(bin.second).or_insert(empty);
        total.requests_ok += bin.requests_ok;
        total.texts_ok += bin.texts_ok;
        total.errors += bin.errors;
    }
    sum.into_values().collect()
}

fn words<'a>(mut reports: impl Iterator<Item = &'a LoadReport>) -> LengthHistogram {
    let mut sum = reports.next().map(|report| report.text_words.clone()).unwrap_or_default();
    for words in reports.map(|report| &report.text_words) {
        sum.counts.iter_mut().zip(&words.counts).for_each(|(sum, count)| *sum += count);
        sum.total_words += words.total_words;
    }
    sum
}

fn generator<'a>(reports: impl Iterator<Item = &'a LoadReport> + Clone, first: &LoadReport) -> GeneratorReport {
    let of = |report: &'a LoadReport| &report.generator;
    let offered = |report: &LoadReport| (report.counts.ok + report.counts.late + report.counts.errors()) as f64 / report.window_s;
    let room: Option<Vec<f64>> =
        reports.clone().map(|report| Some(of(report).headroom_requests_per_s? / offered(report))).collect();
    let least = room.map(|room| room.into_iter().fold(f64::INFINITY, f64::min));
    let waiting: Option<Vec<f64>> = reports.clone().map(|report| of(report).cpu_wait_s).collect();
    GeneratorReport {
        cpu_s: reports.clone().map(|report| of(report).cpu_s).sum(),
        cores: reports.clone().flat_map(|report| of(report).cores.clone()).collect(),
        headroom_requests_per_s: least
            .map(|least| least * reports.clone().map(offered).sum::<f64>())
            .filter(|room| room.is_finite()),
        slip_p99_ms: reports.filter_map(|report| of(report).slip_p99_ms).reduce(f64::max),
        cpu_wait_s: waiting.map(|waiting| waiting.iter().sum()),
        version: first.generator.version.clone(),
    }
}

fn examples<'a>(reports: impl Iterator<Item = &'a LoadReport>) -> Vec<String> {
    let mut examples: Vec<String> = Vec::new();
    for example in reports.flat_map(|report| &report.error_examples) {
        if examples.len() < MAX_EXAMPLES && !examples.contains(example) {
            examples.push(example.clone());
        }
    }
    examples
}
