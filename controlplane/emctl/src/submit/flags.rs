//! The flags that write or change an experiment, with the proof of concept's spellings beside ours.

use clap::Args;

/// Each is absent until it is given: then the file's value, or the server's default, holds.
#[derive(Args, Clone, Debug, Default, PartialEq)]
pub(crate) struct SpecFlags {
    /// Name of the experiment [default with flags alone: made from the model's]
    #[arg(long, help_heading = "Experiment")]
    pub(crate) name: Option<String>,
    /// Label KEY=VALUE; may be repeated
    #[arg(long = "label", value_name = "KEY=VALUE", help_heading = "Experiment")]
    pub(crate) labels: Vec<String>,
    /// Hugging Face id, or a folder with safetensors that compute nodes see
    #[arg(long, value_name = "ID|DIR", help_heading = "Model and texts")]
    pub(crate) model: Option<String>,
    /// Branch, tag or commit of the model
    #[arg(long, help_heading = "Model and texts")]
    pub(crate) revision: Option<String>,
    /// float32, float16 or bfloat16
    #[arg(long, help_heading = "Model and texts")]
    pub(crate) dtype: Option<String>,
    /// Tokens a text is cut to
    #[arg(long, value_name = "TOKENS", help_heading = "Model and texts")]
    pub(crate) max_length: Option<u32>,
    /// Source of the texts: wordnet, msmarco, tsv, jsonl or text
    #[arg(long, value_name = "SOURCE", help_heading = "Model and texts")]
    pub(crate) dataset: Option<String>,
    /// File of the texts, for tsv, jsonl, text (and msmarco)
    #[arg(long, value_name = "FILE", help_heading = "Model and texts")]
    pub(crate) dataset_path: Option<String>,
    /// Texts to load, for example 100000 or 100K
    #[arg(long, value_name = "COUNT", help_heading = "Model and texts")]
    pub(crate) num_sentences: Option<String>,
    /// Seed of the order of texts, backends and batch sizes
    #[arg(long, help_heading = "Model and texts")]
    pub(crate) seed: Option<u64>,
    /// Backends: types (ort, vllm, huggingface) or names of the file's entries
    #[arg(long, value_name = "LIST", value_delimiter = ',', num_args = 1.., help_heading = "What is compared")]
    pub(crate) backends: Vec<String>,
    /// cpu or cuda, for all backends
    #[arg(long, help_heading = "What is compared")]
    pub(crate) device: Option<String>,
    /// Backend whose vectors the others are held to
    #[arg(long, value_name = "BACKEND", help_heading = "What is compared")]
    pub(crate) reference: Option<String>,
    /// Texts per request: 16,32,64 or 16 32 64
    #[arg(long, value_name = "LIST", value_delimiter = ',', num_args = 1.., help_heading = "What is compared")]
    pub(crate) batch_sizes: Vec<u32>,
    /// Requests in flight (closed loop)
    #[arg(long, alias = "max-concurrent-requests", value_name = "LIST", value_delimiter = ',', num_args = 1..,
          conflicts_with_all = ["request_rate", "text_rate"], help_heading = "What is compared")]
    pub(crate) concurrency: Vec<u32>,
    /// Requests per second (open loop)
    #[arg(long, value_name = "LIST", value_delimiter = ',', num_args = 1.., conflicts_with = "text_rate", help_heading = "What is compared")]
    pub(crate) request_rate: Vec<f64>,
    /// Texts per second (open loop)
    #[arg(long, value_name = "LIST", value_delimiter = ',', num_args = 1.., help_heading = "What is compared")]
    pub(crate) text_rate: Vec<f64>,
    /// Measured time of one cell, split over its repetitions: 10m, 90s
    #[arg(long, value_name = "TIME", help_heading = "How it is measured")]
    pub(crate) duration: Option<em_api::HumanDuration>,
    /// The same in minutes
    #[arg(long, value_name = "MINUTES", conflicts_with = "duration", value_parser = minutes, help_heading = "How it is measured")]
    pub(crate) duration_minutes: Option<em_api::HumanDuration>,
    /// Unmeasured time before each window
    #[arg(long, value_name = "TIME", help_heading = "How it is measured")]
    pub(crate) warmup: Option<em_api::HumanDuration>,
    /// Measured windows of one cell; 3 or more give verdicts
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100), help_heading = "How it is measured")]
    pub(crate) repetitions: Option<u32>,
    /// Extend a window, up to 3×, until it holds so many requests
    #[arg(long, value_name = "COUNT", help_heading = "How it is measured")]
    pub(crate) min_requests: Option<u64>,
    /// Slurm partition
    #[arg(long, help_heading = "Slurm")]
    pub(crate) partition: Option<String>,
    /// Generic resources, for example gpu:l40s:1
    #[arg(long, help_heading = "Slurm")]
    pub(crate) gres: Option<String>,
    /// GPUs of the job, for example 1 or l40s:1
    #[arg(long, help_heading = "Slurm")]
    pub(crate) gpus: Option<String>,
    /// Time limit: 4h, 90m, 04:00:00
    #[arg(long, help_heading = "Slurm")]
    pub(crate) time: Option<String>,
    /// CPU cores of the job
    #[arg(long, alias = "cpus-per-task", help_heading = "Slurm")]
    pub(crate) cpus: Option<u32>,
    /// Memory of the job: 32G
    #[arg(long, alias = "mem", help_heading = "Slurm")]
    pub(crate) memory: Option<String>,
    /// Slurm account
    #[arg(long, help_heading = "Slurm")]
    pub(crate) account: Option<String>,
    /// Quality of service
    #[arg(long, help_heading = "Slurm")]
    pub(crate) qos: Option<String>,
    /// Features that a node must have
    #[arg(long, help_heading = "Slurm")]
    pub(crate) constraint: Option<String>,
    /// Nodes to run on
    #[arg(long, help_heading = "Slurm")]
    pub(crate) nodelist: Option<String>,
}

impl SpecFlags {
    /// Whether none was given.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

fn minutes(text: &str) -> Result<em_api::HumanDuration, String> {
    match text.parse::<f64>() {
        Ok(minutes) if minutes > 0.0 && minutes < 1e6 => Ok(std::time::Duration::from_secs_f64(minutes * 60.0).into()),
        _ => Err("expected a number of minutes such as 10 or 0.5".to_owned()),
    }
}
