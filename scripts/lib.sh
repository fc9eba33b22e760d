# shellcheck shell=bash
# Shared by the scripts here: saying what happens, timing it, installing what is missing.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
EM_DIR=${EM_DIR:-$ROOT/.em}
STORE=${EM_STORE:-$EM_DIR/store}
# shellcheck disable=SC2034 # read by the scripts that source this file
TARGET=${CARGO_TARGET_DIR:-$ROOT/target}
MODEL=sentence-transformers/all-MiniLM-L6-v2
STARTED=$SECONDS
declare -a PARTS=()

say() { printf '\033[1m[%3d s]\033[0m %s\n' $((SECONDS - STARTED)) "$*"; }
die() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

# Sends TERM to a child of this shell and waits for its end.
end_process() {
  kill "$1" 2>/dev/null || true
  wait "$1" 2>/dev/null || true
}

# part NAME COMMAND…: runs it, keeps its seconds for the table, ends the script with its status on failure. Bash ignores `set -e`
# inside COMMAND (it stands before `||`): a function given here must chain its steps with `&&`.
part() {
  local name=$1 begin=$SECONDS status=0
  shift
  say "$name"
  "$@" || status=$?
  PARTS+=("$((SECONDS - begin)) $([ "$status" = 0 ] && echo ok || echo FAILED) $name")
  if [ "$status" != 0 ]; then
    parts_table
    die "$name failed (exit status $status)"
  fi
}

parts_table() {
  printf '\n%9s  %-7s %s\n' seconds result part
  local entry seconds result name
  for entry in "${PARTS[@]}"; do
    read -r seconds result name <<<"$entry"
    printf '%9s  %-7s %s\n' "$seconds" "$result" "$name"
  done
  printf '%9s  %-7s %s\n\n' $((SECONDS - STARTED)) '' 'in all'
}

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

# apt_install PACKAGE…: installs what is missing, without starting any system service.
apt_install() {
  local missing=() package guard=/usr/sbin/policy-rc.d made_guard=
  for package in "$@"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q '^install ok installed' || missing+=("$package")
  done
  [ ${#missing[@]} = 0 ] && return 0
  if [ "$(id -u)" != 0 ] && ! sudo -n true 2>/dev/null; then
    die "these Debian packages are missing: ${missing[*]}. Install them with: sudo apt-get install --no-install-recommends ${missing[*]}"
  fi
  say "installing Debian packages: ${missing[*]}"
  if [ ! -e $guard ]; then
    made_guard=yes
    printf '#!/bin/sh\nexit 101\n' | as_root tee $guard >/dev/null
    as_root chmod 755 $guard
  fi
  local status=0
  as_root apt-get update -qq &&
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null || status=$?
  [ -z "$made_guard" ] || as_root rm -f $guard
  return $status
}

# The tools that the README asks for, with the cure when one is missing.
need_tools() {
  command -v cargo >/dev/null || die "cargo is missing: install Rust from https://rustup.rs"
  command -v npm >/dev/null || die "npm is missing: install Node.js 20 or newer"
  command -v python3 >/dev/null || die "python3 is missing: install Python 3.11 or newer"
  python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || die "python3 is older than 3.11: $(python3 --version)"
  apt_install gcc libc6-dev binutils make ca-certificates || return
  python3 -c 'import ensurepip' 2>/dev/null || apt_install python3-venv
}

# Downloads models, texts and environments into the store; the same script is inside `em-agent setup`.
fill_store() {
  python3 "$ROOT/agents/embed/python/em_setup.py" --store "$STORE" --backends "$1" --profile cpu --model "$MODEL" --dataset wordnet
}

# Job scripts are login shells, and tests kill them: whose login files they read must not matter.
home_for_tests() {
  export CARGO_HOME=${CARGO_HOME:-$HOME/.cargo} RUSTUP_HOME=${RUSTUP_HOME:-$HOME/.rustup}
  mkdir -p "$EM_DIR/home"
  export HOME=$EM_DIR/home
}

free_port() {
  python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# wait_for PID LOG COMMAND…: until COMMAND succeeds, a minute at most; ends with the log's last lines when the process does.
wait_for() {
  local pid=$1 log=$2
  shift 2
  for _ in $(seq 600); do
    "$@" >/dev/null 2>&1 && return
    kill -0 "$pid" 2>/dev/null || die "the server ended: $(tail -n 3 "$log")"
    sleep 0.1
  done
  die "the server is not ready after a minute: $(tail -n 3 "$log")"
}

# python_tool FOLDER PACKAGE…: a virtual environment with these packages, made once.
python_tool() {
  local venv=$1
  shift
  [ -e "$venv/ready" ] || { python3 -m venv "$venv" && "$venv/bin/pip" install --quiet "$@" && touch "$venv/ready"; }
}

# prefix NAME: each line of stdin, marked; of cargo's many "Compiling" lines only some.
prefix() {
  awk -v name="$1" '/^ *(Compiling|Downloaded|Checking|Documenting)/ { if (++seen % 60 != 1) next } { print "  " name " | " $0; fflush() }'
}
