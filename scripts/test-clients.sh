#!/usr/bin/env bash
# The Python libraries that people call embedding services with, openai and langchain-openai, against our real server.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$ROOT"

OPENAI=3.57.0 LANGCHAIN_OPENAI=1.7.4
VENV=$TARGET/clients/openai-$OPENAI-langchain-$LANGCHAIN_OPENAI
WORK=$(mktemp -d "${TMPDIR:-/tmp}/em-clients-XXXXXX")
agent=${EM_TEST_AGENT:-$TARGET/debug/em-agent}

server_pid=
stop_all() {
  if [ -n "$server_pid" ]; then end_process "$server_pid"; fi
  rm -rf "$WORK"
}
trap stop_all EXIT

start() {
  local port model
  port=$(free_port) && model=$(echo "$STORE"/models/*MiniLM-L6-v2@main) || return
  "$agent" serve --model "$model" --model-name "$MODEL" --port "$port" 2>"$WORK/server.log" &
  server_pid=$!
  URL=http://127.0.0.1:$port
  wait_for "$server_pid" "$WORK/server.log" curl -fs "$URL/health"
}

part 'clients' python_tool "$VENV" "openai==$OPENAI" "langchain-openai==$LANGCHAIN_OPENAI"
part 'store' fill_store ort
part 'build' cargo build --locked -p em-agent
part 'start' start
part 'openai and langchain-openai' env -u OPENAI_BASE_URL "$VENV/bin/python" scripts/services/clients.py "$URL" "$MODEL"
parts_table
