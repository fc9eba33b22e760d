//! A fingerprint of the measurements behind a set of results: equal fingerprints and code versions mean equal numbers.

use em_api::measurement::Measurement;
use sha2::{Digest, Sha256};

/// SHA-256 (hex) over the sorted SHA-256 of each measurement's JSON, so that order does not matter.
pub(crate) fn of<'a>(measurements: impl Iterator<Item = &'a Measurement>) -> String {
    let mut hashes: Vec<String> = measurements
        .map(|measurement| {
            let json = serde_json::to_vec(measurement).expect("a measurement has text keys and always serialises");
            hex::encode(Sha256::digest(json))
        })
        .collect();
    hashes.sort_unstable();
    hex::encode(Sha256::digest(hashes.join("\n")))
}
