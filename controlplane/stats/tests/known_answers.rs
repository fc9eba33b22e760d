//! Statistics against answers that are known because the data were made: no server, no clock.

use em_stats::histogram;
use em_stats::paired::{self, Verdict};
use em_stats::steady;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Box–Muller.
fn normal(random: &mut ChaCha8Rng) -> f64 {
    let (radius, angle): (f64, f64) = (1.0 - random.random::<f64>(), random.random());
    (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
}

/// Rates of two servers in `blocks` blocks: each block has its own luck, each trial 3 % noise.
fn blocks(blocks: usize, gap: f64, random: &mut ChaCha8Rng) -> Vec<(f64, f64)> {
    (0..blocks)
        .map(|_| {
            let node = 400.0 * (0.10 * normal(random)).exp();
            (node * gap * (0.03 * normal(random)).exp(), node * (0.03 * normal(random)).exp())
        })
        .collect()
}

fn flagged(comparisons: u32, repetitions: usize, gap: f64, random: &mut ChaCha8Rng) -> f64 {
    let different = (0..comparisons).filter(|_| {
        let contrast = paired::compare(&blocks(repetitions, gap, random)).expect("positive");
        matches!(contrast.verdict, Verdict::Faster | Verdict::Slower)
    });
    different.count() as f64 / f64::from(comparisons)
}

#[test]
fn identical_servers_are_called_different_once_in_twenty() {
    let mut random = ChaCha8Rng::seed_from_u64(20_261_124);
    for repetitions in [3, 5, 7] {
        let share = flagged(4_000, repetitions, 1.0, &mut random);
        assert!((0.04..=0.06).contains(&share), "{share} at {repetitions} repetitions");
    }
}

#[test]
fn five_percent_are_found_with_nine_repetitions() {
    let share = flagged(4_000, 9, 1.05, &mut ChaCha8Rng::seed_from_u64(9));
    assert!(share >= 0.85, "{share}");
}

/// The smallest difference that a comparison claims to detect is the one that it detects four times in five.
#[test]
fn the_smallest_detectable_difference_keeps_its_word() {
    let mut random = ChaCha8Rng::seed_from_u64(3);
    // The claims scatter like standard deviations: their quadratic mean is the unbiased one.
    let squares: f64 = (0..500)
        .filter_map(|_| paired::compare(&blocks(5, 1.0, &mut random))?.smallest_detectable)
        .map(|claim| claim.ln().powi(2))
        .sum();
    let claimed = (squares / 500.0).sqrt();
    let share = flagged(4_000, 5, claimed.exp(), &mut random);
    assert!((0.74..=0.86).contains(&share), "{share} at {}", claimed.exp());
}

/// 200 made-up windows of 40 to 180 s: slower (or, cache still cold elsewhere, faster) until a known second, 3 to 8 % noise.
#[test]
fn steady_state_begins_where_it_was_made_to_begin() {
    let mut random = ChaCha8Rng::seed_from_u64(200);
    let mut near = 0;
    for series in 0..200 {
        let seconds = random.random_range(40..=180_usize);
        let begin = if series % 4 == 0 { 0 } else { random.random_range(3..=seconds / 3) };
        let head = if series % 5 == 0 { random.random_range(1.3..1.8) } else { random.random_range(0.2..0.75) };
        let noise = random.random_range(0.03..0.08);
        let level = random.random_range(20.0..2_000.0);
        let window: Vec<f64> = (0..seconds)
            .map(|second| level * if second < begin { head } else { 1.0 } * (1.0 + noise * normal(&mut random)))
            .collect();
        near += u32::from(steady::onset(&window).abs_diff(begin) <= 2);
    }
    assert!(near >= 190, "{near} of 200 within 2 s");
}

/// Eight generator processes, each with its own histogram, sent as text and merged by somebody else.
#[test]
fn eight_recorded_histograms_merge_to_one_pooled_recording_bucket_for_bucket() {
    let mut random = ChaCha8Rng::seed_from_u64(8);
    let mut pooled = histogram::new();
    let texts: Vec<String> = (0..8)
        .map(|process| {
            let mut own = histogram::new();
            for _ in 0..20_000 {
                let micros = (1_000.0 * f64::from(process + 1) * (0.7 * normal(&mut random)).exp()) as u64;
                own.saturating_record(micros);
                pooled.saturating_record(micros);
            }
            own.saturating_record(150_000_000);
            pooled.saturating_record(150_000_000);
            histogram::encode(&own)
        })
        .collect();
    let parts: Vec<_> = texts.iter().map(|text| histogram::decode(text).expect("own encoding")).collect();
    let merged = histogram::merge(&parts);
    let buckets = |of: &hdrhistogram::Histogram<u64>| {
        of.iter_recorded().map(|one| (one.value_iterated_to(), one.count_at_value())).collect::<Vec<_>>()
    };
    assert_eq!(buckets(&merged), buckets(&pooled));
    assert_eq!((merged.len(), merged.max(), merged.min()), (160_008, pooled.max(), pooled.min()));
    assert_eq!(histogram::encode(&merged), histogram::encode(&pooled));
}
