//! Histories drawn from seeds: the real store, `plan`, `apply` and submission protocol against a made-up Slurm, agents, users and
//! crashes. A failing seed replays: `EM_SIM_SEED=17 cargo test -p em-controlplane --lib simulation -- --nocapture`.

mod agents;
mod checks;
mod faults;
mod server;
mod slurm;
mod stage;
mod users;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::metrics::Metrics;
use crate::mutants::{Mutant, make};
use crate::store::Store;
use stage::{History, Stage};

const MUTANTS: [Mutant; 7] = [
    Mutant::AbsentIsFinished,
    Mutant::ResubmitWithoutLookup,
    Mutant::LowestIdThoughAnotherClaimed,
    Mutant::FencedMeasurementCounts,
    Mutant::StatusWithoutVersionCheck,
    Mutant::ContinuationIsARetry,
    Mutant::UnknownWordIsAnEnd,
];

/// Seeds that a mutant may survive.
const MUTANT_SEEDS: u64 = 500;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// A migrated database, which each history begins with.
struct Template(tempfile::TempDir);

impl Template {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let commits = Metrics::new().db_commit_seconds;
        runtime().block_on(async {
            let store = Store::open(&Store::sqlite_url(folder.path()), commits).await.expect("the database");
            store.close().await;
        });
        Self(folder)
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("em.db")
    }
}

fn play(seed: u64, template: &Path) -> History {
    runtime().block_on(Stage::play(seed, template))
}

/// Plays seeds on all cores until one breaks a promise.
fn first_broken(seeds: u64, mutant: Option<Mutant>) -> Option<History> {
    let (template, next) = (Template::new(), AtomicU64::new(0));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut found: Vec<History> = std::thread::scope(|scope| {
        let work = || {
            make(mutant);
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= seeds {
                    return None;
                }
                let history = play(seed, &template.path());
                if history.broken.is_some() {
                    next.store(seeds, Ordering::Relaxed);
                    return Some(history);
                }
            }
        };
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        workers.into_iter().filter_map(|worker| worker.join().expect("no panic")).collect()
    });
    found.sort_by_key(|history| history.seed);
    found.into_iter().next()
}

#[test]
fn no_seed_breaks_a_promise() {
    if let Some(seed) = number("EM_SIM_SEED") {
        let history = play(seed, &Template::new().path());
        println!("{}", history.trace.join("\n"));
        assert_eq!(history.broken, None);
        return;
    }
    let seeds = number("EM_SIM_SEEDS").unwrap_or(2_000);
    if let Some(history) = first_broken(seeds, None) {
        panic!("seed {}: {}\n{}", history.seed, history.broken.unwrap_or_default(), history.trace.join("\n"));
    }
}

#[test]
fn every_mutant_is_caught() {
    let mut alive = Vec::new();
    for mutant in MUTANTS {
        match first_broken(MUTANT_SEEDS, Some(mutant)) {
            Some(caught) => println!("{mutant:?}: seed {}: {}", caught.seed, caught.broken.unwrap_or_default()),
            None => alive.push(mutant),
        }
    }
    assert!(alive.is_empty(), "{alive:?} live on after {MUTANT_SEEDS} seeds");
}

/// Beyond the range that every run plays: each of them broke a promise once.
#[test]
fn what_broke_once_stays_mended() {
    let template = Template::new();
    for seed in [2_616, 3_377] {
        let history = play(seed, &template.path());
        assert_eq!(history.broken, None, "seed {seed}\n{}", history.trace.join("\n"));
    }
}

#[test]
fn a_seed_replays_exactly() {
    let template = Template::new();
    for seed in 0..20 {
        let (one, other) = (play(seed, &template.path()), play(seed, &template.path()));
        assert_eq!(one.trace, other.trace, "seed {seed}");
    }
}
