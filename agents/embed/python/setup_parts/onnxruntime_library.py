"""The shared library of ONNX Runtime, out of its Python wheel: it is tied to no Python, so `ort` needs none."""

from setup_parts.fetch import extract, lock_megabytes, locked_wheel
from setup_parts.store import Step, Store, sha256_file

VERSION = "1.31.1"


def library(store: Store) -> Step:
    package = "onnxruntime" if store.profile == "cpu" else "onnxruntime-gpu"
    lock = f"onnxruntime-{store.profile}"
    path = f"lib/{package}-{VERSION}"
    name = f"libonnxruntime.so.{VERSION}"

    def done() -> bool:
        return store.has("backend", "ort", path, f"{path}/{name}")

    def fill() -> None:
        with store.scratch() as scratch:
            made = scratch / "made"
            with locked_wheel(store.tools_python, lock, scratch) as wheel:
                extract(wheel, "onnxruntime/capi/libonnxruntime", "onnxruntime/capi/", made)
                extract(wheel, "onnxruntime/LICENSE", "onnxruntime/", made)
            sha256 = sha256_file(made / name)
            store.place(made, path)
        details = {"library": f"{path}/{name}", "onnxruntime": VERSION, "profile": store.profile}
        store.record("backend", "ort", path, sha256, details)

    return Step(f"{package} {VERSION}", lock_megabytes(lock), done, fill)
