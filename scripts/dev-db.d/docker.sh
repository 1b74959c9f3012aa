# shellcheck shell=bash
# Runs the container of dev.docker-compose.yaml. Its project name includes a checksum of this checkout's path, so that
# two checkouts do not share a container. scripts/dev-db sets `repo` and `cache`.
# shellcheck disable=SC2154

# True if a Docker engine is running. The client may be installed without an engine and wait long for one.
docker_answers() {
  command -v docker >/dev/null || return 1
  [ -n "${docker_answer:-}" ] || if timeout 5 docker info >/dev/null 2>&1 && find_compose; then docker_answer=yes; else docker_answer=no; fi
  [ "$docker_answer" = yes ]
}

find_compose() {
  if docker compose version >/dev/null 2>&1; then
    compose_program=(docker compose)
  elif command -v docker-compose >/dev/null; then
    # Version 1 applies the memory limits only with this option.
    compose_program=(docker-compose --compatibility)
  else
    say "a Docker engine is running, but \`docker compose\` is not installed; continuing without Docker"
    return 1
  fi
}

compose() {
  local kind=$1
  shift
  [ -n "${compose_program:-}" ] || find_compose || return 1
  COMPOSE_PROJECT_NAME=airun-$(printf '%s' "$repo" | cksum | cut -d' ' -f1)-$kind \
    AIRUN_DB_PORT=$(state "$kind" port) AIRUN_DB_PASSWORD=$(state "$kind" docker-password) AIRUN_DB_IMAGE=$(state "$kind" image) \
    "${compose_program[@]}" -f "$repo/dev.docker-compose.yaml" "$@"
}

docker_start() {
  local kind=$1 home=$cache/$1 port image password wanted
  mkdir -p "$home"
  case $kind in mysql) image=mysql:8.0 ;; mariadb) image=mariadb:10.11 ;; esac
  wanted=$(setting AIRUN_DB_IMAGE)
  remember "$kind" image "${wanted:-$image}"
  wanted=$(setting AIRUN_DB_PORT)
  port=${wanted:-$(docker_port "$kind")}
  remember "$kind" port "$port"
  # A fixed default instead of a random password: the volume keeps its first password and outlives this folder.
  password=$(setting AIRUN_DB_PASSWORD)
  password=${password:-airun}
  remember "$kind" docker-password "$password"
  remember "$kind" name "$(name_of "$kind") in Docker"
  rm -f "$home/ca"
  say "starting the container of dev.docker-compose.yaml ($(state "$kind" image)) on 127.0.0.1:$port"
  compose "$kind" up -d >&2 || fail "docker failed to start the container; fix that, or use \`--private\` for a server without Docker"
  remember "$kind" engine docker
  remember_urls "$kind" "$port" "$password"
  docker_client "$kind" "$home"
  docker_await "$kind"
  say "$(describe "$kind") is up"
}

docker_running() { [ "$(docker_health "$1")" = healthy ]; }

docker_stop() { compose "$1" stop >&2; }

docker_container() { compose "$1" ps -q db 2>/dev/null; }

docker_health() {
  local container
  container=$(docker_container "$1") && [ -n "$container" ] || return 0
  docker inspect -f '{{.State.Health.Status}}' "$container" 2>/dev/null || true
}

docker_await() {
  local kind=$1 deadline=$((SECONDS + 180))
  until docker_running "$kind"; do
    if [ "$SECONDS" -ge "$deadline" ]; then
      compose "$kind" logs --tail=15 db >&2 || true
      fail "the container accepts no logins after 180 s; note that its volume keeps the \`AIRUN_DB_PASSWORD\` that it was created with"
    fi
    sleep 0.5
  done
}

# Prints the port to publish: 3306 for MySQL if that is free, because other tools expect it there; otherwise a free port.
docker_port() {
  if [ "$(state "$1" engine)" = docker ] && [ -n "$(docker_container "$1")" ]; then
    # The container itself occupies its port.
    state "$1" port
  elif [ "$1" = mysql ] && [ -z "$(state "$1" port)" ] && [ -z "${AIRUN_DB_PORTS:-}" ] && ! listening 3306; then
    echo 3306
  else
    pick_port "$1"
  fi
}

docker_client() {
  local kind=$1 home=$2
  cat >"$home/client-program" <<SH
#!/usr/bin/env bash
exec docker exec -i $(docker_container "$kind") sh -c 'MYSQL_PWD="\$MYSQL_ROOT_PASSWORD" exec "\$(command -v mysql || command -v mariadb)" --protocol=TCP -h127.0.0.1 -uroot "\$@"' client "\$@"
SH
  chmod 700 "$home/client-program"
  remember "$kind" client "$home/client-program"
}
