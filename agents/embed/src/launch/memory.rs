//! Out of memory, recognised: in the words of a service's log, or in how its process and its memory group ended. Says which knob
//! to turn, since what users see first is "exit code 1".

use em_api::spec::BackendKind;

use super::process::Exit;

/// What a log says when memory ran out, most telling first, and where.
const WORDS: [(&str, Where); 14] = [
    ("No available memory for the cache blocks", Where::KeyValueCache),
    ("larger than the available KV cache memory", Where::KeyValueCache),
    ("is less than desired GPU memory utilization", Where::GpuShare),
    ("torch.OutOfMemoryError", Where::Gpu),
    ("CUDA out of memory", Where::Gpu),
    ("CUDA error: out of memory", Where::Gpu),
    ("CUDA_ERROR_OUT_OF_MEMORY", Where::Gpu),
    ("CUBLAS_STATUS_ALLOC_FAILED", Where::Gpu),
    ("Failed to allocate memory for requested buffer", Where::Arena),
    ("BFCArena", Where::Arena),
    ("DefaultCPUAllocator: can't allocate memory", Where::Host),
    ("MemoryError", Where::Host),
    ("std::bad_alloc", Where::Host),
    ("memory allocation of", Where::Host),
];
const SIGKILL: i32 = 9;
/// A shell's way of telling the same.
const KILLED_CODE: i32 = 128 + SIGKILL;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Where {
    Gpu,
    /// vLLM takes a share of the GPU at once; somebody else has some of it.
    GpuShare,
    KeyValueCache,
    /// ONNX Runtime's own, on either device.
    Arena,
    Host,
}

/// How often the kernel killed in this process's memory group (cgroup v2 or v1). `None`: not told here.
pub(super) fn kills() -> Option<u64> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    groups.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?.trim_start_matches('/'));
        let file = match controllers {
            "" => format!("/sys/fs/cgroup/{path}/memory.events"),
            named if named.split(',').any(|name| name == "memory") => format!("/sys/fs/cgroup/memory/{path}/memory.oom_control"),
            _ => return None,
        };
        count_of_kills(&std::fs::read_to_string(file).ok()?)
    })
}

/// The line `oom_kill N`.
fn count_of_kills(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

/// One sentence with the cure; `None`: memory was not the reason. `new_kills`: kills by the kernel since the start.
pub(super) fn diagnose(kind: BackendKind, log: &str, exit: Option<Exit>, new_kills: u64) -> Option<String> {
    let killed = exit.is_some_and(|exit| exit.signal == Some(SIGKILL) || exit.code == Some(KILLED_CODE));
    // Of several processes the killed one may be another than the one that ended with an error.
    if new_kills > 0 && (killed || exit.is_some_and(|exit| exit.code != Some(0))) {
        let cure = format!("raise slurm.memory, or lower {}", host_knobs(kind));
        return Some(format!("the kernel killed a process for the job's memory limit (oom_kill): {cure}"));
    }
    if let Some((words, place)) = WORDS.iter().find(|(words, _)| log.contains(words)) {
        return Some(format!("{} (`{words}`): {}", name(*place), cure(kind, *place)));
    }
    killed.then(|| {
        let cure = format!("raise slurm.memory, or lower {}", host_knobs(kind));
        format!("it was killed (SIGKILL), as the kernel does when memory runs out: {cure}")
    })
}

fn name(place: Where) -> &'static str {
    match place {
        Where::Gpu => "the GPU's memory ran out",
        Where::GpuShare => "less of the GPU's memory is free than vLLM was told to take",
        Where::KeyValueCache => "no GPU memory is left for vLLM's cache beside the weights",
        Where::Arena => "ONNX Runtime's memory arena could not grow",
        Where::Host => "the node's memory ran out",
    }
}

