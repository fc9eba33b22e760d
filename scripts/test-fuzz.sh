#!/usr/bin/env bash
# 10,000 random bodies, sizes and disconnects against our real embedding server.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$ROOT"

export EM_TEST_STORE=${EM_TEST_STORE:-$STORE} EM_TEST_AGENT=${EM_TEST_AGENT:-$TARGET/debug/em-agent} EM_FUZZ_REQUESTS=${EM_FUZZ_REQUESTS:-10000}

part 'store' fill_store ort
part 'build' cargo build --locked -p em-agent
part "$EM_FUZZ_REQUESTS requests" cargo test --locked -p em-embed --test it -- ort::fuzz --nocapture
parts_table
