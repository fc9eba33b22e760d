//! `em-agent gpu`: what this node is and which GPUs can be seen from here; in a job, those that the job may use.

use std::time::Duration;

use em_api::measurement::{Environment, GpuInfo, Series, Spread};
use em_api::{HumanDuration, Timestamp};
use em_telemetry::{Sampler, Target};
use serde::Serialize;

use crate::OutputFormat;

const SAMPLE_EVERY: Duration = Duration::from_millis(100);

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct GpuArgs {
    /// text or json.
    #[arg(short, long, value_enum, default_value_t)]
    output: OutputFormat,
    /// Sample the GPUs for so long, ten times a second as in a trial, and show that too, with the CPU time that it took.
    #[arg(long, value_name = "DURATION", value_parser = window)]
    sample: Option<HumanDuration>,
}

fn window(text: &str) -> Result<HumanDuration, String> {
    let window: HumanDuration = text.parse().map_err(|problem: em_api::duration::ParseDurationError| problem.to_string())?;
    let allowed = Duration::from_secs(1)..=Duration::from_secs(3_600);
    if allowed.contains(&window.0) { Ok(window) } else { Err("it takes 1s to 1h".to_owned()) }
}

#[derive(Serialize)]
struct Facts {
    /// Absent when they cannot be asked: that is not the same as none.
    gpus: Option<Vec<GpuInfo>>,
    /// Why they cannot be asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
    node: Environment,
    /// Of `--sample`.
    #[serde(skip_serializing_if = "Option::is_none")]
    series: Option<Series>,
}

pub(crate) fn run(args: &GpuArgs) {
    let (gpus, problem) = match em_telemetry::visible_gpus() {
        Ok(gpus) => (Some(gpus), None),
        Err(problem) => (None, Some(problem.to_string())),
    };
    let series = args.sample.and_then(|window| sampled(window.0));
    let facts = Facts { gpus, problem, node: em_telemetry::environment(), series };
    match args.output {
        OutputFormat::Json => println!("{}", serde_json::to_string_pretty(&facts).expect("facts are plain data")),
        OutputFormat::Text => print!("{}", text(&facts)),
    }
}

/// `None`: no GPU, or no thread.
fn sampled(window: Duration) -> Option<Series> {
    let sampler = Sampler::start(Target { root_pid: None, gpus: true }, SAMPLE_EVERY).ok()?;
    let from = Timestamp::now();
    std::thread::sleep(window);
    Some(sampler.series(from, Timestamp::now())).filter(|series| !series.t_ms.is_empty())
}

fn text(facts: &Facts) -> String {
    let node = &facts.node;
    let mut lines = vec![
        format!("node    {}", node.node),
        format!("cpu     {}, {} cores allowed", node.cpu_model, node.cores_allowed),
        format!("memory  {:.1} GiB", gib(node.memory_bytes)),
        format!("kernel  {}", node.kernel),
    ];
    if let Some(driver) = &node.driver {
        lines.push(format!("driver  {driver}"));
    }
    match (&facts.gpus, &facts.problem) {
        (Some(gpus), _) if gpus.is_empty() => lines.push("gpus    none".to_owned()),
        (Some(gpus), _) => {
            lines.extend(
                gpus.iter().map(|gpu| format!("gpu {:<3} {}, {:.1} GiB, {}", gpu.index, gpu.name, gib(gpu.memory_bytes), gpu.uuid)),
            );
        }
        (None, problem) => lines.push(format!("gpus    unknown: {}", problem.as_deref().unwrap_or("no reason given"))),
    }
    if let Some(series) = &facts.series {
        lines.push(String::new());
        lines.push(format!("{:<28}{:>16}{:>16}{:>16}", "sampled", "lowest", "mean", "highest"));
        for (name, column) in &series.columns {
            if let Some(all) = Spread::of(&column.iter().flatten().copied().collect::<Vec<_>>()) {
                lines.push(format!("{name:<28}{:>16.3}{:>16.3}{:>16.3}", all.min, all.mean, all.max));
            }
        }
        if let Some(cores) = series.sampler_cpu_ratio {
            lines.push(format!("sampling took {:.2} % of a core", cores * 100.0));
        }
    }
    lines.join("\n") + "\n"
}

fn gib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 30)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_gpus_are_told_apart_from_none() {
        let facts = |gpus, problem| Facts { gpus, problem, node: Environment::default(), series: None };
        assert!(text(&facts(Some(Vec::new()), None)).contains("gpus    none"));
        assert!(text(&facts(None, Some("libnvidia-ml.so.1 is missing".to_owned()))).contains("gpus    unknown: libnvidia-ml"));
    }
}
