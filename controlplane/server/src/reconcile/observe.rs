//! Looks at everything: the rows, one job listing, and for what the listing lacks the other sources.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use em_api::inputs::EntryKind;
use em_api::{AttemptId, ExperimentUid};
use em_slurm::{JobState, JobView, Witness};
use tracing::warn;

use super::apply::{self, Failure};
use super::disk::Work;
use super::listing::Listing;
use super::trouble::Troubles;
use super::world::{Knobs, Slurm, Sources, Step, View, World};
use super::{Memory, Reconciler, pace::Pace};
use crate::clock;
use crate::job::inputs;
use crate::store::attempts::{Attempt, AttemptState};
use crate::store::experiments::Stored;
use crate::store::world::Open;
use crate::store::{self, now};

/// Names in one look-up, for the length of a command line; the rest comes with the next one.
const LOOKUPS: usize = 500;

/// A look of a hundred thousand experiments takes a part of this.
const READING_DEADLINE: Duration = Duration::from_secs(60);

pub(super) async fn observe(reconciler: &Reconciler, memory: &mut Memory) -> store::Result<World> {
    let rows = tokio::time::timeout(READING_DEADLINE, reconciler.store.open_experiments());
    let open = rows.await.map_err(|_| store::Error::Late)??;
    let clock = clock::instant();
    if let Some(jump) = memory.wall.look(clock, now()) {
        warn!("the wall clock was set by {jump:#}; everything that is waited for is waited for anew");
        reconciler.metrics.clock_jumps.inc();
    }
    let knobs = Knobs { awake_since: memory.wall.awake_since, ..reconciler.knobs.clone() };
    let uids: HashSet<ExperimentUid> = open.iter().map(|one| one.stored.uid).collect();
    memory.troubles.tidy(clock, &uids);
    reconciler.metrics.disk_stuck.set(reconciler.disk.stuck(&uids));
    let pace = &mut memory.pace;
    if open.iter().any(changes_soon) {
        pace.hot(clock);
    }
    let lookup = open.iter().flat_map(|one| &one.attempts).any(|attempt| lookup_follows(attempt, &knobs));
    let jobs = if pace.take_listing(clock, open.is_empty(), lookup) { list(reconciler, pace).await } else { None };
    let sources = match &jobs {
        Some(jobs) => ask_other_sources(reconciler, pace, &knobs, &open, jobs).await,
        None => HashMap::new(),
    };
    let mut experiments = Vec::with_capacity(open.len());
    for one in open {
        let missing_inputs = match missing_inputs(reconciler, &memory.troubles, clock, &one).await {
            Ok(missing) => {
                if missing.is_some() {
                    memory.troubles.succeeded(one.stored.uid, Step::Inputs);
                }
                missing
            }
            Err(failure) => {
                apply::failed(reconciler, &mut memory.troubles, &one.stored, Step::Inputs, failure);
                None
            }
        };
        let troubles = memory.troubles.of(clock, &one.stored);
        let missing = missing_inputs.as_deref().unwrap_or_default();
        let cure = inputs::cure(&reconciler.jobs, &one.stored.spec, missing);
        let sources = one.attempts.iter().filter_map(|attempt| Some((attempt.id, sources.get(&attempt.id)?.clone()))).collect();
        experiments.push(View { open: one, missing_inputs, cure, sources, troubles });
    }
    let pace = &mut memory.pace;
    reconciler.metrics.workqueue_depth.set(i64::try_from(experiments.len()).unwrap_or(i64::MAX));
    reconciler.metrics.slurm_budget_remaining.set(pace.reads_left(clock));
    Ok(World {
        now: now(),
        knobs,
        job_prefix: reconciler.store.job_prefix(),
        slurm: Slurm { jobs, unreachable: pace.unreachable.clone() },
        experiments,
        submissions_left: pace.submissions_left(clock),
        submit_limit: pace.submit_limit(),
    })
}

/// The listing will lack its job, as it did before: other sources are asked then.
fn lookup_follows(attempt: &Attempt, knobs: &Knobs) -> bool {
    match &attempt.state {
        AttemptState::Submitting { since } => settled(*since, knobs),
        AttemptState::Submitted(submitted) => submitted.missing_since.is_some() && submitted.over.is_none(),
        AttemptState::Intended { .. } | AttemptState::Ended { .. } => false,
    }
}

/// As the plan reckons it, also when the clock was set.
fn settled(since: em_api::Timestamp, knobs: &Knobs) -> bool {
    let now = now();
    let since = if since > now { knobs.awake_since } else { since };
    now.duration_since(since) >= knobs.settle
}

/// Whether the next listing will call for look-ups.
pub(super) fn lookup_pending(world: &World) -> bool {
    world.experiments.iter().flat_map(|view| &view.open.attempts).any(|attempt| lookup_follows(attempt, &world.knobs))
}

