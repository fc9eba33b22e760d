//! Whether a cell keeps the experiment's `slo`. What its requests cannot carry is unknown, never kept.

use em_api::results::{Cell, SloCheck};
use em_api::spec::Slo;

use super::words;

/// `None` when nothing of the cell was measured, or the SLO asks for nothing.
pub(crate) fn check(slo: &Slo, cell: &Cell) -> Option<SloCheck> {
    let success = cell.success_rate?;
    let mut found: Vec<(Option<bool>, String)> = Vec::new();
    if let Some(limit) = slo.p99_ms {
        let limit_words = words::millis(limit);
        found.push(match cell.latency_ms.p99.value {
            Some(p99) => (Some(p99 <= limit), format!("p99 {} of {limit_words}", words::millis(p99))),
            None => (None, format!("p99 of {limit_words} is unknown: too few requests in valid trials")),
        });
    }
    if let Some(least) = slo.success_rate {
        found.push((Some(success >= least), format!("success {} of {}", words::success(success), words::success(least))));
    }
    if found.is_empty() {
        return None;
    }
    let met = if found.iter().any(|(met, _)| *met == Some(false)) {
        Some(false)
    } else {
        found.iter().map(|(met, _)| *met).collect::<Option<Vec<bool>>>().map(|_| true)
    };
    Some(SloCheck { met, message: found.into_iter().map(|(_, words)| words).collect::<Vec<_>>().join("; ") })
}
