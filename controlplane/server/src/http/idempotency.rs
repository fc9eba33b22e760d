//! `Idempotency-Key` on creates: the header, the fingerprint of what was posted, and which keys are being worked on. What was
//! answered is kept by the store; dry runs and refusals are not kept, so they can be repeated with a mended body.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use actix_web::HttpRequest;
use sha2::{Digest, Sha256};

use super::problem::{Answer, Refusal};
use crate::store::idempotency::RequestKey;

const HEADER: &str = "Idempotency-Key";
const LONGEST_KEY: usize = 255;

/// Keys whose first request is not answered yet.
#[derive(Debug, Default)]
pub(super) struct InFlight(Mutex<HashSet<(String, String)>>);

/// Held while a request with a key is worked on.
pub(super) struct Turn {
    in_flight: Arc<InFlight>,
    of: (String, String),
}

impl InFlight {
    /// Errors: 409 while another request with the key is worked on.
    pub(super) fn enter(self: &Arc<Self>, owner: &str, key: &RequestKey) -> Answer<Turn> {
        let of = (owner.to_owned(), key.key.clone());
        let entered = self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(of.clone());
        if entered { Ok(Turn { in_flight: self.clone(), of }) } else { Err(Refusal::key_in_use()) }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.in_flight.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.of);
    }
}

/// The key of a request, where it has one.
pub(super) fn key(request: &HttpRequest, media_type: &str, body: &[u8]) -> Answer<Option<RequestKey>> {
    let mut lines = request.headers().get_all(HEADER);
    let Some(line) = lines.next() else { return Ok(None) };
    let key =
        line.to_str().ok().filter(|key| (1..=LONGEST_KEY).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic()));
    let (Some(key), None) = (key, lines.next()) else {
        let detail = format!("{HEADER} is one word of up to {LONGEST_KEY} visible ASCII characters, such as a UUID or ULID");
        return Err(Refusal::bad_request("invalid_header", detail));
    };
    let posted = Sha256::new().chain_update(media_type).chain_update([0]).chain_update(body);
    Ok(Some(RequestKey { key: key.to_owned(), fingerprint: hex::encode(posted.finalize()) }))
}
