//! What a job asks of Slurm: sbatch's own options as plain fields, and the `#SBATCH` lines made of them.

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
    /// An OCI bundle for Slurm's own container support.
    pub container: Option<String>,
    /// Further options, one each, as `--option` or `--option=value`.
    pub extra_args: Vec<String>,
}

/// What is wrong with one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OptionError {
    pub field: &'static str,
    /// Which element, for `extra_args`.
    pub index: Option<usize>,
    pub message: String,
}

/// sbatch copies each word of a `#SBATCH` line into a buffer of fixed size.
const LONGEST_VALUE: usize = 2_000;

impl JobOptions {
    /// All mistakes that can be seen without asking Slurm, at once. Empty: `#SBATCH` lines can carry every value.
    pub fn validate(&self) -> Vec<OptionError> {
        let mut errors = Vec::new();
        for (field, value) in self.texts() {
            if let Some(message) = value.and_then(unwritable) {
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
        errors
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
        add("container", self.container.clone());
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

/// Why a value cannot stand in a `#SBATCH` line.
pub(crate) fn unwritable(value: &str) -> Option<String> {
    if value.is_empty() {
        Some("must not be empty; leave it out for the site's default".to_owned())
    } else if value.chars().any(char::is_control) {
        Some("must not contain line ends or other control characters".to_owned())
    } else if value.len() > LONGEST_VALUE {
        Some(format!("is {} bytes long; sbatch reads {LONGEST_VALUE} at most", value.len()))
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
