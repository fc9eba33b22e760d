"""The shared library of ONNX Runtime, out of its Python wheel: it is tied to no Python, so `ort` needs none. For a GPU also the
CUDA libraries that it loads (cuBLAS, cuDNN, …), so that a node needs the driver alone."""

from pathlib import Path

from setup_parts.environments import index_of_pip, uv_command
from setup_parts.fetch import command, extract, lock_file, lock_megabytes, locked_wheel
from setup_parts.store import Step, Store, sha256_file

# The last one for CUDA 12 is older.
VERSIONS = {"cpu": "1.31.1", "cuda12": "1.25.1", "cuda13": "1.31.1"}


def library(store: Store) -> Step:
    package = "onnxruntime" if store.profile == "cpu" else "onnxruntime-gpu"
    version = VERSIONS[store.profile]
    lock = f"onnxruntime-{store.profile}"
    path = f"lib/{package}-{version}"
    name = f"libonnxruntime.so.{version}"

    cuda = f"lib/cuda-libraries-{store.profile}-{sha256_file(lock_file(f'cuda-libraries-{store.profile}'))[:8]}" if store.profile != "cpu" else ""

    def done() -> bool:
        return store.has("backend", "ort", path, f"{path}/{name}") and (not cuda or (store.root / cuda).is_dir())

    def fill() -> None:
        with store.scratch() as scratch:
            made = scratch / "made"
            with locked_wheel(store.tools_python, lock, scratch) as wheel:
                extract(wheel, "onnxruntime/capi/libonnxruntime", "onnxruntime/capi/", made)
                extract(wheel, "onnxruntime/LICENSE", "onnxruntime/", made)
            if cuda and not (store.root / cuda).is_dir():
                install_cuda(store, scratch / "cuda")
                store.place(scratch / "cuda", cuda)
            sha256 = sha256_file(made / name)
            store.place(made, path)
        details = {"library": f"{path}/{name}", "onnxruntime": version, "profile": store.profile}
        if cuda:
            details["cuda_libraries"] = cuda
        store.record("backend", "ort", path, sha256, details)

    megabytes = lock_megabytes(lock) + (lock_megabytes(f"cuda-libraries-{store.profile}") if cuda else 0)
    return Step(f"{package} {version} ({store.profile})", megabytes, done, fill)


def install_cuda(store: Store, into: Path) -> None:
    """NVIDIA's wheels, unpacked: `{into}/nvidia/*/lib`."""
    install = [*uv_command(store), "pip", "install", "--quiet", "--python", str(store.tools_python), "--no-deps", "--require-hashes"]
    install += ["--target", str(into), "--requirement", str(lock_file(f"cuda-libraries-{store.profile}"))]
    command(install, "run setup again to go on from here; uv needs a package index (UV_DEFAULT_INDEX or uv.toml)", index_of_pip(store))
