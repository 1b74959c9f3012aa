# shellcheck shell=bash
# Runs a private server of this checkout. Its data, port, password and log are in .cache/dev-db/KIND, and it listens only
# on loopback. scripts/dev-db sets `cache`.
# shellcheck disable=SC2154

private_start() {
  local kind=$1 home=$cache/$1 password
  find_programs "$kind"
  mkdir -p "$home"
  password=$(state "$kind" password)
  if [ -z "$password" ]; then
    password=$(new_password)
    remember "$kind" password "$password"
  fi
  make_certificates "$home/tls" "$unpacked_root" || say "openssl is not installed, so the server's certificate will not name its host"
  [ -d "$home/data" ] || initialise "$kind" "$home"
  remember "$kind" name "$(name_of "$kind")"
  remember "$kind" engine private
  local attempt
  for attempt in 1 2 3 4 5; do
    launch "$kind" "$home" "$password"
    await_login "$kind" "$home" && break
    # Another program may have taken the port in the meantime.
    if [ "$attempt" -lt 5 ] && grep -qiE 'address already in use|port already in use' "$home/server.log"; then
      rm -f "$home/port"
      continue
    fi
    explain_failure "$home"
  done
  # The file holds the password and is no longer needed.
  rm -f "$home/init.sql"
  say "$(describe "$kind") is up"
}

private_running() {
  local pid arguments
  pid=$(state "$1" pid)
  [ -n "$pid" ] && [ -r "/proc/$pid/cmdline" ] || return 1
  # The pid may belong to another process by now; the server has its data folder among its arguments.
  mapfile -d '' -t arguments 2>/dev/null <"/proc/$pid/cmdline" || return 1
  printf '%s\n' "${arguments[@]}" | grep -cxF -- "--datadir=$cache/$1/data" >/dev/null
}

private_stop() {
  local kind=$1 pid deadline=$((SECONDS + 60))
  pid=$(state "$kind" pid)
  kill -TERM "$pid" || fail "failed to stop process $pid; another user may have started the server"
  while private_running "$kind"; do
    [ "$SECONDS" -lt "$deadline" ] || fail "the server (process $pid) did not stop within 60 s; see its log, \`$cache/$kind/server.log\`"
    sleep 0.1
  done
  rm -f "$cache/$kind/pid"
}

# Sets `unpacked_root` (empty if the server is installed), `server_program` and `client_program` (may be empty).
find_programs() {
  local kind=$1
  unpacked_root=
  if server_program=$(installed_server "$kind"); then
    say "using the installed $server_program"
    client_program=$(installed_client "$kind") || client_program=
  elif unpack_from_debian "$kind"; then
    case $kind in
      mysql) server_program=/usr/sbin/mysqld client_program=/usr/bin/mysql ;;
      mariadb) server_program=/usr/sbin/mariadbd client_program=/usr/bin/mariadb ;;
    esac
  else
    fail "found no $(name_of "$kind") server; install Docker or your system's \`$kind-server\` package, or set \`DATABASE_URL\`"
  fi
}

# server_words KIND DATA_FOLDER: sets `server_command` to the program and the options that every start of it needs.
server_words() {
  local kind=$1 root=$unpacked_root
  how_to_run "$root" "$server_program"
  # MariaDB empties its folder for temporary files when it starts, so servers must not share one.
  mkdir -p "$(dirname "$2")/tmp"
  server_command=("${run[@]}" --no-defaults --datadir="$2" --tmpdir="$(dirname "$2")/tmp")
  # shellcheck disable=SC2206 # The variable holds several options.
  server_command+=(${AIRUN_DB_OPTIONS:-})
  # A server refuses to run as root without this option.
  [ "$(id -u)" -ne 0 ] || server_command+=(--user=root)
  [ -z "$root" ] || server_command+=(
    --basedir="$root/usr" --lc-messages-dir="$root/usr/share/mysql"
    --character-sets-dir="$root/usr/share/mysql/charsets" --plugin-dir="$root/usr/lib/mysql/plugin"
  )
  # Debian's default is a folder that exists only if the package is installed.
  [ "$kind" != mysql ] || server_command+=(--secure-file-priv=NULL)
}

initialise() {
  local kind=$1 home=$2
  say "creating the data folder"
  # The folder gets its final name only once it is complete, in case this start is interrupted.
  rm -rf "$home/data.new"
  mkdir "$home/data.new"
  server_words "$kind" "$home/data.new"
  case $kind:$unpacked_root in
    mysql:*) "${server_command[@]}" --initialize-insecure ;;
    mariadb:) initialise_installed_mariadb "$home/data.new" ;;
    mariadb:*) system_tables "$unpacked_root/usr/share" | "${server_command[@]}" --bootstrap ;;
  esac >"$home/server.log" 2>&1 || explain_failure "$home"
  mv "$home/data.new" "$home/data"
}

initialise_installed_mariadb() {
  local program options=(--no-defaults --datadir="$1" --auth-root-authentication-method=normal --skip-test-db)
  [ "$(id -u)" -ne 0 ] || options+=(--user=root)
  program=$(command -v mariadb-install-db || command -v mysql_install_db)
  "$program" "${options[@]}"
}

