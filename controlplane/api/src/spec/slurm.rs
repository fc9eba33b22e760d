//! What an experiment asks of Slurm. The names are sbatch's own options in camelCase.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::HumanDuration;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Slurm {
    pub partition: Option<String>,
    pub gres: Option<String>,
    pub gpus: Option<String>,
    pub gpus_per_node: Option<String>,
    pub nodes: u32,
    pub cpus_per_task: Option<u32>,
    pub memory: Option<String>,
    /// As sbatch takes it (`4h`, `04:00:00`, `2-0`, `240`), stored as minutes.
    pub time: SlurmTime,
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
    pub requeue: bool,
    pub licenses: Option<String>,
    pub mail_type: Option<String>,
    pub mail_user: Option<String>,
    pub modules: Vec<String>,
    /// Lines run by the job's shell before the agent: the user's own code.
    pub setup: Vec<String>,
    pub env: BTreeMap<String, String>,
    pub container: Option<String>,
    pub extra_args: Vec<String>,
    pub shard: ShardBy,
    pub same_node: bool,
}

/// A time limit in whole minutes, shown as `H:MM:00`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SlurmTime {
    pub minutes: u32,
}

impl fmt::Display for SlurmTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}:00", self.minutes / 60, self.minutes % 60)
    }
}

impl From<SlurmTime> for String {
    fn from(time: SlurmTime) -> Self {
        time.to_string()
    }
}

impl TryFrom<String> for SlurmTime {
    type Error = String;

    /// Slurm's spellings (`minutes`, `minutes:seconds`, `hours:minutes:seconds`, `days-hours[:minutes[:seconds]]`; sbatch(1),
    /// `--time`) and ours (`4h`, `90m`). Seconds round up to a minute, as Slurm's own resolution does.
    fn try_from(text: String) -> Result<Self, Self::Error> {
        let fail = || format!("`{text}` is not a Slurm time; write for example 4h, 90m, 04:00:00 or 1-12:00");
        let number = |part: &str| -> Result<u64, String> {
            if part.is_empty() || part.len() > 6 || !part.bytes().all(|b| b.is_ascii_digit()) {
                Err(fail())
            } else {
                part.parse().map_err(|_| fail())
            }
        };
        let seconds = if text.ends_with(|c: char| c.is_ascii_alphabetic()) {
            text.parse::<HumanDuration>().map_err(|_| fail())?.0.as_secs_f64().ceil() as u64
        } else if let Some((days, rest)) = text.split_once('-') {
            let mut total = number(days)? * 86_400;
            let parts: Vec<&str> = rest.split(':').collect();
            if parts.len() > 3 {
                return Err(fail());
            }
            for (part, size) in parts.iter().zip([3_600, 60, 1]) {
                total += number(part)? * size;
            }
            total
        } else {
            let parts = text.split(':').map(number).collect::<Result<Vec<_>, _>>()?;
            match parts[..] {
                [minutes] => minutes * 60,
                [minutes, seconds] => minutes * 60 + seconds,
                [hours, minutes, seconds] => hours * 3_600 + minutes * 60 + seconds,
                _ => return Err(fail()),
            }
        };
        let minutes = u32::try_from(seconds.div_ceil(60)).map_err(|_| fail())?;
        if minutes == 0 { Err(fail()) } else { Ok(Self { minutes }) }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum ShardBy {
    Experiment,
    Backend,
    Trial,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slurm_times_are_read_in_all_spellings() {
        for (text, minutes) in
            [("4h", 240), ("90", 90), ("04:00:00", 240), ("1-12", 2160), ("1-12:30", 2190), ("30s", 1), ("0:30", 1), ("2-0", 2880)]
        {
            assert_eq!(SlurmTime::try_from(text.to_owned()).expect(text).minutes, minutes, "{text}");
        }
        for text in ["", "0", "4x", "1:2:3:4", "-5", "1-", "abc", "1-2:3:4:5"] {
            assert!(SlurmTime::try_from(text.to_owned()).is_err(), "{text}");
        }
    }
}
