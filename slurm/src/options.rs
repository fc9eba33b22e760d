//! What a job asks of Slurm: sbatch's own options as plain fields, and the `#SBATCH` lines made of them.

use std::path::PathBuf;

use crate::container::{Container, unmountable};
use crate::extra_arg::validate_extra_arg;
use crate::quote::sbatch_word;

/// Named as sbatch names its options. Absent fields are left to the site's defaults.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobOptions {
    pub partition: Option<String>,
    pub gres: Option<String>,
    pub gpus: Option<String>,
    pub gpus_per_node: Option<String>,
    pub nodes: Option<u32>,
    pub cpus_per_task: Option<u32>,
    /// sbatch's `--mem`: per node, `32G`.
    pub memory: Option<String>,
    pub time_minutes: Option<u32>,
    pub account: Option<String>,
    pub qos: Option<String>,
    pub constraint: Option<String>,
    pub reservation: Option<String>,
    pub nodelist: Option<String>,
    pub exclude: Option<String>,
    pub exclusive: bool,
    pub dependency: Option<String>,
    pub begin: Option<String>,
    pub nice: Option<i64>,
    /// Lets Slurm start the job again by itself, under the same id, after a node failure or preemption.
    pub requeue: bool,
    pub licenses: Option<String>,
    pub mail_type: Option<String>,
    pub mail_user: Option<String>,
    /// Where the agent runs, as [`Container::parse`] reads it.
    pub container: Option<String>,
    /// Absolute paths beside the job directory that the agent needs inside a container; each appears under its own path.
    pub container_mounts: Vec<PathBuf>,
    /// Further options, one each, as `--option` or `--option=value`.
    pub extra_args: Vec<String>,
}

/// What is wrong with one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OptionError {
    /// Of [`JobOptions`] or [`JobScript`](crate::JobScript).
    pub field: &'static str,
    /// Which element, for lists.
    pub index: Option<usize>,
    pub message: String,
}

/// slurmctld refuses longer ones (`Pathname of a file, directory or other parameter too long`; lists of nodes may be longer).
const LONGEST_VALUE: usize = 1_023;
const LONGEST_LIST: usize = 16_000;

impl JobOptions {
    /// All mistakes that can be seen without asking Slurm, at once. Empty: `#SBATCH` lines can carry every value.
    pub fn validate(&self) -> Vec<OptionError> {
        let mut errors = Vec::new();
        for (field, value) in self.texts() {
            let longest = if ["nodelist", "exclude", "dependency"].contains(&field) { LONGEST_LIST } else { LONGEST_VALUE };
            let message = value.and_then(|value| unwritable_above(longest, value).or_else(|| misread(field, value)));
            if let Some(message) = message {
                errors.push(OptionError { field, index: None, message });
            }
        }
        for (index, arg) in self.extra_args.iter().enumerate() {
            if let Err(message) = validate_extra_arg(arg) {
                errors.push(OptionError { field: "extra_args", index: Some(index), message });
            }
        }
        for (field, value) in [("nodes", self.nodes), ("cpus_per_task", self.cpus_per_task), ("time_minutes", self.time_minutes)] {
            if value == Some(0) {
                errors.push(OptionError { field, index: None, message: "must be at least 1".to_owned() });
            }
        }
        if self.started_container().is_some() {
            for (index, path) in self.container_mounts.iter().enumerate() {
                if let Some(message) = unmountable(&path.to_string_lossy()) {
                    errors.push(OptionError { field: "container_mounts", index: Some(index), message });
                }
            }
        }
        errors
    }

    /// Whether the job gets GPUs, by what is asked of Slurm.
    pub fn asks_for_gpus(&self) -> bool {
        let is_gpu = |item: &str| item.trim().trim_start_matches("gres/").split([':', '=']).next() == Some("gpu");
        let extra = |arg: &String| match arg.split_once('=') {
            Some(("--tres-per-task", list)) => list.split(',').any(is_gpu),
            Some((option, _)) => option.starts_with("--gpus-per-"),
            None => false,
        };
        self.gpus.is_some()
            || self.gpus_per_node.is_some()
            || self.gres.as_deref().is_some_and(|gres| gres.split(',').any(is_gpu))
            || self.extra_args.iter().any(extra)
    }

    /// The bundle for sbatch's `--container`, where that is what `container` means.
    pub fn oci_bundle(&self) -> Option<String> {
        match Container::parse(self.container.as_deref()?).ok()? {
            Container::Oci { bundle } => Some(bundle),
            Container::Apptainer { .. } | Container::Pyxis { .. } => None,
        }
    }

    /// The container that the script itself starts, where there is one.
    pub(crate) fn started_container(&self) -> Option<Container> {
        Container::parse(self.container.as_deref()?).ok().filter(Container::is_started_by_the_script)
    }

