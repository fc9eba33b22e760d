//! The one latency histogram of the project: 1 µs to 120 s in microseconds, 3 significant digits, HdrHistogram's V2
//! encoding in base64. Histograms of equal shape merge without loss, which averages of percentiles do not.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer, V2Serializer};

/// Smallest and largest value told apart, microseconds. A slower request is counted at the top (`saturating_record`).
pub const LOWEST_US: u64 = 1;
pub const HIGHEST_US: u64 = 120_000_000;
/// Significant decimal digits: a value is known to 0.1 %.
pub const DIGITS: u8 = 3;

/// Cookie, payload length, normalising offset, digits, lowest, highest, ratio (HdrHistogram V2, big endian).
const HEADER_BYTES: usize = 40;

/// Why a text is no histogram of ours.
#[derive(Debug, thiserror::Error)]
pub enum HistogramError {
    #[error("a histogram is not base64 text")]
    NotBase64(#[source] base64::DecodeError),
    #[error("a histogram of {0} bytes is shorter than its own header")]
    TooShort(usize),
    #[error(
        "a histogram covers {low}–{high} µs with {digits} digits; this version reads {LOWEST_US}–{HIGHEST_US} µs with {DIGITS} digits"
    )]
    ForeignShape { low: u64, high: u64, digits: u32 },
    #[error("a histogram's body is unreadable: {0}")]
    Unreadable(String),
}

/// An empty histogram. Record with `saturating_record(microseconds)`.
pub fn new() -> Histogram<u64> {
    Histogram::new_with_bounds(LOWEST_US, HIGHEST_US, DIGITS).expect("the bounds are constants that HdrHistogram accepts")
}

/// V2 encoding (no compression), base64 with the standard alphabet.
pub fn encode(histogram: &Histogram<u64>) -> String {
    let mut bytes = Vec::new();
    V2Serializer::new()
        .serialize(histogram, &mut bytes)
        .expect("writing into a vector cannot fail, and counts below 2^63 always encode");
    STANDARD.encode(bytes)
}

/// Errors: every text that `encode` did not write, before memory is set aside for a shape that is not ours.
pub fn decode(text: &str) -> Result<Histogram<u64>, HistogramError> {
    let bytes = STANDARD.decode(text.trim()).map_err(HistogramError::NotBase64)?;
    if bytes.len() < HEADER_BYTES {
        return Err(HistogramError::TooShort(bytes.len()));
    }
    let word = |at: usize| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    let long = |at: usize| (u64::from(word(at)) << 32) | u64::from(word(at + 4));
    let (digits, low, high) = (word(12), long(16), long(24));
    if (digits, low, high) != (u32::from(DIGITS), LOWEST_US, HIGHEST_US) {
        return Err(HistogramError::ForeignShape { low, high, digits });
    }
    // The reader sets aside as much as the header asks for; a header that lies must not get four gigabytes.
    if word(4) as usize != bytes.len() - HEADER_BYTES {
        return Err(HistogramError::Unreadable(format!("{} bytes announced, {} there", word(4), bytes.len() - HEADER_BYTES)));
    }
    Deserializer::new().deserialize(&mut bytes.as_slice()).map_err(|error| HistogramError::Unreadable(error.to_string()))
}

/// The histogram of all values of all parts.
pub fn merge<'a>(parts: impl IntoIterator<Item = &'a Histogram<u64>>) -> Histogram<u64> {
    let mut merged = new();
    for part in parts {
        merged.add(part).expect("histograms of this module have one shape");
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(values: &[u64]) -> Histogram<u64> {
        let mut histogram = new();
        for value in values {
            histogram.saturating_record(*value);
        }
        histogram
    }

    proptest! {
        #[test]
        fn what_was_encoded_reads_back(values in prop::collection::vec(0u64..200_000_000, 0..300)) {
            let histogram = of(&values);
            prop_assert_eq!(decode(&encode(&histogram)).expect("own encoding"), histogram);
        }

        #[test]
        fn merging_equals_recording_everything_in_one(a in prop::collection::vec(0u64..100_000_000, 0..100), b in prop::collection::vec(0u64..100_000_000, 0..100)) {
            let together: Vec<u64> = a.iter().chain(&b).copied().collect();
            prop_assert_eq!(merge([&of(&a), &of(&b)]), of(&together));
        }

        #[test]
        fn any_text_is_read_or_refused_without_a_panic(text in ".{0,200}", bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&text);
            let _ = decode(&STANDARD.encode(bytes));
        }

        #[test]
        fn a_value_is_known_to_a_thousandth(value in 1u64..HIGHEST_US) {
            let seen = of(&[value]).value_at_quantile(0.5);
            prop_assert!((seen as f64 - value as f64).abs() <= value as f64 * 0.001, "{} for {}", seen, value);
        }
    }

    #[test]
    fn a_request_beyond_the_range_counts_at_the_top() {
        let histogram = of(&[500_000_000]);
        assert_eq!(histogram.len(), 1);
        assert!(histogram.max() >= HIGHEST_US);
    }

    #[test]
    fn a_histogram_of_another_shape_is_refused_before_it_is_built() {
        let mut bytes = Vec::new();
        let foreign = Histogram::<u64>::new_with_bounds(1, u64::MAX / 4, 5).expect("bounds");
        V2Serializer::new().serialize(&foreign, &mut bytes).expect("encodes");
        let error = decode(&STANDARD.encode(bytes)).expect_err("refused");
        assert!(matches!(error, HistogramError::ForeignShape { digits: 5, .. }), "{error}");
    }

    #[test]
    fn broken_texts_are_told_apart() {
        assert!(matches!(decode("%%%"), Err(HistogramError::NotBase64(_))));
        assert!(matches!(decode("AAAA"), Err(HistogramError::TooShort(3))));
        let mut bytes = STANDARD.decode(encode(&of(&[5, 6, 7]))).expect("base64");
        bytes.truncate(bytes.len() - 1);
        assert!(matches!(decode(&STANDARD.encode(bytes)), Err(HistogramError::Unreadable(_))));
    }
}
