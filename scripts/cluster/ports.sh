# shellcheck shell=bash
# Where a cluster listens: PORT slurmctld, PORT+1 slurmdbd, PORT+2 and on the slurmds, then slurmrestd, on loopback.

# Sets PORT. `auto`: a free range below those that the system hands out by itself.
choose_ports() {
  local count=$((NODES + 3)) taken try busy
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

# Sets ADDRESS, and LISTEN for slurm.conf. Slurm's daemons listen on all addresses, or (NoInAddrAny) on the one that the name of
# this host stands for: Debian writes 127.0.1.1 or 127.0.0.1 for it into /etc/hosts, other systems often a real address.
choose_address() {
  ADDRESS=$(getent ahostsv4 "$(uname -n)" | awk 'NR == 1 { print $1 }') || ADDRESS=unknown
  LISTEN=CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
  if [[ $ADDRESS != 127.* ]]; then
    say "the name of this host, $(uname -n), is no loopback address here: Slurm listens on all addresses (munge's key guards it)"
    ADDRESS=127.0.0.1
    LISTEN=
  fi
}