    fn texts(&self) -> [(&'static str, Option<&str>); 17] {
        [
            ("partition", self.partition.as_deref()),
            ("gres", self.gres.as_deref()),
            ("gpus", self.gpus.as_deref()),
            ("gpus_per_node", self.gpus_per_node.as_deref()),
            ("memory", self.memory.as_deref()),
            ("account", self.account.as_deref()),
            ("qos", self.qos.as_deref()),
            ("constraint", self.constraint.as_deref()),
            ("reservation", self.reservation.as_deref()),
            ("nodelist", self.nodelist.as_deref()),
            ("exclude", self.exclude.as_deref()),
            ("dependency", self.dependency.as_deref()),
            ("begin", self.begin.as_deref()),
            ("licenses", self.licenses.as_deref()),
            ("mail_type", self.mail_type.as_deref()),
            ("mail_user", self.mail_user.as_deref()),
            ("container", self.container.as_deref()),
        ]
    }

    /// `#SBATCH` lines, without those that belong to how we keep track of a job (`script.rs`).
    pub(crate) fn sbatch_lines(&self) -> Vec<String> {
        let number = |value: Option<u32>| value.map(|number| number.to_string());
        let mut lines = Vec::new();
        let mut add = |option: &str, value: Option<String>| {
            if let Some(value) = value {
                lines.push(sbatch_line(option, Some(&value)));
            }
        };
        add("partition", self.partition.clone());
        add("account", self.account.clone());
        add("qos", self.qos.clone());
        add("reservation", self.reservation.clone());
        add("nodes", number(self.nodes));
        add("gres", self.gres.clone());
        add("gpus", self.gpus.clone());
        add("gpus-per-node", self.gpus_per_node.clone());
        add("cpus-per-task", number(self.cpus_per_task));
        add("mem", self.memory.clone());
        add("time", number(self.time_minutes));
        add("constraint", self.constraint.clone());
        add("nodelist", self.nodelist.clone());
        add("exclude", self.exclude.clone());
        add("licenses", self.licenses.clone());
        add("dependency", self.dependency.clone());
        add("begin", self.begin.clone());
        add("nice", self.nice.map(|nice| nice.to_string()));
        add("mail-type", self.mail_type.clone());
        add("mail-user", self.mail_user.clone());
        add("container", self.oci_bundle());
        if self.exclusive {
            lines.push(sbatch_line("exclusive", None));
        }
        lines.extend(self.extra_args.iter().map(|arg| format!("#SBATCH {}", sbatch_word(arg))));
        lines
    }
}

/// `#SBATCH --option=value`, the value as one word of sbatch's.
pub(crate) fn sbatch_line(option: &str, value: Option<&str>) -> String {
    match value {
        Some(value) => format!("#SBATCH --{option}={}", sbatch_word(value)),
        None => format!("#SBATCH --{option}"),
    }
}

/// What sbatch would misread or complain about in a value of this field, in one sentence with the cure.
fn misread(field: &str, value: &str) -> Option<String> {
    match field {
        "gres" => (!value.split(',').all(is_gres)).then(|| {
            format!("`{value}` is no list of generic resources; write for example gpu:1 or gpu:l40s:2,shard:4, counts above 0")
        }),
        "gpus" | "gpus_per_node" => (!value.split(',').all(is_gpu_count))
            .then(|| format!("`{value}` is not a number of GPUs; write for example 1 or l40s:1, above 0")),
        "memory" => (!is_size(value)).then(|| format!("`{value}` is not a size; write for example 32G or 512M, above 0")),
        "container" => Container::parse(value).err(),
        // It is an argument of the site's mail program.
        "mail_user" => {
            value.starts_with('-').then(|| "must not begin with `-`: it would be an option of the mail program".to_owned())
        }
        _ => None,
    }
}

/// `name[:type][:count]`, sbatch(1), `--gres`. Without a count it is 1.
fn is_gres(item: &str) -> bool {
    let words: Vec<&str> = item.trim_start_matches("gres/").split(':').collect();
    match words[..] {
        [name] => is_word(name),
        [name, last] => is_word(name) && (is_amount(last) || is_word(last)),
        [name, kind, count] => is_word(name) && is_word(kind) && is_amount(count),
        _ => false,
    }
}

/// `[type:]number`, sbatch(1), `--gpus`.
fn is_gpu_count(item: &str) -> bool {
    let (kind, count) = item.rsplit_once(':').unwrap_or(("any", item));
    is_word(kind) && is_number(count)
}

/// A name in a list of resources. Not a number, which would be a count of 0 or one too long.
fn is_word(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "_-.+/".contains(c))
        && !text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_number(text: &str) -> bool {
    (1..=9).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit()) && text.bytes().any(|byte| byte != b'0')
}

/// A count such as `2` or `4K`.
fn is_amount(text: &str) -> bool {
    is_number(text.strip_suffix(['k', 'K', 'm', 'M', 'g', 'G', 't', 'T', 'p', 'P']).unwrap_or(text))
}

/// sbatch(1), `--mem`.
fn is_size(text: &str) -> bool {
    is_number(text.strip_suffix(['K', 'M', 'G', 'T']).unwrap_or(text))
}

/// Why a value cannot stand in a `#SBATCH` line.
pub(crate) fn unwritable(value: &str) -> Option<String> {
    unwritable_above(LONGEST_VALUE, value)
}

fn unwritable_above(longest: usize, value: &str) -> Option<String> {
    if value.is_empty() {
        Some("must not be empty; leave it out for the site's default".to_owned())
    } else if value.chars().any(char::is_control) {
        Some("must not contain line ends or other control characters".to_owned())
    } else if value.len() > longest {
        Some(format!("is {} bytes long; Slurm takes {longest} at most", value.len()))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mistake_is_named_at_once_with_its_field() {
        let options = JobOptions {
            partition: Some(String::new()),
            account: Some("a\n#SBATCH --uid=0".to_owned()),
            nodes: Some(0),
            extra_args: vec!["--ntasks=2".to_owned(), "--output=elsewhere".to_owned()],
            ..JobOptions::default()
        };
        let fields: Vec<_> = options.validate().into_iter().map(|error| (error.field, error.index)).collect();
        assert_eq!(fields, [("partition", None), ("account", None), ("extra_args", Some(1)), ("nodes", None)]);
        assert!(JobOptions::default().validate().is_empty());
    }

    #[test]
    fn a_value_never_makes_a_line_of_its_own() {
        let options = JobOptions { account: Some("a\n#SBATCH --uid=0\r\nrm -rf".to_owned()), ..JobOptions::default() };
        assert_eq!(options.sbatch_lines(), ["#SBATCH --account=\"a #SBATCH --uid=0  rm -rf\""]);
    }
}
