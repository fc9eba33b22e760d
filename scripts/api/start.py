"""Fills a server for test-api.sh: three experiments, one with a job that its agent has claimed. Prints what schemathesis shall know."""

import json
import pathlib
import shlex
import sys
import time
import urllib.request
from typing import Any

URL, TOKEN, JOBS = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3])
# Needs nothing of the store and starts nothing.
SPEC = {
    "model": {"id": "demo/demo", "path": "/tmp"},
    "dataset": {"source": "text", "path": "/etc/hostname", "limit": 1000},
    "backends": [{"name": "there", "type": "openai", "url": "http://127.0.0.1:9"}],
    "matrix": {"batchSizes": [16, 32], "concurrency": [2]},
    "load": {"duration": "10s", "repetitions": 100},
}


def call(path: str, body: Any = None, token: str = TOKEN) -> Any:
    data = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(URL + path, data, headers), timeout=30) as answer:
        return json.load(answer)


for name in ("demo", "spare", "job"):
    call("/experiments", {"apiVersion": "em/v1alpha1", "kind": "Experiment", "metadata": {"name": name}, "spec": SPEC})
deadline = time.monotonic() + 60
while not (jobs := [job for job in call("/experiments/job/jobs")["items"] if job["id"]]):
    assert time.monotonic() < deadline, "no job was submitted within 60 s"
    time.sleep(0.2)
attempt = jobs[0]["attemptId"]
secret = next(JOBS.glob(f"job-*/{attempt.lower()}/token")).read_text().strip()
claim = {"attempt": attempt, "slurm_job_id": jobs[0]["id"], "restart_count": 0, "boot_nonce": "start", "node": "here", "version": "0"}
epoch = call(f"/agent/attempts/{attempt}/claim", claim, secret)["epoch"]
trials = call("/experiments/job/trials")["items"]


def measured(trial: dict[str, Any]) -> dict[str, Any]:
    told = {key: trial[key] for key in ("block", "backend", "load", "repetition")}
    return {"trial": trial["id"], "attempt": attempt, "epoch": epoch, "batch_size": trial["batchSize"], **told}


facts = {
    "claimAttempt": [claim],
    "appendRecords": [{"attempt": attempt, "epoch": epoch}],
    "putMeasurement": [measured(trial) for trial in trials],
}
known = {"ATTEMPT": attempt, "ATTEMPT_TOKEN": secret, "FACTS": json.dumps(facts)}
print("\n".join(f"export EM_API_{name}={shlex.quote(value)}" for name, value in known.items()))
