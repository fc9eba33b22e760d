//! What the load generator can do at most, measured once a job for each shape of requests and answers: by backend, because servers
//! write their numbers with more or fewer digits, and by batch size.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use em_api::measurement::LoadReport;

/// Requests per second against the generator's null server.
#[derive(Debug, Default)]
pub(crate) struct Headroom(Mutex<BTreeMap<(String, u32), f64>>);

impl Headroom {
    /// `None`: the next trial measures it.
    pub(crate) fn of(&self, backend: &str, batch_size: u32) -> Option<f64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&(backend.to_owned(), batch_size)).copied()
    }

    pub(crate) fn learn(&self, backend: &str, report: &LoadReport) {
        if let Some(headroom) = report.generator.headroom_requests_per_s {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).insert((backend.to_owned(), report.batch_size), headroom);
        }
    }
}
