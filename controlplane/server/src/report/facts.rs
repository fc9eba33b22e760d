//! What was asked, on which machine it ran, and how the numbers were made: the lines that every format of the report shares.

use std::collections::BTreeSet;

use em_api::HumanDuration;
use em_api::measurement::{Environment, GpuInfo, Measurement, Outcome};
use em_api::results::Results;
use em_api::spec::Pooling;

use super::minute;
use crate::results::capsule::queue_seconds;
use crate::results::{ResultsInput, load_levels, words};

/// A name and what it is.
pub(super) type Fact = (String, String);

fn fact(name: &str, text: impl Into<String>) -> Fact {
    (name.to_owned(), text.into())
}

/// The question: model, data, matrix, load.
pub(super) fn question(input: &ResultsInput) -> Vec<Fact> {
    let spec = &input.experiment.spec;
    let (model, load) = (&spec.model, &spec.load);
    let pooling = match model.pooling {
        Pooling::Mean => "mean",
        Pooling::Cls => "cls",
        Pooling::Last => "last",
    };
    let normalised = if model.normalize { "normalised" } else { "not normalised" };
    let length = model.max_length.map(|tokens| format!(", at most {tokens} tokens")).unwrap_or_default();
    let batches: Vec<String> = spec.matrix.batch_sizes.iter().map(u32::to_string).collect();
    let levels: Vec<String> = load_levels(&spec.matrix).iter().map(ToString::to_string).collect();
    let backends = spec.backends.iter().map(|backend| format!("{} ({})", backend.name, backend.kind));
    vec![
        fact("Model", format!("{} at {}", model.id, model.revision)),
        fact("Vectors", format!("{pooling} pooling, {normalised}, {}{length}", model.dtype.as_str())),
        fact(
            "Texts",
            format!(
                "{}, {} texts, seed {}",
                spec.dataset.source.as_str(),
                words::thousands(spec.dataset.limit as f64),
                spec.dataset.seed
            ),
        ),
        fact("Backends", backends.collect::<Vec<_>>().join(", ")),
        fact("Batch sizes", format!("{} texts per request", batches.join(", "))),
        fact("Load", levels.join(", ")),
        fact(
            "Windows",
            format!(
                "{} measured after {} of warm-up, {} a cell",
                load.duration,
                load.warmup,
                words::count(load.repetitions as usize, "repetition")
            ),
        ),
        fact("Phase", phase(input)),
    ]
}

fn phase(input: &ResultsInput) -> String {
    let status = &input.experiment.status;
    let message = status.message.as_ref().map(|message| format!(": {message}")).unwrap_or_default();
    let times: Vec<_> = input.measurements.iter().map(|one| one.started_at).collect();
    let measured = times
        .iter()
        .min()
        .zip(times.iter().max())
        .map(|(first, last)| format!(" (trials from {} to {})", minute(*first), minute(*last)));
    format!("{}{message}{}", status.phase.as_str(), measured.unwrap_or_default())
}