# Prints the SQL that mariadb-install-db sends to the server. That program cannot start a server through a loader.
system_tables() {
  local part file
  printf 'CREATE DATABASE mysql;\nUSE mysql;\nSET @auth_root_socket=NULL;\n'
  for part in system_tables performance_tables system_tables_data fill_help_tables gis_sp_bootstrap sys_schema; do
    file=$(find "$1" -name "*$part.sql" | sed -n 1p)
    [ -n "$file" ] || { echo "no *$part.sql in $1" >&2 && return 1; }
    cat "$file"
  done
}

launch() {
  local kind=$1 home=$2 password=$3 port socket
  port=$(pick_port "$kind")
  # Linux limits the path of a socket to 107 bytes.
  socket=$home/server.sock
  [ ${#socket} -le 100 ] || socket=$(mktemp -d)/server.sock
  # A server that was killed leaves these files. The pid in the lock file may belong to another process by now.
  rm -f "$socket" "$socket.lock"
  write_client "$kind" "$home" "$port" "$password"
  write_init_file "$kind" "$home" "$password"
  server_words "$kind" "$home/data"
  server_command+=(
    --port="$port" --bind-address=127.0.0.1 --socket="$socket" --init-file="$home/init.sql"
    # Lets ordinary users create triggers and functions although the binary log is on.
    --log-bin-trust-function-creators=ON
  )
  [ "$kind" != mysql ] || server_command+=(--mysqlx=OFF)
  if [ -r "$home/tls/server.pem" ]; then
    server_command+=(--ssl-ca="$home/tls/ca.pem" --ssl-cert="$home/tls/server.pem" --ssl-key="$home/tls/server-key.pem")
    remember "$kind" ca "$home/tls/ca.pem"
  elif [ "$kind" = mysql ]; then
    remember "$kind" ca "$home/data/ca.pem"
  fi
  say "starting $(name_of "$kind") on 127.0.0.1:$port"
  # The server outlives this script, so it must not inherit its open files, its lock or its terminal.
  (
    for fd in /proc/self/fd/*; do
      fd=${fd##*/}
      [ "$fd" -le 2 ] || eval "exec $fd>&-"
    done
    exec setsid nohup "${server_command[@]}" </dev/null >"$home/server.log" 2>&1
  ) &
  server_pid=$!
  remember "$kind" pid "$server_pid"
  remember "$kind" port "$port"
  remember_urls "$kind" "$port" "$password"
}

# `root` has all rights. `airun` has the rights of an application's user, on every database.
write_init_file() {
  local kind=$1 home=$2 password=$3
  cat >"$home/init.sql" <<SQL
ALTER USER 'root'@'localhost' IDENTIFIED BY '$password';
CREATE USER IF NOT EXISTS 'airun'@'localhost' IDENTIFIED BY '$password';
ALTER USER 'airun'@'localhost' IDENTIFIED BY '$password';
GRANT ALTER, ALTER ROUTINE, CREATE, CREATE ROUTINE, CREATE TEMPORARY TABLES, CREATE VIEW, DELETE, DROP, EVENT, EXECUTE, INDEX, INSERT, LOCK TABLES, PROCESS, REFERENCES, SELECT, SHOW VIEW, TRIGGER, UPDATE ON *.* TO 'airun'@'localhost';
CREATE DATABASE IF NOT EXISTS airun CHARACTER SET utf8mb4;
SQL
  # MariaDB's setup creates more root users, which have no password.
  [ "$kind" = mysql ] || cat >>"$home/init.sql" <<SQL
DELETE FROM mysql.global_priv WHERE User = 'root' AND Host <> 'localhost';
FLUSH PRIVILEGES;
SQL
}

# Writes a client program that needs no arguments to log in.
write_client() {
  local kind=$1 home=$2
  rm -f "$home/client"
  [ -n "$client_program" ] || return 0
  cat >"$home/client.cnf" <<CNF
[client]
protocol=TCP
host=127.0.0.1
port=$3
user=root
password=$4
default-character-set=utf8mb4
CNF
  how_to_run "$unpacked_root" "$client_program"
  run+=(--defaults-file="$home/client.cnf")
  [ -z "$unpacked_root" ] || run+=(--character-sets-dir="$unpacked_root/usr/share/mysql/charsets")
  printf '#!/usr/bin/env bash\nexec%s "$@"\n' "$(printf ' %q' "${run[@]}")" >"$home/client-program"
  chmod 700 "$home/client-program"
  remember "$kind" client "$home/client-program"
}

# Waits until a login over TCP works. False if the server exits or does not accept one within 120 s.
await_login() {
  local kind=$1 home=$2 deadline=$((SECONDS + 120))
  while [ "$SECONDS" -lt "$deadline" ]; do
    kill -0 "$server_pid" 2>/dev/null || return 1
    if [ -n "$client_program" ]; then
      if "$home/client-program" -e 'SELECT 1' >/dev/null 2>&1 </dev/null; then return 0; fi
    elif listening "$(state "$kind" port)"; then
      return 0
    fi
    sleep 0.1
  done
  kill -TERM "$server_pid" 2>/dev/null || true
  return 1
}

explain_failure() {
  say "the last lines of \`$1/server.log\`:"
  tail -n 15 "$1/server.log" | sed 's/^/  /' >&2
  fail "the server did not start; if its data are damaged or from another version, remove \`$1\` and try again"
}
