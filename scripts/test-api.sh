#!/usr/bin/env bash
# Lets schemathesis (a property-based client) send thousands of requests, right and wrong ones, to a real server by its own API document.
# Jobs are submitted to an sbatch that starts nothing: what is posted holds shell code made of random letters.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$ROOT"

SCHEMATHESIS=4.32.5
# Cases at least; examples an operation beside the boundaries that are always tried; seconds at most.
CASES=${EM_API_CASES:-5000} EXAMPLES=${EM_API_EXAMPLES:-60} SECONDS_AT_MOST=${EM_API_SECONDS:-900}
VENV=$TARGET/api/schemathesis-$SCHEMATHESIS
WORK=$(mktemp -d "${TMPDIR:-/tmp}/em-api-XXXXXX")
LOG=$EM_DIR/log/api-server.log REPORT=$EM_DIR/log/api.json
export EM_API_ANSWERS=$EM_DIR/log/api-answers.json
mkdir -p "$EM_DIR/log" "$WORK/bin"

server_pid=
stop_all() {
  if [ -n "$server_pid" ]; then end_process "$server_pid"; fi
  rm -rf "$WORK"
}
trap stop_all EXIT

slurm_that_starts_nothing() {
  # shellcheck disable=SC2016 # the script's own variables
  printf '#!/bin/sh\necho "$$"\n' >"$WORK/bin/sbatch"
  printf '#!/bin/sh\nexit 0\n' >"$WORK/bin/squeue"
  for command in sacct sinfo scontrol scancel sacctmgr; do
    printf '#!/bin/sh\necho "%s: error: there is no Slurm here" >&2\nexit 1\n' "$command" >"$WORK/bin/$command"
  done
  chmod 755 "$WORK"/bin/*
}

start() {
  slurm_that_starts_nothing
  "$TARGET/debug/em-controlplane" serve --listen 127.0.0.1:0 --state-dir "$WORK/state" --job-dir "$WORK/jobs" --scheduler cli \
    --slurm-bin-dir "$WORK/bin" --agent /bin/false --missing-grace 1d --submit-rate 0 2>"$LOG" &
  server_pid=$!
  wait_for "$server_pid" "$LOG" test -s "$WORK/state/server.json"
  URL=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["url"])' "$WORK/state/server.json")
  EM_API_TOKEN=$(cat "$WORK/state/admin-token")
  export EM_API_TOKEN EM_API_HOOKS=$ROOT/scripts/api/hooks.py
  python3 scripts/api/start.py "$URL" "$EM_API_TOKEN" "$WORK/jobs" >"$WORK/env" || return
  # shellcheck disable=SC1091 # written by start.py
  . "$WORK/env"
}

# Case by case; the server must live to the end.
cases() {
  local status=0
  (cd "$WORK" && timeout --kill-after=30 "$SECONDS_AT_MOST" "$VENV/bin/st" --config-file "$ROOT/scripts/api/schemathesis.toml" run "$URL/openapi.json" \
    --max-examples "$EXAMPLES" --report json --report-json-path "$REPORT") || status=$?
  kill -0 "$server_pid" 2>/dev/null || die "the server ended: $(tail -n 3 "$LOG")"
  [ "$status" = 0 ] && python3 scripts/api/count.py "$URL" "$REPORT" "$EM_API_ANSWERS" "$CASES"
}

part 'client' python_tool "$VENV" "schemathesis==$SCHEMATHESIS"
part 'build' cargo build --locked -p em-controlplane --bins
part 'start' start
part "at least $CASES cases" cases
parts_table
