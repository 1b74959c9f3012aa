# shellcheck shell=bash
# Times `airun migrate` against dbmate and the server's own client. Each round runs every contestant once, so that other
# load on the machine affects all of them, and the ratio is the median of the rounds' ratios.

# Rounds of a scenario that migrates an empty database, and of one that changes nothing.
rounds=7
rounds_unchanged=21

# Writes the statements of SCENARIO as 1.sql, 2.sql … into the current folder.
write_statements() {
  awk -v scenario="$1" '
    function open_file(number) { close(file); file = number ".sql" }
    function table(name, text) { printf "CREATE TABLE %s (id INT PRIMARY KEY, a INT, b VARCHAR(%d));\n", name, text >file }
    function tables(i) {
      for (i = 0; i < 200; i++) {
        open_file(i + 1)
        table("t" i, 50)
        printf "CREATE INDEX t%d_a ON t%d (a);\n", i, i >file
      }
    }
    function inserts(i, j) {
      open_file(1)
      for (i = 0; i < 10; i++) table("r" i, 50)
      for (i = 0; i < 10; i++) {
        open_file(i + 2)
        for (j = 0; j < 2000; j++) printf "INSERT INTO r%d VALUES (%d, %d, \047row %d of file %d\047);\n", i, j, i, j, i >file
      }
    }
    function load(id, row, text, bytes) {
      open_file(1)
      table("big", 200)
      while (bytes < 50000000) {
        printf "INSERT INTO big VALUES " >file
        for (row = 0; row < 500; row++) {
          text = "a text; with a \\\047quote\\\047 and a number " ++id
          text = sprintf("(%d,%d,\047%150s\047)%s", id, id % 97, text, row < 499 ? "," : ";\n")
          bytes += length(text)
          printf "%s", text >file
        }
      }
    }
    function applied(i) {
      for (i = 0; i < 1000; i++) {
        open_file(i + 1)
        if (i == 0) print "CREATE TABLE log (a INT);" >file
        printf "INSERT INTO log VALUES (%d);\n", i >file
      }
    }
    BEGIN {
      if (scenario == "tables") tables()
      else if (scenario == "inserts") inserts()
      else if (scenario == "load") load()
      else applied()
    }' </dev/null
}

# Writes these statements as migration files of the tool WHO, into a folder of that name.
arrange() {
  local who=$1 number=1 version
  mkdir "$who"
  for ((number = 1; ; number++)); do
    [ -e "$number.sql" ] || break
    version=20260101$(printf '%02d%02d%02d' $((number / 3600)) $((number % 3600 / 60)) $((number % 60)))
    case $who in
      airun) cp "$number.sql" "airun/${version}_work_UP.sql" ;;
      dbmate) { echo '-- migrate:up' && cat "$number.sql" && echo '-- migrate:down'; } >"dbmate/${version}_work.sql" ;;
      client) cat "$number.sql" >>client/all.sql ;;
    esac
  done
}

# Sets `command` to what WHO runs for VERB, `up` or `status`, and exports its settings.
set_command() {
  local who=$1 verb=$2
  export DATABASE_URL=$server_url/${database}_$who
  case $who in
    airun)
      # dbmate's driver uses no TLS unless it must.
      export AIRUN_MIGRATIONS_DIR=$PWD/airun DB_TLS_MODE=disabled
      command=("$airun" migrate "$verb")
      ;;
    dbmate) command=("$dbmate" --no-dump-schema --migrations-dir "$PWD/dbmate" "${verb/up/migrate}") ;;
    client)
      # shellcheck disable=SC2016 # sh expands these.
      command=(sh -c 'exec "$0" "$1" <"$2"' "$client" "${database}_client" "$PWD/client/all.sql")
      ;;
  esac
}

recreate() { "$client" -e "DROP DATABASE IF EXISTS ${database}_$1; CREATE DATABASE ${database}_$1"; }

