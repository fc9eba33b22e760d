# shellcheck shell=bash
# Ports of a cluster: PORT slurmctld, PORT+1 slurmdbd, PORT+2 and on the slurmds. All on 127.0.0.1.

# Sets PORT. `auto`: a free range below those that the system hands out by itself.
choose_ports() {
  local count=$((NODES + 2)) taken try busy
  # Bound ports of this machine, in hexadecimal.
  taken=" $(awk 'FNR > 1 { parts = split($2, part, ":"); printf "%s ", part[parts] }' /proc/net/tcp /proc/net/tcp6 2>/dev/null || true)"
  if [ "$PORT" != auto ]; then
    busy=$(first_busy "$PORT" "$count" "$taken")
    [ -z "$busy" ] || die "port $busy is taken (the cluster needs $PORT to $((PORT + count - 1))): choose another PORT, or PORT=auto"
    return
  fi
  for try in $(seq 200); do
    PORT=$((20000 + RANDOM % (12000 - count)))
    busy=$(first_busy "$PORT" "$count" "$taken")
    [ -n "$busy" ] || return 0
  done
  die "no free range of $count ports was found in $try tries"
}

# first_busy FIRST COUNT TAKEN
first_busy() {
  local port hex
  for ((port = $1; port < $1 + $2; port++)); do
    printf -v hex '%04X' "$port"
    if [[ $3 == *" $hex "* ]]; then
      echo "$port"
      return
    fi
  done
}
