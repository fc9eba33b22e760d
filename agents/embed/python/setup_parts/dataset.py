"""The built-in data set: 117,000 sentences of WordNet, from Debian's package `wordnet-base`. Nothing is installed."""

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from setup_parts.fetch import SetupError, command
from setup_parts.store import Step, Store

PACKAGE = "wordnet-base"
KEY = "wordnet"
TEXTS = "texts.txt"
LEAST_TEXTS = 100_000
PARTS = ("data.noun", "data.verb", "data.adj", "data.adv")


def wordnet(store: Store) -> Step:
    def done() -> bool:
        entry = store.entry("dataset", KEY)
        return entry is not None and (store.root / str(entry["path"]) / TEXTS).exists()

    def fill() -> None:
        with store.scratch() as scratch:
            source = package_files(scratch)
            texts = distinct(source / "usr/share/wordnet")
            if len(texts) < LEAST_TEXTS:
                raise SetupError(f"{PACKAGE} held only {len(texts)} sentences; expected at least {LEAST_TEXTS}: is it another version?")
            content = ("\n".join(texts) + "\n").encode()
            sha256 = hashlib.sha256(content).hexdigest()
            made = scratch / "made"
            made.mkdir()
            (made / TEXTS).write_bytes(content)
            shutil.copyfile(source / f"usr/share/doc/{PACKAGE}/copyright", made / "LICENSE")
            path = f"datasets/{KEY}-{sha256[:8]}"
            store.place(made, path)
        store.record("dataset", KEY, path, sha256, {"texts": str(len(texts)), "file": TEXTS, "source": f"Debian {PACKAGE}"})

    return Step("data set wordnet", 6.5, done, fill)


def package_files(scratch: Path) -> Path:
    """The unpacked package. Debian's own signed index says where it is and which hash it must have."""
    cure = "WordNet comes from a Debian or Ubuntu mirror; elsewhere bring texts of your own with `em-agent data prepare`, or `dataset.path`"
    download = ["apt-get", "-qq", "-o", "APT::Sandbox::User=", "download", PACKAGE]
    try:
        command(download, cure, cwd=scratch)
    except SetupError:
        # No package lists yet, or old ones: fetch them into a private folder, which needs no root.
        lists = scratch / "apt"
        (lists / "lists/partial").mkdir(parents=True)
        (lists / "cache/archives/partial").mkdir(parents=True)
        private = ["-o", f"Dir::State::Lists={lists}/lists", "-o", f"Dir::Cache={lists}/cache", "-o", "APT::Sandbox::User="]
        command(["apt-get", "-qq", *private, "update"], cure, cwd=scratch)
        command(["apt-get", "-qq", *private, "download", PACKAGE], cure, cwd=scratch)
    unpacked = scratch / "unpacked"
    command(["dpkg-deb", "-x", str(next(scratch.glob(f"{PACKAGE}_*.deb"))), str(unpacked)], cure)
    return unpacked


def distinct(folder: Path) -> list[str]:
    """`head word: gloss` of each synset, in file order, without repeats (wndb(5WN))."""
    seen: dict[str, None] = {}
    for part in PARTS:
        with open(folder / part, encoding="utf-8", errors="strict") as lines:
            for text in sentences(lines):
                seen[text] = None
    return list(seen)


def sentences(lines: Iterator[str]) -> Iterator[str]:
    for line in lines:
        # The licence at the head of each file is indented by two spaces.
        if line.startswith("  ") or "|" not in line:
            continue
        fields, gloss = line.split("|", 1)
        # Adjectives carry a position marker: `afloat(p)`.
        word = fields.split()[4].split("(")[0].replace("_", " ")
        yield " ".join(f"{word}: {gloss}".split())
