//! Looks before any trial whether the job has what it asked for: GPUs that are granted must be visible, or numbers of the
//! wrong device would come out.

use em_api::measurement::GpuInfo;
use tracing::info;

/// What Slurm says it gave this job on this node.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Granted {
    Count(usize),
    /// GPUs were asked for, but their number is not told.
    AtLeastOne,
}

/// Errors: one sentence with the cure; every trial then fails as `GpuNotVisible`.
pub(crate) fn gpus(expected: bool) -> Result<(), String> {
    if !expected {
        return Ok(());
    }
    let visible = em_telemetry::visible_gpus();
    judge(&granted(|name| std::env::var(name).ok()), visible.as_deref().map_err(ToString::to_string))
}

fn judge(granted: &Granted, visible: Result<&[GpuInfo], String>) -> Result<(), String> {
    let promised = match granted {
        Granted::Count(count) => format!("{count} GPUs were granted to this job"),
        Granted::AtLeastOne => "GPUs were granted to this job".to_owned(),
    };
    let cure = "run `nvidia-smi` in a job on this node, or exclude it with slurm.exclude";
    let visible = visible.map_err(|problem| format!("{promised}, but none can be seen: {problem}; {cure}"))?;
    let enough = match granted {
        Granted::Count(count) => visible.len() == *count,
        Granted::AtLeastOne => !visible.is_empty(),
    };
    if !enough {
        return Err(format!("{promised}, but {} can be seen; {cure}", visible.len()));
    }
    info!("{promised}, {} can be seen", visible.len());
    Ok(())
}

/// `SLURM_GPUS_ON_NODE` is set by Slurm where gres is asked for; the lists are the older ways of telling.
fn granted(variable: impl Fn(&str) -> Option<String>) -> Granted {
    if let Some(count) = variable("SLURM_GPUS_ON_NODE").and_then(|text| text.trim().parse().ok()) {
        return Granted::Count(count);
    }
    for name in ["CUDA_VISIBLE_DEVICES", "SLURM_JOB_GPUS"] {
        let Some(list) = variable(name) else { continue };
        let count = list.split(',').map(str::trim).filter(|entry| !entry.is_empty()).map(entry_count).sum();
        if count > 0 {
            return Granted::Count(count);
        }
    }
    Granted::AtLeastOne
}

/// `3` and `GPU-…` are one, `0-3` are four.
fn entry_count(entry: &str) -> usize {
    let range = entry.split_once('-').and_then(|(first, last)| Some((first.parse::<usize>().ok()?, last.parse::<usize>().ok()?)));
    range.map_or(1, |(first, last)| last.saturating_sub(first) + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gpus(count: u32) -> Vec<GpuInfo> {
        (0..count)
            .map(|index| GpuInfo {
                index,
                uuid: format!("GPU-{index}"),
                name: "L40S".to_owned(),
                memory_bytes: 48 << 30,
                ..GpuInfo::default()
            })
            .collect()
    }

    #[test]
    fn as_many_gpus_must_be_visible_as_were_granted() {
        assert_eq!(judge(&Granted::Count(2), Ok(&gpus(2))), Ok(()));
        for visible in [0, 1, 3] {
            let message = judge(&Granted::Count(2), Ok(&gpus(visible))).expect_err("wrong number");
            assert!(message.starts_with(&format!("2 GPUs were granted to this job, but {visible} can be seen")), "{message}");
        }
        assert_eq!(judge(&Granted::AtLeastOne, Ok(&gpus(1))), Ok(()));
        assert!(judge(&Granted::AtLeastOne, Ok(&[])).is_err());
        assert!(judge(&Granted::Count(1), Err("no driver".to_owned())).expect_err("no NVML").contains("no driver"));
    }

    #[test]
    fn the_grant_is_read_from_what_slurm_sets() {
        let of = |pairs: &[(&str, &str)]| {
            granted(|name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
        };
        assert_eq!(of(&[("SLURM_GPUS_ON_NODE", "2"), ("CUDA_VISIBLE_DEVICES", "0")]), Granted::Count(2));
        assert_eq!(of(&[("CUDA_VISIBLE_DEVICES", "0,1")]), Granted::Count(2));
        assert_eq!(of(&[("CUDA_VISIBLE_DEVICES", "GPU-10-20")]), Granted::Count(1));
        assert_eq!(of(&[("SLURM_JOB_GPUS", "0-2,5")]), Granted::Count(4));
        assert_eq!(of(&[("CUDA_VISIBLE_DEVICES", "")]), Granted::AtLeastOne);
        assert_eq!(of(&[]), Granted::AtLeastOne);
    }
}
