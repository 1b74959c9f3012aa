# shellcheck shell=bash
# What every part of dev-db uses: messages, settings, the state of a server, the lock, ports.
# `repo` and `cache` are set by scripts/dev-db.
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

# A setting from the environment, else from .env as the server itself reads it (the first line that names it counts).
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

# Does somebody else's database stand in the settings? Our own URL, exported in a shell, doesn't count.
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

# state KIND NAME prints what is remembered, if anything; remember KIND NAME VALUE writes it.
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

# Two starts at once would take the same port and the same data: the second waits for the first.
lock() {
  command -v flock >/dev/null || return 0
  exec {lock_fd}>"$cache/lock" ||
    fail "failed to open \`$cache/lock\`: it belongs to another user; remove \`$cache\` as that user, or use a checkout of your own"
  flock -n "$lock_fd" && return
  say "another dev-db is at work in this checkout; waiting for it"
  flock "$lock_fd"
}

new_password() { od -An -N16 -tx1 /dev/urandom | tr -d ' \n'; }

listening() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# The port of last time if it is free, else a free one of the range, by chance, so that checkouts seldom meet.
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
  fail "no free port found in $range; name another range in \`AIRUN_DB_PORTS\`"
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
