#!/usr/bin/env bash
# Starts the cluster and the control plane on the demo's state and prints the link to its page. Ctrl-C ends both.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$ROOT"

DEMO=$EM_DIR/demo
[ -x "$TARGET/release/em-controlplane" ] || die "nothing is built yet: run make demo first"
server_pid=
stop_all() {
  if [ -n "$server_pid" ]; then end_process "$server_pid"; fi
  DIR=$EM_DIR/cluster scripts/cluster.sh down >/dev/null 2>&1 || true
}
trap stop_all EXIT
mkdir -p "$DEMO"
DIR=$EM_DIR/cluster PORT=auto scripts/cluster.sh up
# shellcheck disable=SC1091
. "$EM_DIR/cluster/env.sh"
"$TARGET/release/em-controlplane" serve --listen "127.0.0.1:${PORT:-8080}" --state-dir "$DEMO/state" --job-dir "$DEMO/jobs" --store-dir "$STORE" --scheduler cli &
server_pid=$!
sleep 1
"$TARGET/release/emctl" --state-dir "$DEMO/state" dashboard
wait "$server_pid"
