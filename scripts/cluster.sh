#!/usr/bin/env bash
# A real Slurm cluster on one machine, private to one folder, for development, demos and tests. `cluster.sh help` says how.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=scripts/cluster/processes.sh
. "$ROOT/scripts/cluster/processes.sh"
# shellcheck source=scripts/cluster/ports.sh
. "$ROOT/scripts/cluster/ports.sh"
# shellcheck source=scripts/cluster/configuration.sh
. "$ROOT/scripts/cluster/configuration.sh"
# shellcheck source=scripts/cluster/accounting.sh
. "$ROOT/scripts/cluster/accounting.sh"
# shellcheck source=scripts/cluster/rest.sh
. "$ROOT/scripts/cluster/rest.sh"

usage() {
  cat <<'HELP'
usage: scripts/cluster.sh up | down [--wipe] | status   [--dir DIR]

  up       starts slurmctld, its slurmds and a munged of their own; installs Debian's Slurm where it is missing.
           Says so and succeeds when the cluster is up already. A start that fails leaves nothing running.
  down     cancels the jobs and stops everything; --wipe removes the folder too.
  status   what runs (exit status 3: not up).

Afterwards:  . DIR/env.sh        and squeue, sbatch, … talk to this cluster.

Everything is under DIR; /etc is not touched. Works as root and as an ordinary user; several run side by side. By environment:
  DIR=.em/cluster   the folder        NODES=4  CPUS=4  MEM=16384 (MB)  GPUS=2   of virtual nodes; may be more than the machine has
  GPUTYPE=          a name such as l40s makes them typed: gpu:l40s:2
  PORT=auto         first of NODES + 3 ports on loopback
  ACCT=0            1: accounting too (slurmdbd on a MariaDB of its own; ENFORCE=associations,limits sets AccountingStorageEnforce)
  REST=0            1: Slurm's REST API too, on a Unix socket and on loopback with tokens (slurmrestd, its addresses are in DIR/env.sh)
  MINJOBAGE=300     seconds that a finished job stays in the listing
  KILLWAIT=30       seconds between TERM and KILL     MESSAGETIMEOUT=10     EXTRA_CONF=FILE   more lines for slurm.conf
  PREFIX=DIR        another Slurm than the installed one: its programs in DIR/bin and DIR/sbin
  TASK=task/none  PROCTRACK=proctrack/linuxproc     task/cgroup and proctrack/cgroup: memory limits are enforced (root only)
  JOB_HOME=DIR      home folder of the jobs, instead of their user's (whose login files may be slow, or take locks)
Partitions: main (default), gpu (where GPUS > 0), short (1 minute), low and lowc (preempted by high: requeued, cancelled), high.
HELP
}

verb=${1:-help}
[ $# = 0 ] || shift
wipe=
while [ $# -gt 0 ]; do
  case $1 in
    --dir) DIR=${2:?--dir needs a folder} && shift 2 ;;
    --dir=*) DIR=${1#--dir=} && shift ;;
    --wipe) wipe=yes && shift ;;
    *) die "unknown argument $1; see: scripts/cluster.sh help" ;;
  esac
done

DIR=$(realpath -m "${DIR:-$EM_DIR/cluster}")
NODES=${NODES:-4} CPUS=${CPUS:-4} MEM=${MEM:-16384} GPUS=${GPUS:-2} GPUTYPE=${GPUTYPE:-} PORT=${PORT:-auto} ACCT=${ACCT:-0} ENFORCE=${ENFORCE:-} REST=${REST:-0}
MINJOBAGE=${MINJOBAGE:-300} KILLWAIT=${KILLWAIT:-30} MESSAGETIMEOUT=${MESSAGETIMEOUT:-10} EXTRA_CONF=${EXTRA_CONF:-}
# A cluster that is there is spoken to by the programs that it was started with.
PREFIX=${PREFIX:-$(cat "$DIR/.cluster" 2>/dev/null || true)} TASK=${TASK:-task/none} PROCTRACK=${PROCTRACK:-proctrack/linuxproc} JOB_HOME=${JOB_HOME:-}
ME=$(id -un)
NODE_HOST=$(uname -n)
NODE_HOST=${NODE_HOST%%.*}
CONF=$DIR/etc/slurm.conf
export SLURM_CONF=$CONF PATH=${PREFIX:+$PREFIX/bin:$PREFIX/sbin:}$PATH:/usr/sbin:/sbin LC_ALL=C
unset "${!SBATCH_@}" "${!SQUEUE_@}" SLURM_CLUSTERS