fn cure(kind: BackendKind, place: Where) -> String {
    match (place, kind) {
        (Where::GpuShare, _) => "lower --gpu-memory-utilization in `args`, or see who else uses this GPU (nvidia-smi)".to_owned(),
        (Where::KeyValueCache, _) => "raise --gpu-memory-utilization in `args`, or lower model.maxLength".to_owned(),
        (Where::Host, _) => format!("raise slurm.memory, or lower {}", host_knobs(kind)),
        (Where::Gpu | Where::Arena, BackendKind::Vllm) => {
            "lower --gpu-memory-utilization, --max-num-batched-tokens or `batch` (--max-num-seqs)".to_owned()
        }
        (Where::Gpu | Where::Arena, _) => {
            format!("lower {}, model.maxLength, matrix.batchSizes or the concurrency; or take dtype: float16", batch_knob(kind))
        }
    }
}

fn batch_knob(kind: BackendKind) -> &'static str {
    match kind {
        BackendKind::Ort => "--token-budget in `args`",
        BackendKind::Huggingface => "`batch` (--batch-size)",
        BackendKind::Vllm => "`batch` (--max-num-seqs)",
        BackendKind::Tei => "--max-batch-tokens in `args`",
        BackendKind::Openai => "the server's batch size",
    }
}

fn host_knobs(kind: BackendKind) -> String {
    match kind {
        BackendKind::Vllm => "VLLM_CPU_KVCACHE_SPACE in `env`, or the concurrency".to_owned(),
        kind => format!("{}, matrix.batchSizes or the concurrency", batch_knob(kind)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KILLED: Option<Exit> = Some(Exit { code: None, signal: Some(SIGKILL) });

    #[test]
    fn the_words_of_each_server_name_the_knob_to_turn() {
        for (kind, log, knob) in [
            (BackendKind::Huggingface, "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.", "--batch-size"),
            (BackendKind::Vllm, "torch.cuda.OutOfMemoryError: CUDA out of memory.", "--gpu-memory-utilization"),
            (
                BackendKind::Vllm,
                "ValueError: Free memory on device cuda:0 (1.2/79.1 GiB) on startup is less than desired GPU memory utilization (0.9, 71.2 GiB).",
                "lower --gpu-memory-utilization",
            ),
            (
                BackendKind::Vllm,
                "ValueError: No available memory for the cache blocks. Try increasing `gpu_memory_utilization`",
                "raise --gpu-memory-utilization",
            ),
            (
                BackendKind::Ort,
                "bfc_arena.cc:376 void* onnxruntime::BFCArena::AllocateRawInternal Failed to allocate memory for requested buffer of size 12884901888",
                "--token-budget",
            ),
            (BackendKind::Tei, "DriverError(CUDA_ERROR_OUT_OF_MEMORY, \"out of memory\")", "--max-batch-tokens"),
            (
                BackendKind::Huggingface,
                "[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory",
                "slurm.memory",
            ),
            (BackendKind::Ort, "memory allocation of 1099511627776 bytes failed", "slurm.memory"),
        ] {
            let said = diagnose(kind, log, None, 0).unwrap_or_else(|| panic!("{kind}: not recognised: {log}"));
            assert!(said.contains(knob), "{kind}: {said}");
        }
    }

    #[test]
    fn a_kill_by_the_kernel_is_told_from_an_error_of_the_program() {
        let said = diagnose(BackendKind::Vllm, "", KILLED, 1).expect("killed");
        assert!(said.contains("oom_kill") && said.contains("slurm.memory"), "{said}");
        assert!(diagnose(BackendKind::Ort, "", Some(Exit { code: Some(137), signal: None }), 0).is_some());
        assert!(diagnose(BackendKind::Vllm, "EngineDeadError", Some(Exit { code: Some(1), signal: None }), 1).is_some());
        assert_eq!(diagnose(BackendKind::Ort, "no such file", Some(Exit { code: Some(1), signal: None }), 0), None);
        assert_eq!(diagnose(BackendKind::Ort, "CUDA graphs captured", None, 0), None);
    }

    #[test]
    fn kills_are_counted_in_both_kinds_of_memory_group() {
        assert_eq!(count_of_kills("low 0\nhigh 0\nmax 12\noom 2\noom_kill 2\noom_group_kill 0\n"), Some(2));
        assert_eq!(count_of_kills("oom_kill_disable 0\nunder_oom 0\noom_kill 5\n"), Some(5));
        assert_eq!(count_of_kills("nothing"), None);
    }
}
