# shellcheck shell=bash
# Finds an installed server or client, and builds the command line for a program that was only unpacked.

# installed_server KIND: prints the path of the program. Debian's `mysqld` may be MariaDB, so its version decides.
installed_server() {
  case $1 in
    mysql) installed mysql mysqld ;;
    mariadb) installed mariadb mariadbd mysqld ;;
  esac
}

installed_client() {
  case $1 in
    mysql) installed mysql mysql ;;
    mariadb) installed mariadb mariadb mysql ;;
  esac
}

installed() {
  local kind=$1 name path
  shift
  for name in "$@"; do
    # An ordinary user's PATH often lacks the folders of servers.
    path=$(PATH=$PATH:/usr/sbin:/usr/local/sbin:/usr/local/mysql/bin command -v "$name") || continue
    case $kind:$("$path" --no-defaults --version 2>/dev/null) in
      mysql:*MariaDB*) ;;
      mysql:?* | mariadb:*MariaDB*)
        printf '%s\n' "$path"
        return
        ;;
    esac
  done
  return 1
}

# how_to_run ROOT PROGRAM: sets `run` to the command line for PROGRAM. ROOT is the folder where it was unpacked, or empty
# if it is installed. An unpacked program uses the loader and the libraries that were unpacked with it, so it runs even
# if the host's libraries are older.
how_to_run() {
  local root=$1 program=$2 loader libraries
  # These variables are meant for the caller's programs, not for the server.
  run=(env -u LD_PRELOAD -u LD_LIBRARY_PATH)
  if [ -n "$root" ]; then
    loader=$(find "$root" -name 'ld-linux*.so.*' -path '*-linux-gnu*' | sed -n 1p)
    [ -n "$loader" ] || fail "found no loader in the unpacked packages in \`$root\`; remove that folder and try again"
    libraries=$(basename "$(dirname "$loader")")
    run+=("$loader" --library-path "$root/lib/$libraries:$root/usr/lib/$libraries")
  fi
  run+=("$root$program")
}
