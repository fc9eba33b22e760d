"""Lets the CUDA build of torch run on a machine without CUDA, without its 3.4 GB of NVIDIA packages.

The index has no CPU-only torch for x86-64. The loader wants thirteen libraries that a CPU run never calls: they become empty
files beside one stub that has their symbols. `torch.cuda.is_available()` is then False. For the cpu profile only: on a GPU node it would
take the GPU away.
"""

import os
import re
import shutil
import tempfile
from pathlib import Path

from setup_parts.fetch import command

CURE = "the cpu profile needs gcc and binutils (Debian: build-essential)"
STUB = "libcudastub.so"
# Libraries of NVIDIA's packages; libcudart is real even here, since torch asks it for error texts.
FOREIGN = re.compile(r"^lib(cu(?!dart)|nv|nccl)")
SYMBOL = re.compile(r"^(cu(?!da[A-Z])|nv|nccl)\w+$")


def stub_missing_libraries(site: Path) -> None:
    """Idempotent: a library that is there, ours or a real one, is left alone."""
    folder = site / "torch/lib"
    needed, symbols = wanted(folder)
    missing = sorted(name for name in needed if not any(site.glob(f"nvidia/*/lib/{name}")) and not (folder / name).exists())
    if not missing:
        return
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        # The symbols sit in one library and the names in others, empty ones: the loader checks a symbol's version only against
        # the library of that very name, and ours have no versions.
        stub, empty = Path(scratch) / STUB, Path(scratch) / "empty.so"
        source = "".join(f"void {name}(void) {{ __builtin_trap(); }}\n" for name in sorted(symbols))
        link(source, stub, ["-Wl,-soname," + STUB])
        link("", empty, ["-Wl,--no-as-needed", "-Wl,-rpath,$ORIGIN", str(stub)])
        os.replace(stub, folder / STUB)
        for name in missing:
            copy = Path(scratch) / name
            shutil.copyfile(empty, copy)
            os.replace(copy, folder / name)


def link(source: str, library: Path, options: list[str]) -> None:
    file = library.with_suffix(".c")
    file.write_text(source, encoding="utf-8")
    command(["gcc", "-shared", "-fPIC", "-fno-builtin", "-w", "-o", str(library), str(file), *options], CURE)


def wanted(folder: Path) -> tuple[set[str], set[str]]:
    """Names of NVIDIA libraries that torch's libraries need, and the symbols that they want of them."""
    needed: set[str] = set()
    symbols: set[str] = set()
    for library in sorted(folder.glob("*.so*")):
        if library.name == STUB:
            continue
        text = command(["readelf", "--wide", "--dynamic", "--dyn-syms", str(library)], CURE)
        needed.update(name for name in re.findall(r"\(NEEDED\).*\[(.+)\]", text) if FOREIGN.match(name))
        undefined = (line.split()[7] for line in text.splitlines() if " UND " in line and len(line.split()) > 7)
        names = (name.split("@")[0] for name in undefined)
        symbols.update(name for name in names if SYMBOL.match(name))
    return needed, symbols
