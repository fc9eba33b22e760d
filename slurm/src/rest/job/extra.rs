//! Which further sbatch options slurmrestd can carry, and under which key. What is not in this table is refused.

/// How a value is written into a record (v0.0.39 and later).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Text,
    /// A plain whole number.
    Whole,
    /// `{set, infinite, number}`.
    Number,
    /// An option without a value.
    Flag,
    /// `1`, `0`, `yes`, `no`.
    Truth,
    /// `30`, `1:30:00`, `1-12`: in minutes.
    Minutes,
    /// `32G`: in megabytes.
    Megabytes,
    /// The same as a plain number.
    Disk,
    /// `now+1hour`, `2027-01-01T12:00`.
    Time,
    /// `2` or `a100:2`, as TRES.
    Gpus,
    /// The same a task, with the binding that sbatch adds.
    GpusPerTask,
    GpuMegabytes,
}

pub(super) struct Extra {
    pub(super) option: &'static str,
    /// Key up to v0.0.38, and the version that it came with.
    key: Option<(&'static str, u8)>,
    /// Key and form since v0.0.39.
    pub(super) described: Option<(&'static str, Form)>,
}

impl Extra {
    pub(super) fn as_option(&self) -> Option<(&'static str, u8)> {
        self.key
    }
}

const fn extra(option: &'static str, key: &'static str, described: &'static str, form: Form) -> Extra {
    Extra { option, key: Some((key, 36)), described: Some((described, form)) }
}

const fn option_only(option: &'static str, key: &'static str, since: u8) -> Extra {
    Extra { option, key: Some((key, since)), described: None }
}

const fn described_only(option: &'static str, key: &'static str, form: Form) -> Extra {
    Extra { option, key: None, described: Some((key, form)) }
}

/// From `job_params` of the plugins openapi/v0.0.36 to v0.0.38, and `JOB_DESC_MSG` of data_parser/v0.0.39 to v0.0.45.
pub(super) const EXTRAS: [Extra; 41] = [
    extra("ntasks", "tasks", "tasks", Form::Whole),
    extra("ntasks-per-node", "tasks_per_node", "tasks_per_node", Form::Whole),
    extra("ntasks-per-core", "tasks_per_core", "tasks_per_core", Form::Whole),
    extra("ntasks-per-socket", "tasks_per_socket", "tasks_per_socket", Form::Whole),
    extra("mincpus", "minimum_cpus_per_node", "minimum_cpus_per_node", Form::Whole),
    extra("sockets-per-node", "sockets_per_node", "sockets_per_node", Form::Whole),
    option_only("cores-per-socket", "cores_per_socket", 36),
    extra("threads-per-core", "threads_per_core", "threads_per_core", Form::Whole),
    extra("core-spec", "core_specification", "core_specification", Form::Whole),
    extra("thread-spec", "thread_specification", "thread_specification", Form::Whole),
    extra("mem-per-cpu", "memory_per_cpu", "memory_per_cpu", Form::Megabytes),
    extra("mem-per-gpu", "memory_per_gpu", "memory_per_tres", Form::GpuMegabytes),
    extra("tmp", "temporary_disk_per_node", "temporary_disk_per_node", Form::Disk),
    extra("gpus-per-task", "gpus_per_task", "tres_per_task", Form::GpusPerTask),
    extra("gpus-per-socket", "gpus_per_socket", "tres_per_socket", Form::Gpus),
    extra("cpus-per-gpu", "cpus_per_gpu", "cpus_per_tres", Form::Gpus),
    option_only("gpu-bind", "gpu_binding", 36),
    option_only("gpu-freq", "gpu_frequency", 36),
    option_only("gres-flags", "gres_flags", 36),
    option_only("cpu-freq", "cpu_frequency", 36),
    option_only("mem-bind", "memory_binding", 36),
    option_only("distribution", "distribution", 36),
    option_only("spread-job", "spread_job", 36),
    option_only("use-min-nodes", "minimum_nodes", 36),
    option_only("no-kill", "no_kill", 36),
    option_only("oversubscribe", "oversubscribe", 38),
    extra("batch", "batch_features", "batch_features", Form::Text),
    Extra { option: "prefer", key: Some(("prefer", 38)), described: Some(("prefer", Form::Text)) },
    described_only("contiguous", "contiguous", Form::Flag),
    described_only("reboot", "reboot", Form::Flag),
    described_only("switches", "required_switches", Form::Number),
    extra("wait-all-nodes", "wait_all_nodes", "wait_all_nodes", Form::Truth),
    extra("hold", "hold", "hold", Form::Flag),
    Extra { option: "priority", key: Some(("priority", 37)), described: Some(("priority", Form::Number)) },
    extra("time-min", "time_minimum", "time_minimum", Form::Minutes),
    extra("deadline", "deadline", "deadline", Form::Time),
    extra("wckey", "wckey", "wckey", Form::Text),
    extra("bb", "burst_buffer", "burst_buffer", Form::Text),
    extra("acctg-freq", "account_gather_frequency", "account_gather_frequency", Form::Text),
    Extra { option: "mcs-label", key: Some(("mcs_label", 38)), described: Some(("mcs_label", Form::Text)) },
    described_only("extra", "extra", Form::Text),
];

/// `--option=value` into its parts.
pub(super) fn split(arg: &str) -> (&str, Option<&str>) {
    let arg = arg.trim_start_matches("--");
    arg.split_once('=').map_or((arg, None), |(option, value)| (option, Some(value)))
}
