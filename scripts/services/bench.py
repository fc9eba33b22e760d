"""Measures embedding services side by side on one machine and prints markdown.

All are started as their users start them; while one is measured, the others are stopped (SIGSTOP), so that they cost
nothing. Cells are interleaved: each repetition goes through all services in a new order. Ratios are paired by repetition,
with 95 % bounds (t interval on logarithms).
"""

import argparse
import json
import math
import os
import random
import re
import signal
import socket
import statistics
import subprocess
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

CELLS = [(4, 16), (4, 32), (4, 64), (32, 1)]
# Two-sided 95 % by degrees of freedom.
T = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}
TARGETS = {"langchain fp32": (1.5, 1.8), "vllm fp32": (1.05, 1.2), "tei fp32": (1.2, 1.4)}
OURS = "ours fp32"
REFERENCE = "langchain fp32"


@dataclass
class Service:
    name: str
    command: Callable[[int], list[str]]
    env: dict[str, str] = field(default_factory=dict)
    model: str = ""
    port: int = 0
    ready_s: float = 0.0
    rss_mb: float = 0.0
    process: subprocess.Popen[bytes] | None = None

    def start(self, work: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        log = open(work / f"{self.name.replace(' ', '-')}.log", "wb")
        begin = time.monotonic()
        env = {**os.environ, **self.env}
        self.process = subprocess.Popen(self.command(self.port), env=env, stdout=log, stderr=log, start_new_session=True)
        while True:
            try:
                self.embed(["ready"])
                break
            except OSError as error:
                if self.process.poll() is not None or time.monotonic() - begin > 600:
                    raise SystemExit(f"{self.name} did not start; see {log.name}") from error
                time.sleep(0.01)
        self.ready_s = time.monotonic() - begin

    def embed(self, texts: list[str]) -> list[list[float]]:
        body = json.dumps({"model": self.model, "input": texts}).encode()
        request = urllib.request.Request(self.url(), body, {"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=120) as answer:
            data = json.load(answer)["data"]
        return [entry["embedding"] for entry in sorted(data, key=lambda entry: entry["index"])]

    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1/embeddings"

    def group(self) -> list[int]:
        """Processes of our session: servers with workers have several."""
        assert self.process
        return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit() and session(entry) == self.process.pid]

    def signal(self, number: int) -> None:
        for pid in self.group():
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass

    def memory(self) -> float:
        pages = 0
        for pid in self.group():
            try:
                pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
            except OSError:
                pass
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def session(entry: Path) -> int:
    try:
        return int((entry / "stat").read_text().rpartition(")")[2].split()[3])
    except OSError:
        return -1


def passages(store: Path, out: Path) -> list[str]:
    """Glosses joined to about 45 words, 70 tokens: the length of MS MARCO's passages."""
    lines = next(store.glob("datasets/wordnet-*/texts.txt")).read_text().splitlines()
    texts: list[str] = []
    words: list[str] = []
    for line in lines:
        words += line.partition(": ")[2].split()
        if len(words) >= 45:
            texts.append(" ".join(words))
            words = []
    out.write_text("\n".join(texts) + "\n")
    return texts


def services(args: argparse.Namespace) -> list[Service]:
    store: Path = args.store
    model = str(next(store.glob("models/*MiniLM-L6-v2@main")))
    cores = str(len(os.sched_getaffinity(0)))
    detail = lambda backend, key: str(store / json.loads((store / f"manifests/backend-{backend}.json").read_text())["details"][key])
    hf_script = str(Path(__file__).parents[2] / "agents/embed/python/hf_service.py")
    offline = {"HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1"}

    def ours(port: int) -> list[str]:
        library = detail("ort", "library")
        return [args.agent, "serve", "--model", model, "--model-name", args.model, "--port", str(port), "--library", library]

    def langchain(port: int) -> list[str]:
        return [detail("huggingface", "python"), hf_script, "--model", model, "--model-name", args.model, "--port", str(port)]

    def vllm(dtype: str) -> Callable[[int], list[str]]:
        pooler = json.dumps({"pooling_type": "MEAN", "use_activation": True})
        return lambda port: [
            detail("vllm", "python"), "-m", "vllm.entrypoints.cli.main", "serve", model, "--runner", "pooling", "--host", "127.0.0.1",
            "--port", str(port), "--served-model-name", args.model, "--dtype", dtype, "--pooler-config", pooler,
        ]  # fmt: skip

    vllm_env = {
        **offline,
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "OMP_NUM_THREADS": cores,
        "VLLM_CACHE_ROOT": str(store / "cache/vllm"),
    }
    all_services = [
        Service(OURS, ours),
        Service("langchain fp32", langchain, offline),
        Service("vllm fp32", vllm("float32"), vllm_env),
        Service("vllm bf16", vllm("bfloat16"), vllm_env),
    ]
    if args.tei:
        all_services.append(Service("tei fp32", lambda port: [
            args.tei, "--model-id", tei_model(Path(model), args.work), "--port", str(port), "--hostname", "127.0.0.1",
            "--dtype", "float32", "--pooling", "mean", "--prometheus-port", "0", "--max-client-batch-size", "64",
        ], {**offline, **({"ORT_DYLIB_PATH": args.tei_ort} if args.tei_ort else {})}))  # fmt: skip
    chosen = [word.strip() for word in args.services.split(",") if word.strip()]
    for service in all_services:
        service.model = args.model
    return [service for service in all_services if not chosen or service.name in chosen]


def tei_model(model: Path, work: Path) -> str:
    """A folder of the model's own files; its ONNX, where there is one beside them, is what TEI's ort backend reads."""
    folder = work / "tei-model"
    folder.mkdir(exist_ok=True)
    for file in model.iterdir():
        link = folder / file.name
        if file.name != "onnx" and not link.exists():
            link.symlink_to(file)
    exported = os.environ.get("TEI_ONNX")
    if exported and not (folder / "model.onnx").exists():
        (folder / "model.onnx").symlink_to(Path(exported).resolve())
    return str(folder)


def load(args: argparse.Namespace, service: Service, texts: Path, cell: tuple[int, int], seed: int) -> tuple[float, float]:
    """Texts/s and p99 in ms."""
    concurrency, batch = cell
    command = [args.agent, "load", "--url", service.url(), "--model", service.model, "--batch-size", str(batch), "--concurrency",
               str(concurrency), "--duration", f"{args.seconds}s", "--warmup", "2s", "--path", str(texts), "--seed", str(seed)]  # fmt: skip
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    rate = re.search(r"texts\.*: \d+ valid, ([\d.]+)/s", said.stdout)
    p99 = re.search(r"latency\.*: .*p\(99\)=([\d.]+)ms", said.stdout)
    if said.returncode or not rate or not p99:
        raise SystemExit(f"{service.name}, {concurrency}×{batch}: {said.stdout}{said.stderr}")
    return float(rate[1]), float(p99[1])


def bounds(logs: list[float]) -> tuple[float, float, float]:
    """Mean, lower and upper 95 % bound of ratios given as logarithms."""
    mean = statistics.fmean(logs)
    if len(logs) < 2:
        return math.exp(mean), 0.0, math.inf
    half = T.get(len(logs) - 1, 2.0) * statistics.stdev(logs) / math.sqrt(len(logs))
    return math.exp(mean), math.exp(mean - half), math.exp(mean + half)


def cosine(left: list[float], right: list[float]) -> float:
    dot = sum(a * b for a, b in zip(left, right))
    return dot / math.sqrt(sum(a * a for a in left) * sum(b * b for b in right))


Results = dict[str, dict[tuple[int, int], list[tuple[float, float]]]]


def table(running: list[Service], results: Results, quality: dict[str, float]) -> None:
    heads = " | ".join(f"{users}×{batch}" for users, batch in CELLS)
    print(f"\n| service | {heads} | p99 ms | min cosine | RSS MB | ready s |")
    print("|---" * (len(CELLS) + 5) + "|")
    for service in running:
        cells = results[service.name]
        rates = " | ".join(f"{statistics.median(rate for rate, _ in cells[cell]):.1f}" for cell in CELLS)
        p99 = " / ".join(f"{statistics.median(p99 for _, p99 in cells[cell]):.0f}" for cell in CELLS)
        near = f"{quality[service.name]:.6f}" if service.name in quality else "—"
        print(f"| {service.name} | {rates} | {p99} | {near} | {service.rss_mb:.0f} | {service.ready_s:.2f} |")
    if OURS not in results:
        return
    print(f"\n| {OURS} over | {heads} | geometric mean | target, each lower bound / mean | |")
    print("|---" * (len(CELLS) + 4) + "|")
    for service in running:
        if service.name == OURS:
            continue
        logs = {
            cell: [math.log(own / other) for (own, _), (other, _) in zip(results[OURS][cell], results[service.name][cell])]
            for cell in CELLS
        }
        each = {cell: bounds(values) for cell, values in logs.items()}
        mean = math.exp(statistics.fmean(statistics.fmean(values) for values in logs.values()))
        least, wanted = TARGETS.get(service.name, (0.0, 0.0))
        met = all(lower >= least for _, lower, _ in each.values()) and mean >= wanted
        shown = " | ".join("{:.2f} [{:.2f}, {:.2f}]".format(*each[cell]) for cell in CELLS)
        verdict = f"{least} / {wanted} | {'met' if met else 'missed'}" if least else "— | "
        print(f"| {service.name} | {shown} | {mean:.2f} | {verdict} |")


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("--agent", "--model"):
        parser.add_argument(name, required=True)
    for name in ("--store", "--work"):
        parser.add_argument(name, required=True, type=lambda path: Path(path).resolve())
    for name in ("--tei", "--tei-ort", "--services"):
        parser.add_argument(name, default="")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=6)
    args = parser.parse_args()
    file = args.work / "passages.txt"
    texts = passages(args.store, file)
    running = services(args)
    results: Results = {service.name: {cell: [] for cell in CELLS} for service in running}
    try:
        # Each starts alone, twice where that is quick: the second start finds what the first one wrote.
        for service in running:
            service.start(args.work)
            if service.ready_s < 5:
                service.signal(signal.SIGTERM)
                assert service.process
                service.process.wait()
                service.start(args.work)
            print(f"{service.name}: ready after {service.ready_s:.2f} s", flush=True)
            service.signal(signal.SIGSTOP)
        vectors = {}
        for service in running:
            service.signal(signal.SIGCONT)
            vectors[service.name] = [vector for text in texts[:64] for vector in service.embed([text])]
            service.signal(signal.SIGSTOP)
        reference = vectors.get(REFERENCE)
        quality = {name: min(map(cosine, own, reference)) for name, own in vectors.items()} if reference else {}
        for repetition in range(args.repetitions):
            order = running.copy()
            random.Random(repetition).shuffle(order)
            for service in order:
                service.signal(signal.SIGCONT)
                for cell in CELLS:
                    results[service.name][cell].append(load(args, service, file, cell, repetition))
                service.rss_mb = max(service.rss_mb, service.memory())
                service.signal(signal.SIGSTOP)
            print(f"repetition {repetition + 1} of {args.repetitions}", flush=True)
    finally:
        for service in running:
            if service.process:
                service.signal(signal.SIGCONT)
                service.signal(signal.SIGTERM)
                try:
                    service.process.wait(20)
                except subprocess.TimeoutExpired:
                    service.signal(signal.SIGKILL)
    table(running, results, quality)


main()
