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
  cargo build --locked --workspace --lib --bins --tests 2>&1 | prefix build || status=$?
  wait "$setup" || {
    status=$?
    tail -n 20 "$EM_DIR/log/setup.log" >&2
  }
  return $status
}
prepare() { "$TARGET/debug/em-agent" setup --store "$STORE" --backends ort,huggingface,vllm --profile cpu --model "$MODEL" --dataset wordnet; }

# End-to-end tests wait for Slurm most of the time. The lints begin when cargo has let go of the build directory.
end_to_end_beside_lints() {
  { sleep 15 && nice -n 19 scripts/check.sh; } >"$EM_DIR/log/check.log" 2>&1 &
  local lints=$! status=0
  # All packages are named, so that none is built a second time with fewer features.
  cargo test --locked --workspace --test whole --test chaos || status=$?
  wait "$lints" || {
    status=$?
    tail -n 80 "$EM_DIR/log/check.log" >&2
  }
  return $status
}

export EM_TEST_STORE=$STORE EM_TEST_AGENT=$TARGET/debug/em-agent EM_TEST_BIN=$TARGET/debug

part 'packages' packages
part 'web: build, types, tests' web
part 'build, beside downloads' build_beside_downloads
part 'prepare the ONNX graph' prepare
home_for_tests
part 'unit and integration tests' python3 scripts/lanes.py
part 'end to end on a real Slurm cluster, beside format, lints, documentation' end_to_end_beside_lints
parts_table
