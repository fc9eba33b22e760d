//! `findMax` against servers whose true largest rate is known, in simulated time: nothing here waits or listens.

use em_stats::search::{By, Found, MOST_PROBES, Probe, Search};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// One server that takes `SERVICE` seconds a request; requests over `LIMIT` from arrival to end are over.
const SERVICE: f64 = 0.001;
const LIMIT: f64 = 0.005;
const ALLOWED: f64 = 0.01;
const PROBE_S: f64 = 30.0;

/// Waiting times by Lindley's recursion; the first tenth settles and is not counted.
fn probe(rate: f64, poisson: Option<&mut ChaCha8Rng>) -> Probe {
    let mut probe = Probe { rate, requests: 0, over: 0 };
    let (mut at, mut free_at) = (0.0, 0.0_f64);
    let mut random = poisson;
    loop {
        at += match &mut random {
            Some(random) => -(1.0 - random.random::<f64>()).ln() / rate,
            None => 1.0 / rate,
        };
        if at >= PROBE_S * 1.1 {
            return probe;
        }
        free_at = free_at.max(at) + SERVICE;
        if at >= PROBE_S * 0.1 {
            probe.requests += 1;
            probe.over += u64::from(free_at - at > LIMIT);
        }
    }
}

fn search(start: f64, mut probe: impl FnMut(f64) -> Probe) -> (Found, usize) {
    let mut search = Search::new(start, ALLOWED);
    while let Some(rate) = search.next_rate() {
        search.record(probe(rate));
    }
    (search.found(), search.probes().len())
}

/// Share of requests of an M/D/1 queue in equilibrium that take longer than `LIMIT` (A. K. Erlang 1909; in D. Gross et al.,
/// *Fundamentals of Queueing Theory*, section 5.1): P(W ≤ t) = (1−ρ) Σ (λ(kD−t))^k e^(λ(t−kD)) / k!, for k from 0 to t/D.
fn over_in_equilibrium(rate: f64) -> f64 {
    let wait = LIMIT - SERVICE;
    let (mut sum, mut factorial) = (0.0, 1.0);
    for k in 0..=(wait / SERVICE + 1e-9) as i32 {
        factorial *= f64::from(k.max(1));
        let x = rate * (f64::from(k) * SERVICE - wait);
        sum += x.powi(k) * (-x).exp() / factorial;
    }
    1.0 - (1.0 - rate * SERVICE) * sum
}

fn truth() -> f64 {
    let (mut low, mut high) = (1.0, 999.0);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if over_in_equilibrium(middle) <= ALLOWED { low = middle } else { high = middle }
    }
    low
}

#[test]
fn the_largest_rate_of_an_m_d_1_server_is_found_and_its_interval_covers_it() {
    let truth = truth();
    assert!((500.0..600.0).contains(&truth), "{truth}");
    let (mut covered, mut near, mut lines, mut most_probes, mut widths) = (0, 0, 0, 0, Vec::new());
    for seed in 0..1_000 {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        // Where a closed loop would start it: below the 1,000/s that the server reaches at most, give or take.
        let start = random.random_range(300.0..950.0);
        let (found, probes) = search(start, |rate| probe(rate, Some(&mut random)));
        let high = found.high.unwrap_or(f64::INFINITY);
        lines += u32::from(found.by == By::Line);
        covered += u32::from((found.low..=high).contains(&truth));
        near += u32::from((found.rate / truth - 1.0).abs() <= 0.03);
        most_probes = most_probes.max(probes);
        widths.push(high / found.low - 1.0);
    }
    widths.sort_by(f64::total_cmp);
    println!("lines {lines}, covered {covered}, near {near}, median width {:.4}, p99 {:.4}", widths[500], widths[990]);
    assert!(most_probes <= MOST_PROBES);
    assert!(near >= 990, "{near} of 1000 within 3 %");
    assert!((930..=970).contains(&covered), "{covered} of 1000 intervals cover the true rate");
}

#[test]
fn a_sharp_edge_is_bracketed() {
    // Evenly spaced requests: none waits below 1,000/s, all wait longer and longer above.
    for start in [3.0, 40.0, 700.0, 5_000.0, 60_000.0] {
        let (found, probes) = search(start, |rate| probe(rate, None));
        assert!(probes <= MOST_PROBES, "{probes} from {start}");
        if (40.0..10_000.0).contains(&start) {
            assert!((0.97..=1.0).contains(&(found.rate / 1_000.0)), "from {start}: {found:?}");
            assert_eq!(found.by, By::Bracket);
        }
        assert!(found.low <= 1_000.0 && found.high.is_none_or(|high| high >= 1_000.0), "from {start}: {found:?}");
    }
}

#[test]
fn one_stalled_probe_does_not_decide() {
    let mut count = 0;
    let (found, _) = search(700.0, |rate| {
        count += 1;
        let mut seen = probe(rate, None);
        if count == 1 {
            seen.over = seen.requests / 3;
        }
        seen
    });
    assert!((0.9..=1.0).contains(&(found.rate / 1_000.0)) && found.high >= Some(1_000.0), "{found:?}");
}

#[test]
fn what_never_passes_is_zero_and_what_always_passes_has_no_upper_end() {
    let (found, probes) = search(100.0, |rate| Probe { rate, requests: 100, over: 100 });
    assert_eq!((found.rate, found.low, probes), (0.0, 0.0, MOST_PROBES));
    let (found, _) = search(100.0, |rate| Probe { rate, requests: 100, over: 0 });
    assert_eq!((found.high, found.by), (None, By::Bracket));
    assert!(found.rate > 1_000.0);
    let (found, _) = search(100.0, |rate| Probe { rate, requests: 0, over: 0 });
    assert_eq!(found.rate, 0.0, "no request says nothing good");
}
