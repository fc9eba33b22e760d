"""Runs the unit and integration tests of the workspace in two lanes beside each other, each lane one test program after another: the
control plane's tests compute all the time, those of agents, services and Slurm mostly wait. One cargo call builds them all, so that
nothing is built twice with other features. Prints a line a program, the whole output of one that fails, and the lanes' seconds."""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time

CARGO = ["cargo", "test", "--locked", "--workspace", "--exclude", "em-e2e"]
COMPUTING = {"em-controlplane"}
# Lower, so that whoever waits for an answer gets its core.
NICENESS = {"computing": 5, "waiting": 0}


def programs():
    """(package, target, folder of the package, executable), in cargo's order."""
    build = subprocess.run([*CARGO, "--no-run", "--message-format=json-render-diagnostics"], stdout=subprocess.PIPE, text=True)
    if build.returncode != 0:
        sys.exit(build.returncode)
    found = []
    for line in build.stdout.splitlines():
        message = json.loads(line)
        if message["reason"] == "compiler-artifact" and message["profile"]["test"] and message["executable"]:
            folder = os.path.dirname(message["manifest_path"])
            # `…/slurm#em-slurm@0.1.0`, or `…/em-slurm#0.1.0` where the folder has the package's name.
            fragment = message["package_id"].split("#")[1]
            package = fragment.split("@")[0] if "@" in fragment else os.path.basename(folder)
            found.append((package, message["target"]["name"], folder, message["executable"]))
    return sorted(found)


def run(lane, programs, failed):
    began = time.monotonic()
    for package, target, folder, executable in programs:
        begin = time.monotonic()
        with tempfile.TemporaryFile("w+", errors="replace") as output:
            # What cargo sets for a test program.
            environment = {**os.environ, "CARGO_MANIFEST_DIR": folder, "CARGO_PKG_NAME": package}
            status = subprocess.run(
                ["nice", "-n", str(NICENESS[lane]), executable, "--quiet"],
                cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT,
            ).returncode
            output.seek(0)
            text = output.read()
        result = [line for line in text.splitlines() if line.startswith("test result")]
        seen = result[-1].removeprefix("test result: ").split("; 0 ignored")[0] if result else f"exit status {status}"
        if status != 0:
            failed.append(f"{package} {target}")
            print(text)
        print(f"{lane:>9}  {time.monotonic() - begin:5.0f} s  {package} {target}: {seen}", flush=True)
    print(f"{lane:>9}  {time.monotonic() - began:5.0f} s  in all", flush=True)


def main():
    lanes = {"computing": [], "waiting": []}
    for program in programs():
        lanes["computing" if program[0] in COMPUTING else "waiting"].append(program)
    failed = []
    threads = [threading.Thread(target=run, args=(lane, programs, failed)) for lane, programs in lanes.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        sys.exit("failed: " + ", ".join(failed))


if __name__ == "__main__":
    main()
