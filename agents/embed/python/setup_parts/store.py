"""The store's layout and manifests (the words of `em_api::inputs`), its lock, and what a step is."""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Callable, Optional


@dataclass(eq=False)
class Step:
    """One part of the store. `fill` may be called again after it was cut off; it writes the part's manifest last."""

    title: str
    # Upper bound of what is downloaded; caches may make it less.
    megabytes: float
    done: Callable[[], bool]
    fill: Callable[[], None]


@dataclass
class Store:
    root: Path
    # `cpu`, `cuda12` or `cuda13`.
    profile: str

    @property
    def tools_python(self) -> Path:
        """The interpreter with pip and uv; the step `tools` makes it."""
        return self.root / "tools/bin/python"

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """One setup at a time; a second one waits. The programs that we start hold the lock too: should we be killed, the next
        setup waits for what is still running."""
        self.root.mkdir(parents=True, exist_ok=True)
        with open(self.root / ".setup.lock", "a+", encoding="utf-8") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.seek(0)
                print(f"[setup] waiting for another setup of {self.root} (process {lock.read().strip() or 'unknown'}) …", flush=True)
                fcntl.flock(lock, fcntl.LOCK_EX)
            os.set_inheritable(lock.fileno(), True)
            lock.truncate(0)
            lock.write(f"{os.getpid()}\n")
            lock.flush()
            for stale in self.root.glob("tmp/part-*"):
                shutil.rmtree(stale, ignore_errors=True)
            yield

    def manifest(self, kind: str, key: str) -> Path:
        return self.root / "manifests" / f"{kind}-{key}.json"

    def entry(self, kind: str, key: str) -> Optional[dict[str, object]]:
        try:
            entry = json.loads(self.manifest(kind, key).read_text(encoding="utf-8"))
        except (FileNotFoundError, json.JSONDecodeError):
            return None
        return entry if isinstance(entry, dict) else None

    def has(self, kind: str, key: str, path: str, needed: str) -> bool:
        """Whether the manifest names this very `path` and the file `needed` (relative to the store) is there."""
        entry = self.entry(kind, key)
        return entry is not None and entry.get("path") == path and (self.root / needed).exists()

    def record(self, kind: str, key: str, path: str, sha256: str, details: dict[str, str]) -> None:
        """Writes the manifest, by rename: from now on the part exists."""
        created = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        entry = {"kind": kind, "key": key, "path": path, "sha256": sha256, "created_at": created, "details": details}
        target = self.manifest(kind, key)
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_suffix(".json.new")
        temporary.write_text(json.dumps(entry, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        os.replace(temporary, target)

    @contextlib.contextmanager
    def scratch(self) -> Iterator[Path]:
        """A folder on the store's own file system, so that what is made in it can be renamed into place."""
        parent = self.root / "tmp"
        parent.mkdir(exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix="part-", dir=parent))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def place(self, made: Path, path: str) -> None:
        """Renames a finished folder to `path`, in place of what an earlier, unrecorded try left there."""
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            shutil.rmtree(target)
        os.chmod(made, 0o755)
        os.replace(made, target)


def sha256_file(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()
