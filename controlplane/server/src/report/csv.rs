//! One row a cell, units in the column names; an absent number is an empty field.

use em_api::results::{Cell, Estimate, Percentile, Results};
use em_api::spec::LoadLevel;

use super::escape;

type Column = (&'static str, fn(&Cell) -> String);

const COLUMNS: [Column; 47] = [
    ("backend", |cell| cell.backend.clone()),
    ("batch_size_texts", |cell| cell.batch_size.to_string()),
    ("concurrency_requests", |cell| if let LoadLevel::Concurrency(users) = cell.load { users.to_string() } else { String::new() }),
    ("offered_requests_per_s", |cell| if let LoadLevel::RequestRate(rate) = cell.load { rate.to_string() } else { String::new() }),
    ("offered_texts_per_s", |cell| if let LoadLevel::TextRate(rate) = cell.load { rate.to_string() } else { String::new() }),
    (
        "searched_p99_limit_ms",
        |cell| if let LoadLevel::FindMax(search) = cell.load { search.p99_ms.to_string() } else { String::new() },
    ),
    ("trials_valid", |cell| cell.repetitions.to_string()),
    ("trials_failed", |cell| cell.failed.to_string()),
    ("trials_invalid", |cell| cell.invalid.to_string()),
    ("trials_inconclusive", |cell| cell.inconclusive.to_string()),
    ("throughput_texts_per_s", |cell| mean(cell.texts_per_second)),
    ("throughput_texts_per_s_low95", |cell| low(cell.texts_per_second)),
    ("throughput_texts_per_s_high95", |cell| high(cell.texts_per_second)),
    ("throughput_requests_per_s", |cell| mean(cell.requests_per_second)),
    ("throughput_requests_per_s_low95", |cell| low(cell.requests_per_second)),
    ("throughput_requests_per_s_high95", |cell| high(cell.requests_per_second)),
    ("latency_samples_requests", |cell| cell.latency_ms.samples.to_string()),
    ("latency_mean_ms", |cell| number(cell.latency_ms.mean)),
    ("latency_p50_ms", |cell| number(cell.latency_ms.p50.value)),
    ("latency_p90_ms", |cell| number(cell.latency_ms.p90.value)),
    ("latency_p95_ms", |cell| number(cell.latency_ms.p95.value)),
    ("latency_p99_ms", |cell| number(cell.latency_ms.p99.value)),
    ("latency_p99_upper99_ms", |cell| number(cell.latency_ms.p99.upper_bound)),
    ("latency_max_ms", |cell| number(cell.latency_ms.max)),
    ("latency_withheld", |cell| withheld(cell)),
    ("success_ratio", |cell| number(cell.success_rate)),
    ("slo_met", |cell| cell.slo.as_ref().and_then(|slo| slo.met).map_or_else(String::new, |met| met.to_string())),
    ("requests_ok", |cell| cell.counts.ok.to_string()),
    ("requests_late", |cell| cell.counts.late.to_string()),
    ("requests_refused", |cell| cell.counts.refused.to_string()),
    ("requests_timed_out", |cell| cell.counts.timed_out.to_string()),
    ("requests_http_error", |cell| cell.counts.http_status.values().sum::<u64>().to_string()),
    ("requests_wrong", |cell| (cell.counts.wrong_shape + cell.counts.not_finite).to_string()),
    ("requests_other_error", |cell| cell.counts.other.to_string()),
    ("cpu_mean_cores", |cell| number(cell.resources.cpu_cores)),
    ("memory_peak_bytes", |cell| number(cell.resources.memory_peak_bytes)),
    ("gpu_utilization_ratio", |cell| number(cell.resources.gpu_utilization)),
    ("gpu_memory_peak_bytes", |cell| number(cell.resources.gpu_memory_peak_bytes)),
    ("gpu_power_watts", |cell| number(cell.resources.gpu_power_watts)),
    ("gpu_sm_activity_ratio", |cell| number(cell.resources.gpu_sm_activity)),
    ("gpu_tensor_activity_ratio", |cell| number(cell.resources.gpu_tensor_activity)),
    ("gpu_dram_activity_ratio", |cell| number(cell.resources.gpu_dram_activity)),
    ("energy_joules_per_million_texts", |cell| number(cell.resources.joules_per_million_texts)),
    ("energy_error_ratio", |cell| number(cell.resources.joules_per_million_texts_error_ratio)),
    ("cold_start_http_ready_s", |cell| number(cell.cold_start.map(|start| start.http_ready_s))),
    ("cold_start_first_vector_s", |cell| number(cell.cold_start.map(|start| start.first_vector_s))),
    ("cold_start_warm_cache", |cell| {
        cell.cold_start.and_then(|start| start.warm_cache).map(|warm| warm.to_string()).unwrap_or_default()
    }),
];

pub(super) fn write(results: &Results) -> String {
    let header: Vec<String> = COLUMNS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let rows = results.cells.iter().map(|cell| COLUMNS.iter().map(|(_, of)| escape::csv(&of(cell))).collect::<Vec<_>>());
    // RFC 4180 ends lines with CR LF.
    std::iter::once(header).chain(rows).map(|row| row.join(",") + "\r\n").collect()
}

fn number(value: Option<f64>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

fn mean(estimate: Option<Estimate>) -> String {
    number(estimate.map(|estimate| estimate.mean))
}

fn low(estimate: Option<Estimate>) -> String {
    number(estimate.and_then(|estimate| estimate.low))
}

fn high(estimate: Option<Estimate>) -> String {
    number(estimate.and_then(|estimate| estimate.high))
}

/// Which percentiles are withheld, and why.
fn withheld(cell: &Cell) -> String {
    let of = |name: &str, percentile: &Percentile| percentile.withheld.as_ref().map(|why| format!("{name}: {why}"));
    let latency = &cell.latency_ms;
    let all = [of("p50", &latency.p50), of("p90", &latency.p90), of("p95", &latency.p95), of("p99", &latency.p99)];
    all.into_iter().flatten().collect::<Vec<_>>().join("; ")
}
