# shellcheck shell=bash
# Finds an installed server or client of the wanted kind, and says how to run a program that was only unpacked.

# installed_server KIND prints its path. Debian's `mysqld` may be MariaDB's, so the program itself is asked.
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
    # A server's folder is often not on an ordinary user's path.
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

# Sets `run` to the words that start PROGRAM. One that is only unpacked goes through the loader and the libraries that
# came with it, so the age of the host's own doesn't matter. `root` is where it was unpacked, empty if it is installed.
how_to_run() {
  local root=$1 program=$2 loader libraries
  # The caller's own libraries are not for the server.
  run=(env -u LD_PRELOAD -u LD_LIBRARY_PATH)
  if [ -n "$root" ]; then
    loader=$(find "$root" -name 'ld-linux*.so.*' -path '*-linux-gnu*' | sed -n 1p)
    [ -n "$loader" ] || fail "no loader among the unpacked packages in \`$root\`; remove that folder and start again"
    libraries=$(basename "$(dirname "$loader")")
    run+=("$loader" --library-path "$root/lib/$libraries:$root/usr/lib/$libraries")
  fi
  run+=("$root$program")
}
