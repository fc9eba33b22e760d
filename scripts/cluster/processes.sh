# shellcheck shell=bash
# The cluster's processes: started in the background, found by pid file, ended by id and never by name.

# daemon NAME COMMAND…: runs a program that puts itself into the background. Without our streams and our lock: whoever waits for
# the end of our output must not wait for the daemon's.
daemon() {
  local name=$1
  shift
  "$@" </dev/null >>"$DIR/log/$name.out" 2>&1 9>&- || die "$1 did not start: $(tail -n 3 "$DIR/log/$name.out")"
}

# wait_until SECONDS WHAT COMMAND…
wait_until() {
  local end=$((SECONDS + $1)) what=$2
  shift 2
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt $end ] || die "gave up waiting for $what"
    sleep 0.05
  done
}

# A zombie is not alive: process 1 of a container may never reap it.
alive() {
  local state
  state=$(sed 's/.*) //; s/ .*//' "/proc/$1/stat" 2>/dev/null) || return 1
  [[ $state != [ZX] && -n $state ]]
}

# Whether the process is this cluster's: process ids are reused, pid files outlive a crash.
ours() {
  grep -zqxF "SLURM_CONF=$CONF" "/proc/$1/environ" 2>/dev/null || tr '\0' ' ' <"/proc/$1/cmdline" 2>/dev/null | grep -qF "$DIR/"
}

# In the order in which they are ended.
daemons() {
  local file
  for file in "$DIR"/run/rest-*.pid "$DIR"/run/slurmd.*.pid; do
    [ ! -e "$file" ] || basename "$file" .pid
  done
  echo slurmctld
  [ ! -e "$DIR/run/slurmdbd.pid" ] || echo slurmdbd
  [ ! -e "$DIR/run/mariadbd.pid" ] || echo mariadbd
  echo munged
}

# pid_of NAME: its process id, if it lives and is ours.
pid_of() {
  local pid
  pid=$(cat "$DIR/run/$1.pid" 2>/dev/null) && [[ $pid =~ ^[0-9]+$ ]] && alive "$pid" && ours "$pid" && echo "$pid"
}

# end PID SECONDS: TERM, then KILL. CONT, since a stopped process takes no TERM.
end() {
  local tries=$(($2 * 20))
  kill -TERM "$1" 2>/dev/null || return 0
  kill -CONT "$1" 2>/dev/null || return 0
  while alive "$1" && [ $((tries--)) -gt 0 ]; do sleep 0.05; done
  if alive "$1"; then kill -KILL "$1" 2>/dev/null || true; fi
}

stop_all() {
  [ -d "$DIR/run" ] || return 0
  cancel_jobs
  end_left_over_jobs
  local name pid
  for name in $(daemons); do
    if pid=$(pid_of "$name"); then
      # The nodes end together.
      if [[ $name == slurmd.* ]]; then end "$pid" 5 & else wait && end "$pid" 10; fi
    fi
    rm -f "$DIR/run/$name.pid"
  done
  wait
  rm -f "$DIR"/run/*.sock "$DIR"/run/*.sock.lock
}

# Job steps outlive slurmd: jobs are ended first, while Slurm can still do it.
cancel_jobs() {
  pid_of slurmctld >/dev/null && answers || return 0
  local jobs tries=60
  jobs=$(timeout 5 squeue -h -o %A 2>/dev/null | sort -u) || return 0
  [ -n "$jobs" ] || return 0
  # shellcheck disable=SC2086 # one argument a job
  timeout 5 scancel $jobs 2>/dev/null || true
  while [ $((tries--)) -gt 0 ] && [ -n "$(timeout 5 squeue -h -o %A 2>/dev/null)" ]; do sleep 0.05; done
}

# Those that did not listen to TERM, and their slurmstepds. Known by what Slurm put into their environment.
end_left_over_jobs() {
  local file pid
  for file in $(grep -lzxF "SLURM_CONF=$CONF" /proc/[0-9]*/environ 2>/dev/null); do
    pid=${file//[^0-9]/}
    if [ "$pid" != $$ ] && { grep -zq '^SLURM_JOB_ID=' "$file" || grep -qx slurmstepd "/proc/$pid/comm"; } 2>/dev/null; then
      kill -KILL "$pid" 2>/dev/null || true
    fi
  done
}
