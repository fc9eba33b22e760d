//! `em-agent gpu`: what this node is and which GPUs can be seen from here; in a job, those that the job may use.

use em_api::measurement::{Environment, GpuInfo};
use serde::Serialize;

use crate::OutputFormat;

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct GpuArgs {
    /// text or json.
    #[arg(short, long, value_enum, default_value_t)]
    output: OutputFormat,
}

#[derive(Serialize)]
struct Facts {
    /// Absent when they cannot be asked: that is not the same as none.
    gpus: Option<Vec<GpuInfo>>,
    /// Why they cannot be asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
    node: Environment,
}

pub(crate) fn run(args: &GpuArgs) {
    let (gpus, problem) = match em_telemetry::visible_gpus() {
        Ok(gpus) => (Some(gpus), None),
        Err(problem) => (None, Some(problem.to_string())),
    };
    let facts = Facts { gpus, problem, node: em_telemetry::environment() };
    match args.output {
        OutputFormat::Json => println!("{}", serde_json::to_string_pretty(&facts).expect("facts are plain data")),
        OutputFormat::Text => print!("{}", text(&facts)),
    }
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
        let facts = |gpus, problem| Facts { gpus, problem, node: Environment::default() };
        assert!(text(&facts(Some(Vec::new()), None)).contains("gpus    none"));
        assert!(text(&facts(None, Some("libnvidia-ml.so.1 is missing".to_owned()))).contains("gpus    unknown: libnvidia-ml"));
    }
}
