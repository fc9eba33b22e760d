"""pip and uv in an environment of the store's own, so that nothing of the machine is changed."""

import sys

from setup_parts.fetch import command, lock_file, lock_megabytes
from setup_parts.store import Step, Store, sha256_file

LOCK = "tools"


def tools(store: Store) -> Step:
    home = store.root / "tools"
    stamp = home / "lock-sha256"

    def done() -> bool:
        return stamp.exists() and stamp.read_text(encoding="utf-8") == sha256_file(lock_file(LOCK))

    def fill() -> None:
        command([sys.executable, "-m", "venv", "--clear", str(home)], "Debian has it in the package python3-venv")
        install = ["-m", "pip", "install", "--quiet", "--require-hashes", "--requirement", str(lock_file(LOCK))]
        command([str(store.tools_python), *install], "pip needs a package index; see `pip config list`")
        stamp.write_text(sha256_file(lock_file(LOCK)), encoding="utf-8")

    return Step("uv", lock_megabytes(LOCK), done, fill)
