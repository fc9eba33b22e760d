"""Whether a run of test-api.sh was worth something: enough cases, and every operation went well at least once."""

import json
import pathlib
import sys
import urllib.request

URL, REPORT, ANSWERS, LEAST = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
# A link of the run's own would be needed; a zip of a run; and a Slurm.
NEVER = {"redeemLink", "importRun", "readCluster", "signIn"}

with urllib.request.urlopen(f"{URL}/openapi.json", timeout=30) as answer:
    paths = json.load(answer)["paths"]
operations = {operation["operationId"] for item in paths.values() for operation in item.values()}
cases = json.loads(pathlib.Path(REPORT).read_text())["test_cases"]["generated"]
answers: dict[str, int] = json.loads(pathlib.Path(ANSWERS).read_text())
well = {name.split()[0] for name in answers if name.split()[1] < "400"}
print("\n".join(f"{count:6}  {name}" for name, count in answers.items() if len(name.split()) < 4))
if cases < LEAST:
    sys.exit(f"{cases} cases were sent; at least {LEAST} were wanted: raise EM_API_EXAMPLES")
if missing := operations - well - NEVER:
    sys.exit(f"never went well: {', '.join(sorted(missing))}")
print(f"{cases} cases; {len(well)} of {len(operations)} operations went well at least once, {', '.join(sorted(NEVER))} were refused as they should")
