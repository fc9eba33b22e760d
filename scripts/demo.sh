#!/usr/bin/env bash
# The main job on real input: real servers, a real model, real text, real Slurm; on a machine without a GPU.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$ROOT"

BACKENDS=${BACKENDS:-ort,huggingface,vllm}
DEMO=$EM_DIR/demo
LOG=$DEMO/log
OUT=${OUT:-$ROOT/results}
mkdir -p "$LOG"

server_pid=
stop_all() {
  if [ -n "$server_pid" ]; then end_process "$server_pid"; fi
  DIR=$EM_DIR/cluster scripts/cluster.sh down >>"$LOG/cluster.log" 2>&1 || true
}
trap stop_all EXIT

build() { make --no-print-directory build 2>&1 | prefix build; }
build_beside_downloads() {
  build &
  local builder=$! status=0
  fill_store "$BACKENDS" 2>&1 | prefix downloads || status=$?
  wait "$builder" || status=$?
  return $status
}
start_server() {
  local port
  port=$(free_port)
  # shellcheck disable=SC1091
  . "$EM_DIR/cluster/env.sh"
  "$TARGET/release/em-controlplane" serve --listen "127.0.0.1:$port" --state-dir "$DEMO/state" --job-dir "$DEMO/jobs" --store-dir "$STORE" \
    --scheduler cli --poll-interval 5s --fast-poll-interval 2s >"$LOG/controlplane.log" 2>&1 &
  server_pid=$!
  for _ in $(seq 100); do
    if curl -fs "http://127.0.0.1:$port/readyz" >/dev/null 2>&1; then return 0; fi
    kill -0 "$server_pid" 2>/dev/null || break
    sleep 0.1
  done
  tail -n 20 "$LOG/controlplane.log" >&2
  return 1
}
run_experiment() {
  local name
  name=demo-$(date -u +%Y%m%d-%H%M%S)
  "$TARGET/release/emctl" --state-dir "$DEMO/state" submit -f examples/demo.yaml --name "$name" --backends "$BACKENDS" --wait --out "$OUT"
}

say "demo: backends $BACKENDS; everything is kept under ${EM_DIR#"$ROOT"/}, the report goes to ${OUT#"$ROOT"/}"
need_tools
apt_install curl
part 'packages and private Slurm cluster' env DIR="$EM_DIR/cluster" scripts/cluster.sh up
part 'build, beside downloads of models, texts and environments' build_beside_downloads
part 'prepare the ONNX graph' "$TARGET/release/em-agent" setup --store "$STORE" --backends "$BACKENDS" --profile cpu --model "$MODEL" --dataset wordnet
part 'start the control plane' start_server
part 'run the experiment through sbatch' run_experiment
parts_table
say "report: $OUT/report.html · text: $OUT/summary_report.txt · plots: $OUT/plots/"
say "to look at the page: make serve"
