# shellcheck shell=bash
# Supervises one job of the local transport: starts the script, ends it at its time limit or when it is cancelled, leaves no process
# behind, and writes how it ended. It needs nobody: the server may stop, crash or come back meanwhile.
#
# usage: bash supervise.sh RECORD ID JOB_DIR WARN LIMIT KILL_WAIT     times in 1/100 s after the start; LIMIT 0: none
#
# Standard input is the record's lock, held: as long as this process lives, however it came to end, the lock tells.
# It has been made a "child subreaper" (prctl(2)): processes of the job whose parent ends become its children, so that all of the
# job's processes are below this one, also those that made a group or a session of their own.
exec 9<&0 </dev/null
record=$1 id=$2 job_dir=$3 warn=$4 limit=$5 kill_wait=$6
set -f
# A shutdown tells everybody to end: the job has its time for that, and how it ended is still written. (Not '' for the others: a signal
# that is ignored here could not be trapped in the job.)
told=
trap 'told=1' TERM
trap : HUP INT
exec {tick}<> <(:)

# A pause that forks nothing.
pause() { read -r -t "$1" -u "$tick"; }

# Time since boot, in 1/100 s: nobody can set this clock.
look() {
  read -r now _ </proc/uptime
  now=$((10#${now/./}))
}

# Fields of /proc/PID/stat from the third on (state, parent, …): the second may hold blanks, brackets and line ends.
stat_of() {
  local text=
  { read -r -d '' text <"/proc/$1/stat"; } 2>/dev/null
  # shellcheck disable=SC2206
  fields=(${text##*) })
  [ -n "$text" ]
}

# Every process below this one, into $below.
walk() {
  local -A children=()
  local pid at
  set +f
  local files=(/proc/[0-9]*)
  set -f
  for pid in "${files[@]#/proc/}"; do
    if stat_of "$pid"; then children[${fields[1]}]+=" $pid"; fi
  done
  # shellcheck disable=SC2206
  below=(${children[$$]})
  for ((at = 0; at < ${#below[@]}; at++)); do
    # shellcheck disable=SC2206
    below+=(${children[${below[at]}]})
  done
}

signal_all() {
  walk
  [ "${#below[@]}" -eq 0 ] || kill -s "$1" "${below[@]}" 2>/dev/null
}

# Whether the script runs. Its parent is asked for as well: a process that got its number later has another.
script_runs() { stat_of "$job" && [ "${fields[1]}" = "$$" ]; }

# Asks all to end, as scancel and slurmd do. A stopped process takes TERM only when it goes on.
end_by() {
  by=$1
  look
  kill_at=$((now + kill_wait))
  signal_all TERM
  [ "${#below[@]}" -eq 0 ] || kill -s CONT "${below[@]}" 2>/dev/null
}

# "EXIT_CODE WHY SECONDS", whole or not at all. A full disk may have room again in a minute.
write_end() {
  local tries
  for ((tries = 0; tries < 240; tries++)); do
    if { printf '%d %s %(%s)T\n' "$1" "$2" -1 >"$record/end.part"; } 2>/dev/null && mv -f "$record/end.part" "$record/end"; then
      sync -- "$record/end" "$record" 2>/dev/null
      return
    fi
    pause 0.25
  done
}

# Who this is, before the job is anything: without this file there was no job.
stat_of $$ && printf '%d %d\n' $$ "${fields[19]}" >"$record/supervisor.part" && mv -f "$record/supervisor.part" "$record/supervisor" || exit 1
if [ -e "$record/cancel" ]; then
  write_end 0 cancel
  exit
fi
if ! { cd -- "$job_dir" && : >>"slurm_$id.out" && : >>"slurm_$id.err"; }; then
  write_end 0 output
  exit
fi

# As the kernel reads a script's first line: the interpreter, and the rest as one argument. (Not left to the kernel, since the file
# system may forbid to execute from it.)
read -r line <"$record/job.sh"
read -r interpreter argument <<<"${line#\#!}"
look
begin=$now
set -m
"$interpreter" ${argument:+"$argument"} "$record/job.sh" >>"slurm_$id.out" 2>>"slurm_$id.err" 9<&- {tick}<&- &
job=$!
set +m
cd / || exit 1

by=exit kill_at='' warned=
while script_runs; do
  look
  if [ -n "$kill_at" ]; then
    [ "$now" -lt "$kill_at" ] || signal_all KILL
  elif [ -e "$record/cancel" ]; then
    end_by cancel
  elif [ -n "$told" ]; then
    end_by shutdown
  elif [ "$limit" -gt 0 ] && [ $((now - begin)) -ge "$limit" ]; then
    end_by timeout
  elif [ "$limit" -gt 0 ] && [ -z "$warned" ] && [ $((now - begin)) -ge "$warn" ]; then
    warned=1
    kill -s TERM "$job" 2>/dev/null
  fi
  pause 0.25
done
wait "$job"
write_end $? "$by"

# With the script its job is over, as under Slurm.
walk
while [ "${#below[@]}" -gt 0 ]; do
  kill -s KILL "${below[@]}" 2>/dev/null
  pause 0.1
  walk
done
