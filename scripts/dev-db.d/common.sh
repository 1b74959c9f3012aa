# shellcheck shell=bash
# Functions that every part of dev-db uses: messages, settings, the state of a server, the lock, ports.
# scripts/dev-db sets `repo` and `cache`.
# shellcheck disable=SC2154

say() { printf 'dev-db: %s\n' "$*" >&2; }

fail() {
  say "$*"
  exit 1
}

usage_error() {
  say "$*; see \`scripts/dev-db help\`"
  exit 2
}

# setting NAME: prints a setting from the environment, or else from .env. As in airun, the first line of .env that sets
# it wins.
setting() {
  local name=$1 line
  if [ -n "${!name:-}" ]; then
    printf '%s\n' "${!name}"
    return
  fi
  [ -r "$repo/.env" ] || return 0
  line=$(sed -nE "s/^[[:space:]]*(export[[:space:]]+)?${name}[[:space:]]*=[[:space:]]*//p" "$repo/.env" | sed -n 1p)
  line=${line%$'\r'}
  case $line in
    \"*) line=${line#\"} && line=${line%%\"*} ;;
    \'*) line=${line#\'} && line=${line%%\'*} ;;
    *) line=${line%%[[:space:]]*} ;;
  esac
  printf '%s\n' "$line"
}

# True if the settings name a database that dev-db has not started; sets `configured_by` to the name of the setting. The
# URL of a dev-db server may be exported in the caller's shell, so that does not count.
configured() {
  local given kind
  configured_by=
  given=$(setting DATABASE_URL)
  if [ -n "$given" ]; then
    for kind in mysql mariadb; do
      if [ "$given" = "$(state "$kind" url)" ] || [ "$given" = "$(state "$kind" admin-url)" ]; then return 1; fi
    done
    configured_by=DATABASE_URL
  elif [ -n "$(setting DB_HOST)" ]; then
    configured_by=DB_HOST
  elif [ -n "$(setting DB_SOCKET)" ]; then
    configured_by=DB_SOCKET
  fi
  [ -n "$configured_by" ]
}

# `remember KIND NAME VALUE` stores a property of a server; `state KIND NAME` prints it, or nothing.
state() { [ ! -r "$cache/$1/$2" ] || sed -n 1p "$cache/$1/$2"; }

remember() {
  printf '%s\n' "$3" >"$cache/$1/$2.new"
  mv "$cache/$1/$2.new" "$cache/$1/$2"
}

running() {
  case $(state "$1" engine) in
    docker) docker_running "$1" ;;
    private) private_running "$1" ;;
    *) return 1 ;;
  esac
}

describe() { printf '%s on 127.0.0.1:%s' "$(state "$1" name)" "$(state "$1" port)"; }

# Two starts at once would use the same port and the same data, so the second waits for the first.
lock() {
  command -v flock >/dev/null || return 0
  exec {lock_fd}>"$cache/lock" ||
    fail "failed to open \`$cache/lock\`, because another user owns it; remove \`$cache\` as that user, or use another checkout"
  flock -n "$lock_fd" && return
  say "waiting for another dev-db of this checkout"
  flock "$lock_fd"
}

new_password() { od -An -N16 -tx1 /dev/urandom | tr -d ' \n'; }

listening() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# Prints the port that the server had before, if that is free; otherwise a random free port of the range. Random ports
# rarely collide with those of other checkouts.
pick_port() {
  local range=${AIRUN_DB_PORTS:-20000-29999} last port
  local first=${range%-*} final=${range#*-}
  last=$(state "$1" port)
  if [ -n "$last" ] && [ "$last" -ge "$first" ] && [ "$last" -le "$final" ] && ! listening "$last"; then
    printf '%s\n' "$last"
    return
  fi
  for _ in {1..200}; do
    port=$((first + (RANDOM * 32768 + RANDOM) % (final - first + 1)))
    if ! listening "$port"; then
      printf '%s\n' "$port"
      return
    fi
  done
  fail "found no free port in $range; set \`AIRUN_DB_PORTS\` to another range"
}

percent_encode() {
  local LC_ALL=C text=$1 i character
  for ((i = 0; i < ${#text}; i++)); do
    character=${text:i:1}
    case $character in
      [A-Za-z0-9._~-]) printf '%s' "$character" ;;
      *) printf '%%%02X' "'$character" ;;
    esac
  done
}

remember_urls() {
  local kind=$1 port=$2 password
  password=$(percent_encode "$3")
  remember "$kind" url "mysql://airun:$password@127.0.0.1:$port/airun"
  remember "$kind" admin-url "mysql://root:$password@127.0.0.1:$port"
}