# Prints the seconds that WHO took for VERB.
seconds_of() {
  local command
  set_command "$1" "$2"
  hyperfine --shell=none --runs 1 --style none --export-csv result.csv "$(printf '%q ' "${command[@]}")" >/dev/null &&
    awk -F, 'NR == 2 { print $2 }' result.csv
}

# Prints the peak memory of WHO in kB, from a run that is not timed. If the run fails, prints its messages.
memory_of() {
  local who=$1 command pid peak=0 now
  set_command "$1" "$2"
  "${command[@]}" >/dev/null 2>stderr &
  pid=$!
  while now=$(awk '$1 == "VmHWM:" { print $2 }' "/proc/$pid/status" 2>/dev/null) && [ -n "$now" ]; do peak=$now; done
  wait "$pid" && echo "$peak" && return
  echo "$who failed:" >&2
  cat stderr >&2
  return 1
}

median() { sort -g "$@" | awk '{ values[NR] = $1 } END { if (NR) print values[int((NR + 1) / 2)] }'; }

# time_scenario TITLE SCENARIO [VERB]: with VERB, that is timed once everything is applied; otherwise `up` is.
time_scenario() {
  local title=$1 scenario=$2 verb=${3:-} who round contestants=(airun) timed=$rounds
  [ -z "$dbmate" ] || contestants+=(dbmate)
  [ -z "$verb" ] || timed=$rounds_unchanged
  # The client only shows the cost without a journal, and it is slow, so it runs once.
  [ -n "$verb" ] || contestants+=(client)
  rm -rf "$folder/work"
  mkdir "$folder/work"
  cd "$folder/work" || return
  write_statements "$scenario"
  for who in "${contestants[@]}"; do
    arrange "$who"
    recreate "$who"
    memory_of "$who" up >"$who.memory" && { [ -z "$verb" ] || memory_of "$who" "$verb" >"$who.memory"; } || rm "$who.memory"
  done
  [ -e airun.memory ] || exit 1
  for ((round = 0; round < timed; round++)); do
    for who in "${contestants[@]}"; do
      [ -e "$who.memory" ] || continue
      [ "$who" != client ] || [ "$round" -eq 0 ] || continue
      [ -n "$verb" ] || recreate "$who"
      seconds_of "$who" "${verb:-up}" >>"$who.seconds"
    done
  done
  for who in "${contestants[@]}"; do "$client" -e "DROP DATABASE ${database}_$who"; done
  printf '%-34s' "$title"
  for who in airun dbmate client; do
    if [ ! -e "$who.memory" ] && [ -d "$who" ]; then
      printf ' %16s' fails
    elif [ -s "$who.seconds" ]; then
      printf ' %16s' "$(printf '%.3f (%.0f)' "$(median "$who.seconds")" "$(($(cat "$who.memory") / 1024))")"
    else
      printf ' %16s' -
    fi
  done
  if [ -s dbmate.seconds ]; then
    printf ' %14.2f' "$(paste airun.seconds dbmate.seconds | awk '{ print $1 / $2 }' | median)"
  fi
  printf '\n'
}

# bench_migrate SERVER_URL CLIENT AIRUN DBMATE: DBMATE may be empty.
bench_migrate() {
  server_url=$1 client=$2 airun=$3 dbmate=$4
  folder=$(mktemp -d) database=airun_bench_$$
  # shellcheck disable=SC2064 # The folder is expanded now on purpose.
  trap "rm -rf '$folder'" EXIT
  printf '%s; medians of %s rounds, of %s for the last two\n' "$("$client" -N -e 'SELECT VERSION()')" "$rounds" "$rounds_unchanged"
  printf '%-34s %16s %16s %16s %14s\n' 'seconds (peak MB of the client)' airun dbmate 'mysql client' airun/dbmate
  time_scenario '200 x (CREATE TABLE + index)' tables
  time_scenario '10 files x 2,000 one-row INSERTs' inserts
  time_scenario 'one 50 MB load' load
  time_scenario 'up, 1,000 applied, none pending' applied up
  time_scenario 'status, 1,000 applied' applied status
}
