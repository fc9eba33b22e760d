#!/usr/bin/env bash
# The storm of e2e/tests/chaos at full size: each way in which sbatch can break at least 30 times, the controller killed ten times.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$ROOT"
mkdir -p "$EM_DIR/log"

packages() {
  need_tools && apt_install slurm-wlm slurmctld slurmd slurm-client munge curl
}
prepare() {
  scripts/web.sh && cargo build --locked --workspace --bins && fill_store ort && "$TARGET/debug/em-agent" setup --store "$STORE" --backends ort \
    --profile cpu --model "$MODEL" --dataset wordnet
}

export EM_TEST_STORE=$STORE EM_TEST_AGENT=$TARGET/debug/em-agent EM_TEST_BIN=$TARGET/debug
export EM_BUDGET_JOBS=${EM_BUDGET_JOBS:-1,100,5000} EM_BUDGET_SECONDS=${EM_BUDGET_SECONDS:-60}
export EM_CHAOS_SUBMISSIONS=${EM_CHAOS_SUBMISSIONS:-210} EM_CHAOS_SEED=${EM_CHAOS_SEED:-1}
export EM_CHAOS_KILLS=${EM_CHAOS_KILLS:-100}

part 'packages' packages
part 'build and inputs' prepare
home_for_tests
part "chaos: $EM_CHAOS_SUBMISSIONS submissions, seed $EM_CHAOS_SEED" cargo test --locked --workspace --test chaos -- --nocapture
parts_table