/// The environment capsule: what a reader needs to run the same again.
pub(super) fn environment(input: &ResultsInput) -> Vec<Fact> {
    let all = &input.measurements;
    let of = |read: &dyn Fn(&Measurement) -> Option<String>| -> String {
        all.iter()
            .filter_map(read)
            .filter(|text| !text.is_empty())
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect::<Vec<_>>()
            .join(" · ")
    };
    let load = |one: &Measurement| match &one.outcome {
        Outcome::Measured { load } => Some(load.clone()),
        _ => None,
    };
    let mut facts = vec![
        fact("Nodes", of(&|one| Some(one.environment.node.clone()))),
        fact("Slurm jobs", of(&|one| one.environment.slurm_job_id.clone())),
        fact(
            "CPU",
            of(&|one| {
                Some(format!(
                    "{}, {} allowed",
                    one.environment.cpu_model,
                    words::count(one.environment.cores_allowed as usize, "core")
                ))
            }),
        ),
        fact("Memory", of(&|one| Some(words::bytes(one.environment.memory_bytes as f64)))),
        fact("NUMA nodes", of(&|one| one.environment.extra.get("numa_nodes").cloned())),
        fact("CPU governor", of(&|one| one.environment.extra.get("cpu_governor").cloned())),
        fact("Kernel", of(&|one| Some(one.environment.kernel.clone()))),
        fact("GPUs", of(&|one| Some(one.environment.gpus.iter().map(gpu).collect::<Vec<_>>().join(" · ")))),
        fact("GPU driver", of(&|one| driver(&one.environment))),
        fact("Slurm allocation", of(&|one| allocation(&one.environment))),
        fact("Wait in the queue", queue(input)),
        fact("Agent", of(&|one| Some(one.environment.agent().to_string()))),
        fact("Model files, SHA-256", of(&|one| one.environment.model_sha256.clone())),
        fact("Texts, SHA-256", of(&|one| load(one).map(|load| load.dataset.sha256.clone()))),
        fact("Seed of the texts", of(&|one| load(one).map(|load| load.dataset.seed.to_string()))),
    ];
    for backend in &input.experiment.spec.backends {
        let service = of(&|one| {
            let service = one.service.as_ref().filter(|_| one.backend == backend.name)?;
            let versions: Vec<String> = service.versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
            let settings: Vec<String> = service.settings.iter().map(|(name, value)| format!("{name} {value}")).collect();
            let parts = [
                format!("{} on {}, {}", service.kind, service.device, service.dtype),
                versions.join(", "),
                settings.join(", "),
                service.command_line.join(" "),
            ];
            Some(parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; "))
        });
        facts.push(fact(&format!("Service {}", backend.name), service));
    }
    let mut extra: BTreeSet<(String, String)> = BTreeSet::new();
    for one in all {
        let rest = one.environment.extra.iter().filter(|(name, _)| !is_shown(name));
        extra.extend(rest.map(|(name, value)| (name.clone(), value.clone())));
    }
    facts.extend(extra);
    facts.retain(|(_, text)| !text.is_empty());
    facts
}

/// `NVIDIA L40S 44.5 GiB (GPU-…), up to 2520/9001 MHz, at most 350 W, ECC on, MIG off`: clocks of multiprocessors and memory.
fn gpu(gpu: &GpuInfo) -> String {
    let mut parts = vec![format!("{} {} ({})", gpu.name, words::bytes(gpu.memory_bytes as f64), gpu.uuid)];
    if let (Some(sm), Some(memory)) = (gpu.max_sm_clock_hertz, gpu.max_memory_clock_hertz) {
        parts.push(format!("up to {:.0}/{:.0} MHz", sm / 1e6, memory / 1e6));
    }
    parts.extend(gpu.power_limit_watts.map(|watts| format!("at most {watts:.0} W")));
    for (name, mode) in [("ECC", gpu.ecc), ("MIG", gpu.mig)] {
        parts.extend(mode.map(|on| format!("{name} {}", if on { "on" } else { "off" })));
    }
    parts.join(", ")
}

fn driver(environment: &Environment) -> Option<String> {
    let driver = environment.driver.clone()?;
    let cuda = environment.extra.get("cuda_driver").map(|cuda| format!(", for CUDA up to {cuda}")).unwrap_or_default();
    Some(driver + &cuda)
}

/// What Slurm set for the job, in its own words, without the prefix.
fn allocation(environment: &Environment) -> Option<String> {
    let of_slurm = environment.extra.iter().filter_map(|(name, value)| Some((name.strip_prefix("slurm_")?, value)));
    let parts: Vec<String> = of_slurm.map(|(name, value)| format!("{} {value}", name.replace('_', " "))).collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn queue(input: &ResultsInput) -> String {
    let waits = input.jobs.iter().filter_map(|job| {
        let id = job.id.as_deref().unwrap_or("job without an id");
        Some(format!("{} (job {id})", HumanDuration::from_secs(queue_seconds(job)?.round() as u64)))
    });
    waits.collect::<Vec<_>>().join(" · ")
}

/// Whether another line tells it.
fn is_shown(name: &str) -> bool {
    name.starts_with("slurm_") || ["numa_nodes", "cpu_governor", "cuda_driver"].contains(&name)
}

/// How the numbers were made, in short.
pub(super) const METHOD: [&str; 7] = [
    "A cell is one backend at one batch size and load level. Its throughput is the geometric mean over valid repetitions with a 95 % t interval of the logarithms; texts in valid answers count, others do not.",
    "Backends are compared inside blocks: all variants at one repetition, batch size and load level, in one job on one node. The ratio is the geometric mean of the blocks' ratios with a t interval; fewer than 3 blocks give no verdict, and intervals are not corrected for the number of comparisons.",
    "“Would have seen” is the smallest true ratio that so many blocks with this scatter would have found four times in five.",
    "Latency runs from the planned send time to the last byte, in HDR histograms that are merged over repetitions. A percentile is withheld (—) unless the early-stopping bound of MLPerf Inference carries it at 99 % confidence: 64 requests for p90, 130 for p95, 662 for p99.",
    "A trial is INVALID when above 1 % of its requests failed, an answer was wrong, the generator was the limit, the GPU was throttled, or the backend's vectors failed their parity gate; INCONCLUSIVE when its window was too short or unsteady. Only VALID trials enter the averages. The success rate counts all measured trials.",
    "A block that ran again replaces its earlier run as a whole.",
    "Overall is the geometric mean over cells; a missing cell counts as half of the lowest rate that any backend reached there.",
];

/// Where these numbers come from.
pub(super) fn provenance(input: &ResultsInput, results: &Results) -> String {
    format!(
        "Experiment {} (uid {}), Embedding Meter {}, measurements SHA-256 {}",
        input.experiment.metadata.name, results.uid, results.code_version, results.measurements_sha256
    )
}
