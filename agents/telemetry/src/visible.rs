//! Which GPUs `CUDA_VISIBLE_DEVICES` leaves to a process. Pure.
//!
//! As CUDA reads it (CUDA C++ programming guide, environment variables): a list of indices or UUIDs; a UUID may be cut short
//! where it stays unambiguous; the first entry that names no device ends the list, so `-1` and Slurm's `NoDevFiles` mean none.
//! Unset: all. Indices are taken in NVML's order (by PCI bus); CUDA's own order differs only on nodes with unlike GPUs.

use em_api::measurement::GpuInfo;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// Position in the list of all GPUs.
    Gpu(usize),
    /// A slice of a GPU, by its UUID.
    Mig(String),
}

pub(crate) fn choose(variable: Option<&str>, all: &[GpuInfo]) -> Vec<Choice> {
    let Some(list) = variable else { return (0..all.len()).map(Choice::Gpu).collect() };
    let mut chosen = Vec::new();
    for entry in list.split(',').map(str::trim) {
        match one(entry, all) {
            Some(choice) if !chosen.contains(&choice) => chosen.push(choice),
            // A device named twice is an error to CUDA, which then shows none.
            Some(_) => return Vec::new(),
            None => break,
        }
    }
    chosen
}

fn one(entry: &str, all: &[GpuInfo]) -> Option<Choice> {
    if entry.starts_with("MIG-") {
        return Some(Choice::Mig(entry.to_owned()));
    }
    if entry.starts_with("GPU-") {
        let mut matching = (0..all.len()).filter(|&at| all[at].uuid.starts_with(entry));
        return match (matching.next(), matching.next()) {
            (Some(at), None) => Some(Choice::Gpu(at)),
            _ => None,
        };
    }
    let index: usize = entry.parse().ok()?;
    (index < all.len()).then_some(Choice::Gpu(index))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node() -> Vec<GpuInfo> {
        ["GPU-aa11", "GPU-ab22", "GPU-cc33"]
            .iter()
            .zip(0..)
            .map(|(uuid, index)| GpuInfo {
                index,
                uuid: (*uuid).to_owned(),
                name: "L40S".to_owned(),
                memory_bytes: 1,
                ..GpuInfo::default()
            })
            .collect()
    }

    #[test]
    fn the_variable_is_read_as_cuda_reads_it() {
        let gpus = |list: &[usize]| list.iter().map(|&at| Choice::Gpu(at)).collect::<Vec<_>>();
        for (variable, chosen) in [
            (None, gpus(&[0, 1, 2])),
            (Some(""), gpus(&[])),
            (Some("-1"), gpus(&[])),
            (Some("NoDevFiles"), gpus(&[])),
            (Some("2, 0"), gpus(&[2, 0])),
            (Some("1,7,0"), gpus(&[1])),
            (Some("0,0"), gpus(&[])),
            (Some("GPU-cc,GPU-aa11"), gpus(&[2, 0])),
            (Some("GPU-a"), gpus(&[])),
            (Some("MIG-5e"), vec![Choice::Mig("MIG-5e".to_owned())]),
        ] {
            assert_eq!(choose(variable, &node()), chosen, "{variable:?}");
        }
    }
}
