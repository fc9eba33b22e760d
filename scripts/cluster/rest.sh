# shellcheck shell=bash
# REST=1: two slurmrestd, one on a Unix socket (rest_auth/local: jobs belong to the user that it runs as), one on a port of loopback
# (JSON web tokens: jobs belong to the token's user). Port: the one after the last slurmd's.

rest_port() { echo $((PORT + 2 + NODES)); }

# The user that slurmrestd runs as: it refuses root, and Slurm's accounting does not take nobody. Who starts the cluster as an ordinary user is SlurmUser, which it refuses as well
# unless told otherwise (a Slurm built without assertions cannot be told: then start the cluster as root).
rest_user() { if [ "$(id -u)" = 0 ]; then echo daemon; else id -un; fi; }

# Lines for slurm.conf and slurmdbd.conf. The key exists before anyone reads them.
rest_lines() {
  [ "$REST" = 1 ] || return 0
  local key=$DIR/etc/jwt.key
  if [ ! -f "$key" ]; then (umask 377 && head -c 32 /dev/urandom >"$key"); fi
  printf '%s\n' AuthAltTypes=auth/jwt "AuthAltParameters=jwt_key=$key"
}

start_rest() {
  [ "$REST" = 1 ] || return 0
  local home=$DIR/run/rest
  # The user of slurmrestd must come to the socket of munged.
  chmod a+x "$DIR" "$DIR/run"
  mkdir -p "$home"
  [ "$(id -u)" != 0 ] || chown "$(rest_user)" "$home"
  slurmrestd_process rest-local env -u SLURM_JWT -- -a rest_auth/local "unix:$home/slurmrestd.sock"
  slurmrestd_process rest-jwt env SLURM_JWT=daemon -- -a rest_auth/jwt "127.0.0.1:$(rest_port)"
  wait_until 15 "slurmrestd on its socket" rest_answers --unix-socket "$home/slurmrestd.sock" http://slurm/
  wait_until 15 "slurmrestd on its port" rest_answers "http://127.0.0.1:$(rest_port)/"
  cat >>"$DIR/env.sh" <<ENVIRONMENT
# Slurm's REST API. Tokens: scontrol token lifespan=3600
export SLURMRESTD_SOCKET=$home/slurmrestd.sock SLURMRESTD_URL=http://127.0.0.1:$(rest_port) SLURMRESTD_USER=$(rest_user)
ENVIRONMENT
}

# slurmrestd_process NAME ENV… -- ARG…: in the foreground there, hence our pid file.
slurmrestd_process() {
  local name=$1 before=() as=() plugins=()
  shift
  while [ "$1" != -- ]; do before+=("$1") && shift; done
  shift
  if [ "$(id -u)" = 0 ]; then
    as=(setpriv --reuid="$(rest_user)" --regid="$(id -g "$(rest_user)")" --clear-groups)
  else
    before+=(SLURMRESTD_SECURITY=disable_user_check)
  fi
  # Slurm 22.05 loads all its plugins, and those of accounting are fatal where there is none. Newer ones do without.
  if [ "$ACCT" = 0 ] && [[ $(slurmrestd -V) == *" 22.05"* ]]; then plugins=(-s openapi/v0.0.36,openapi/v0.0.37,openapi/v0.0.38); fi
  # `env` and `setpriv` become slurmrestd: one process id for all.
  "${before[@]}" "${as[@]}" slurmrestd "${plugins[@]}" "$@" </dev/null >>"$DIR/log/$name.log" 2>&1 9>&- &
  echo $! >"$DIR/run/$name.pid"
  disown
}

# Any answer will do: without a token it is a refusal.
rest_answers() { curl -s -o /dev/null --noproxy '*' --max-time 5 "$@"; }