/// Something that shows in Slurm within seconds: a submission, a stop, a claim or a farewell.
fn changes_soon(open: &Open) -> bool {
    let lately = |at: Option<em_api::Timestamp>| at.is_some_and(|at| (0..5).contains(&now().duration_since(at).as_secs()));
    let unwanted = open.stored.deleted_at.is_some() || open.stored.spec.desired != em_api::spec::Desired::Run;
    open.attempts.iter().filter(|attempt| !attempt.ended()).any(|attempt| {
        unwanted
            || matches!(attempt.state, AttemptState::Submitting { .. })
            || lately(attempt.claim.as_ref().map(|claim| claim.at))
            || lately(attempt.farewell_at)
    })
}

async fn list(reconciler: &Reconciler, pace: &mut Pace) -> Option<Vec<JobView>> {
    match reconciler.slurm.list(&reconciler.store.job_prefix()).await {
        Ok(jobs) => {
            pace.unreachable = None;
            if jobs.iter().any(|job| job.state == JobState::Completing) {
                pace.still_completing(clock::instant());
            }
            Some(jobs)
        }
        Err(error) => {
            if pace.unreachable.is_none() {
                warn!(error = error.to_string(), "Slurm does not answer; jobs are left as they are");
            }
            pace.unreachable = Some(error.to_string());
            None
        }
    }
}

/// Of attempts whose job the listing lacks, though it may have another one of their name: the witness file each, and one look-up in accounting for all of them.
async fn ask_other_sources(
    reconciler: &Reconciler,
    pace: &mut Pace,
    knobs: &Knobs,
    open: &[Open],
    jobs: &[JobView],
) -> HashMap<AttemptId, Sources> {
    let listing = Listing::of(jobs);
    let (mut sources, mut wanted) = (HashMap::new(), Vec::new());
    for one in open {
        for attempt in one.attempts.iter().filter(|attempt| listing.mine(attempt).kept.is_none()) {
            let (lookup, read_witness) = match &attempt.state {
                AttemptState::Submitting { since } => (settled(*since, knobs), false),
                AttemptState::Submitted(submitted) if submitted.over.is_none() => (true, true),
                _ => continue,
            };
            let mut entry = Sources::default();
            if read_witness {
                entry.witness = witness(reconciler, &one.stored, attempt.id).await;
            }
            if lookup && entry.witness.is_none() && wanted.len() < LOOKUPS {
                wanted.push(attempt);
            }
            sources.insert(attempt.id, entry);
        }
    }
    if !wanted.is_empty() && pace.take_read(clock::instant()) {
        for (attempt, found) in look_up(reconciler, &wanted).await {
            sources.entry(attempt).or_default().found = Some(found);
        }
    }
    sources
}

/// Accounting's answer, for each of the attempts; none when it is silent.
async fn look_up(reconciler: &Reconciler, wanted: &[&Attempt]) -> Vec<(AttemptId, Vec<JobView>)> {
    let names: Vec<&str> = wanted.iter().map(|attempt| attempt.job_name.as_str()).collect();
    match reconciler.slurm.accounted(&names).await {
        Ok(found) => {
            let of = |attempt: &&Attempt| found.iter().filter(|job| job.name == attempt.job_name).cloned().collect();
            wanted.iter().map(|attempt| (attempt.id, of(attempt))).collect()
        }
        Err(error) => {
            warn!(error = error.to_string(), "looking up {} jobs in accounting failed", names.len());
            Vec::new()
        }
    }
}

/// Unreadable is unknown: the other sources decide.
async fn witness(reconciler: &Reconciler, stored: &Stored, attempt: AttemptId) -> Option<Witness> {
    let dir = reconciler.jobs.attempt_dir(&stored.name, stored.uid, attempt);
    let place = dir.clone();
    let read = reconciler.disk.run(stored.uid, Work::ReadWitness, &dir, move || Witness::read(&place)).await;
    read.and_then(|read| Ok(read?)).unwrap_or_else(|error| {
        warn!(%error, "a witness file could not be read");
        None
    })
}

/// `None`: not looked at.
async fn missing_inputs(
    reconciler: &Reconciler,
    troubles: &Troubles,
    clock: Instant,
    open: &Open,
) -> Result<Option<Vec<(EntryKind, String)>>, Failure> {
    let stored = &open.stored;
    let rests = troubles.of(clock, stored).iter().any(|trouble| trouble.step == Step::Inputs && trouble.rests);
    // A job that exists has seen its inputs; an experiment that wants none needs none.
    let wants_job = stored.spec.desired == em_api::spec::Desired::Run
        && stored.deleted_at.is_none()
        && !stored.phase.ended()
        && open.attempts.iter().all(Attempt::ended);
    if rests || !wants_job || stored.spec.allow_download {
        return Ok(None);
    }
    let (store_dir, spec) = (reconciler.jobs.store_dir.clone(), stored.spec.clone());
    let look = move || inputs::missing(&store_dir, &spec);
    let store_dir = &reconciler.jobs.store_dir;
    let missing = reconciler.disk.run(stored.uid, Work::LookForInputs, store_dir, look).await;
    missing.map(Some).map_err(|error| Failure::disk(&error, store_dir))
}
