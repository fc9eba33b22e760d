# shellcheck shell=bash
# Accounting (ACCT=1): a MariaDB without network, slurmdbd before it, one account with the user who started the cluster.

accounting_lines() {
  if [ "$ACCT" = 0 ]; then
    printf '%s\n' JobAcctGatherType=jobacct_gather/none AccountingStorageType=accounting_storage/none
    return
  fi
  # Clients find munged by AccountingStoragePass here, not by AuthInfo.
  cat <<LINES
JobAcctGatherType=jobacct_gather/linux
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=$ADDRESS
AccountingStoragePort=$((PORT + 1))
AccountingStoragePass=socket=$DIR/run/munge.sock
AccountingStoreFlags=job_comment
LINES
  [ "$GPUS" = 0 ] || echo 'AccountingStorageTRES=gres/gpu'
  [ -z "$ENFORCE" ] || echo "AccountingStorageEnforce=$ENFORCE"
}

sql() { mariadb --no-defaults --socket="$DIR/mysql/mysql.sock" -u root -e "$1"; }

# A fresh database takes 5 to 10 seconds, a kept one starts at once.
start_database() {
  # No password guards the database: nobody else gets into the folder of its socket.
  local data=$DIR/mysql
  # A MariaDB that starts removes all temporary tables from its temporary folder, those of its neighbours in /tmp too.
  mkdir -p "$data" "$DIR/mysql-tmp"
  chmod 700 "$data"
  if [ ! -d "$data/mysql" ]; then
    TMPDIR=$DIR/mysql-tmp mariadb-install-db --no-defaults --datadir="$data" --auth-root-authentication-method=normal --skip-test-db --user="$ME" \
      >"$DIR/log/mariadb-install.out" 2>&1 9>&- || die "mariadb-install-db failed"
  fi
  mariadbd --no-defaults --datadir="$data" --socket="$DIR/mysql/mysql.sock" --pid-file="$DIR/run/mariadbd.pid" --tmpdir="$DIR/mysql-tmp" --skip-networking \
    --user="$ME" --innodb-buffer-pool-size=128M --innodb-lock-wait-timeout=900 --innodb-flush-log-at-trx-commit=0 --skip-log-bin \
    </dev/null >"$DIR/log/mariadbd.out" 2>&1 &
  disown
  wait_until 30 mariadbd sql 'SELECT 1'
  sql 'CREATE DATABASE IF NOT EXISTS slurm_acct_db'
}

# slurmdbd has no setting for a database's socket: libmariadb takes it from MYSQL_UNIX_PORT for the host `localhost`.
start_slurmdbd() {
  (
    umask 077
    cat >"$DIR/etc/slurmdbd.conf" <<CONFIGURATION
AuthType=auth/munge
AuthInfo=socket=$DIR/run/munge.sock
$(rest_lines)
DbdHost=localhost
DbdAddr=$ADDRESS
DbdPort=$((PORT + 1))
$LISTEN
SlurmUser=$ME
LogFile=$DIR/log/slurmdbd.log
PidFile=$DIR/run/slurmdbd.pid
DebugLevel=info
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=root
StorageLoc=slurm_acct_db
CommitDelay=0
CONFIGURATION
  )
  MYSQL_UNIX_PORT=$DIR/mysql/mysql.sock daemon slurmdbd slurmdbd
  wait_until 40 slurmdbd sacctmgr -n -i show cluster
  if ! sacctmgr -n show cluster dev format=cluster | grep -q dev; then sacctmgr -i add cluster dev >/dev/null; fi
  if ! sacctmgr -n show account research format=account | grep -q research; then
    sacctmgr -i add account research Description=research Organization=dev >/dev/null
    sacctmgr -i add user "$ME" Account=research DefaultAccount=research >/dev/null
  fi
}
