#!/usr/bin/env bash
# Our service beside those that people use, on this machine's cores, by HTTP: texts/s, ratios with 95 % bounds, p99, memory, time to ready.
# TEI=/path/to/text-embeddings-router measures it too (TEI_ORT=/path/to/libonnxruntime for its ort backend).
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$ROOT"
mkdir -p "$EM_DIR/bench"

TEI=${TEI:-}
agent=${EM_BENCH_AGENT:-$TARGET/release/em-agent}

build() { [ -n "${EM_BENCH_AGENT:-}" ] || cargo build --release --locked -p em-agent; }
fill() { [ -e "$STORE/manifests/backend-vllm.json" ] || fill_store ort,huggingface,vllm; }

[ -n "$TEI" ] || say "TEI is not given (TEI=/path/to/text-embeddings-router) and is left out"
part 'store' fill
part 'build' build
part 'measure' python3 scripts/services/bench.py --agent "$agent" --store "$STORE" --model "$MODEL" --work "$EM_DIR/bench" --tei "$TEI" \
  --tei-ort "${TEI_ORT:-}" --repetitions "${EM_BENCH_REPETITIONS:-5}" --seconds "${EM_BENCH_SECONDS:-6}" --services "${EM_BENCH_SERVICES:-}"
parts_table
