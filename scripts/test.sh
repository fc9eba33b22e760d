#!/usr/bin/env bash
# All that CI runs: packages, store, lints, build, tests, end-to-end on a real Slurm cluster. Ends with a table of seconds.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$ROOT"
mkdir -p "$EM_DIR/log"

packages() {
  need_tools && apt_install slurm-wlm slurmctld slurmd slurm-client slurmrestd slurm-wlm-jwt-plugin munge prometheus chromium shellcheck curl slurmdbd mariadb-server-core mariadb-client-core postgresql-15
}
web() {
  scripts/web.sh && (cd web && npm run --silent check)
}
build_beside_downloads() {
  fill_store ort,huggingface,vllm >"$EM_DIR/log/setup.log" 2>&1 &
  local setup=$! status=0
  cargo build --locked --workspace --all-targets 2>&1 | prefix build || status=$?
  wait "$setup" || {
    status=$?
    tail -n 20 "$EM_DIR/log/setup.log" >&2
  }
  return $status
}
prepare() { "$TARGET/debug/em-agent" setup --store "$STORE" --backends ort,huggingface,vllm --profile cpu --model "$MODEL" --dataset wordnet; }

export EM_TEST_STORE=$STORE EM_TEST_AGENT=$TARGET/debug/em-agent EM_TEST_BIN=$TARGET/debug

part 'packages' packages
part 'web: build, types, tests' web
part 'build, beside downloads' build_beside_downloads
part 'prepare the ONNX graph' prepare
part 'format, lints, documentation' scripts/check.sh
home_for_tests
part 'unit and integration tests' cargo test --locked --workspace --exclude em-e2e --quiet
# All packages are named, so that none is built a second time with fewer features.
part 'end to end on a real Slurm cluster' cargo test --locked --workspace --test whole --test chaos
parts_table
