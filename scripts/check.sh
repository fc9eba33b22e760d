#!/usr/bin/env bash
# Format, lints, documentation and the examples in it: no warning passes.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo fmt --all --check
cargo clippy --locked --workspace --all-targets -- -D warnings
cargo clippy --locked -p em-slurm --tests --features long-tests -- -D warnings
cargo test --doc --locked --workspace --quiet
RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps --quiet
if command -v shellcheck >/dev/null; then shellcheck -x scripts/*.sh slurm/src/local/*.sh deploy/slurm/*.sh .ci/run; fi