check_knobs() {
  local name
  for name in NODES CPUS MEM GPUS MINJOBAGE KILLWAIT MESSAGETIMEOUT; do
    [[ ${!name} =~ ^[0-9]{1,6}$ ]] || die "$name=${!name} is not a number"
  done
  if [ "$NODES" -lt 1 ] || [ "$NODES" -gt 200 ]; then die "NODES=$NODES: 1 to 200"; fi
  if [ "$CPUS" -lt 1 ] || [ "$MEM" -lt 64 ]; then die "CPUS must be 1 or more, MEM 64 or more"; fi
  [[ $GPUTYPE =~ ^[A-Za-z0-9_.-]*$ ]] || die "GPUTYPE=$GPUTYPE is no plain name such as l40s"
  [[ $PORT == auto || $PORT =~ ^[0-9]{4,5}$ ]] || die "PORT=$PORT is neither auto nor a port number"
  [[ $ACCT == [01] ]] || die "ACCT=$ACCT is neither 0 nor 1"
  [[ $REST == [01] ]] || die "REST=$REST is neither 0 nor 1"
  [[ $DIR =~ ^[A-Za-z0-9_./+:@-]+$ ]] || die "DIR=$DIR: Slurm reads its configuration word by word; use a path of plain letters, without blanks"
  # The longest socket is a job step's: DIR/spool/node200/node200_67108863.4294967291
  local longest=$((107 - 42))
  if [ ${#DIR} -gt $longest ]; then
    die "DIR is ${#DIR} bytes long, $longest at most (paths of Unix sockets end at 107 bytes): choose a shorter folder with --dir, for example under ${TMPDIR:-/tmp}"
  fi
  [[ $PREFIX =~ ^(/[A-Za-z0-9_./+:@-]*)?$ ]] || die "PREFIX=$PREFIX must be an absolute path of plain letters"
  [ -z "$PREFIX" ] || [ -x "$PREFIX/sbin/slurmctld" ] || die "PREFIX=$PREFIX: there is no Slurm ($PREFIX/sbin/slurmctld)"
  [[ $JOB_HOME =~ ^(/[A-Za-z0-9_./+:@-]*)?$ ]] || die "JOB_HOME=$JOB_HOME must be an absolute path of plain letters"
  [ -z "$EXTRA_CONF" ] || [ -r "$EXTRA_CONF" ] || die "EXTRA_CONF=$EXTRA_CONF cannot be read"
}

packages() {
  local missing=() pair
  local needed=(slurmctld:slurmctld slurmd:slurmd sbatch:slurm-client munged:munge)
  [ "$ACCT" = 0 ] || needed+=(slurmdbd:slurmdbd mariadbd:mariadb-server-core mariadb-install-db:mariadb-server-core mariadb:mariadb-client-core)
  [ "$REST" = 0 ] || needed+=(slurmrestd:slurmrestd curl:curl)
  for pair in "${needed[@]}"; do
    command -v "${pair%%:*}" >/dev/null || missing+=("${pair#*:}")
  done
  # Debian's plugin for tokens is a package of its own.
  if [ "$REST" = 1 ] && [ "$(command -v slurmrestd || echo /usr/sbin/slurmrestd)" = /usr/sbin/slurmrestd ]; then missing+=(slurm-wlm-jwt-plugin); fi
  [ ${#missing[@]} = 0 ] || apt_install "${missing[@]}" || die "installing ${missing[*]} failed"
}

answers() { timeout 5 scontrol ping 2>/dev/null | grep -q 'is UP'; }
idle_nodes() { sinfo -h -N -p main -t idle,alloc,mix -o %N 2>/dev/null | sort -u | wc -l; }
all_nodes_registered() { [ "$(idle_nodes)" = "$NODES" ]; }

up() {
  check_knobs
  packages
  if pid_of slurmctld >/dev/null && answers; then
    say "the cluster in $DIR is up already: . $DIR/env.sh"
    return
  fi
  stop_all
  trap 'failed' EXIT
  umask 022
  mkdir -p "$DIR"/{etc,run,log,state,spool,dev,munge}
  chmod 700 "$DIR/munge"
  echo "$PREFIX" >"$DIR/.cluster"
  local number
  for number in $(seq 1 "$NODES"); do mkdir -p "$DIR/spool/node$number"; done
  start_munged
  [ "$ACCT" = 0 ] || start_database
  # Until all daemons listen, nobody else here may choose ports.
  exec 9<"$ROOT/scripts/cluster.sh"
  flock -w 60 9 || true
  choose_ports
  choose_address
  write_configuration
  [ "$ACCT" = 0 ] || start_slurmdbd
  start_slurmctld
  for number in $(seq 1 "$NODES"); do daemon slurmd slurmd -N "node$number"; done
  wait_until 20 "all slurmds to register" all_nodes_registered
  start_rest
  exec 9<&-
  trap - EXIT
  say "Slurm is up: $NODES nodes × $CPUS CPUs, $GPUS GPUs, ports from $PORT$([ "$ACCT" = 0 ] || echo ', with accounting'). Use it with: . $DIR/env.sh"
}

# munged guards its key by refusing folders that a group may write to; a checkout made with umask 002 is one, hence --force (the
# key itself stays readable for its owner alone).
start_munged() {
  local key=$DIR/munge/munge.key
  if [ ! -f "$key" ]; then (umask 377 && head -c 128 /dev/urandom >"$key"); fi
  daemon munged munged --force --socket="$DIR/run/munge.sock" --key-file="$key" --log-file="$DIR/munge/munged.log" \
    --pid-file="$DIR/run/munged.pid" --seed-file="$DIR/munge/munged.seed" --num-threads=4
  wait_until 5 "munged" munge --socket="$DIR/run/munge.sock" -n
}

# slurmctld goes into the background before it has read its state: its exit status proves nothing.
start_slurmctld() {
  [ ! -f "$DIR/log/slurmctld.log" ] || mv "$DIR/log/slurmctld.log" "$DIR/log/slurmctld.log.old"
  daemon slurmctld slurmctld
  wait_until 15 "slurmctld" answers_or_died
  answers || die "slurmctld ended at once"
}
answers_or_died() { grep -q 'fatal:' "$DIR/log/slurmctld.log" 2>/dev/null || answers; }

failed() {
  local status=$?
  trap - EXIT
  exec 9<&-
  echo "error: the cluster did not start (exit status $status). What the logs say:" >&2
  grep -hE 'fatal|error:|Error|ERROR' "$DIR"/log/*.log "$DIR"/log/*.out "$DIR/munge/munged.log" 2>/dev/null | grep -viE 'pmix' | tail -n 12 >&2 || true
  stop_all
  exit "$status"
}

down() {
  if [ ! -e "$DIR/.cluster" ]; then
    say "there is no cluster in $DIR"
    return
  fi
  stop_all
  if [ -n "$wipe" ]; then rm -rf "$DIR"; fi
  say "the cluster in $DIR is down$([ -z "$wipe" ] || echo ', its folder removed')"
}

status() {
  local name
  for name in $(daemons); do
    echo "$name: $(pid_of "$name" || echo 'not running')"
  done
  if pid_of slurmctld >/dev/null && answers; then
    sinfo -N -o '%8N %10T %5c %8m %G' | sort -u
    squeue
  else
    echo "no cluster answers in $DIR"
    return 3
  fi
}

case $verb in
  up | down | status) "$verb" ;;
  help | -h | --help) usage ;;
  *) die "unknown command $verb; see: scripts/cluster.sh help" ;;
esac
