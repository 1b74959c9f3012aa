//! What `airun help` says, a page for each command.

mod task;

/// The page for `path`, for instance `migrate up`.
pub fn page(path: &str) -> Option<String> {
    let (_, usage, text) = all().find(|(name, ..)| *name == path)?;
    let footer = if path.is_empty() || path == "exit-codes" { "" } else { FOOTER };
    Some(format!("usage: airun {usage}\n\n{text}{footer}"))
}

/// The names of all pages.
pub fn pages() -> impl Iterator<Item = &'static str> {
    all().map(|(name, ..)| *name)
}

fn all() -> impl Iterator<Item = &'static (&'static str, &'static str, &'static str)> {
    PAGES.iter().chain(task::PAGES)
}

const FOOTER: &str = "
everywhere:
  --database-url URL    mysql://user:password@host:3306/database; else DATABASE_URL, else DB_HOST, DB_PORT, DB_USER,
                        DB_PASSWORD or DB_PASSWORD_FILE, DB_NAME, DB_SOCKET
  --tls-mode MODE       disabled, preferred (default), required, verify-ca, verify-identity; else DB_TLS_MODE
  --tls-ca FILE         the certificates to trust; else DB_TLS_CA
  --env-file FILE       instead of .env in the current folder
  --log-level FILTER    error, warn, info (default), debug, trace, or as RUST_LOG: info,airun::periodic=debug
  --log-format FORMAT   text (default) or json
  -h, --help            this page
";

/// Path, usage, and what there is to say.
const PAGES: &[(&str, &str, &str)] = &[
    (
        "",
        "COMMAND",
        "Schema migrations and background tasks for MySQL and MariaDB.

  migrate     change the database's schema, a file at a time
  worker      run the registered tasks until a signal
  task        look at the database tasks, enqueue, retry, cancel them
  periodic    look at the periodic tasks, or run one now
  doctor      whether the database server is fit for all this
  help        this page; `airun help COMMAND` tells more, `airun help exit-codes` what each exit code means

  -h, --help       this page
  -V, --version    the version
",
    ),
    (
        "exit-codes",
        "help exit-codes",
        "    0  everything asked for was done
    1  it failed, and the message says where, and what to do; task verify, task check, doctor: something is wrong
    2  the command line or a setting is wrong; nothing was tried
    3  migrate status --check: migrations are pending
    4  an applied migration and its file differ, or the file is gone
    5  a migration stopped half-way
   75  somebody else holds the lock; try again later
  124  running work did not end within the stop timeout
  130  ended by a signal before it was done
",
    ),
    (
        "migrate",
        "migrate COMMAND",
        "  generate NAME   write a new pair of files
  up              apply what is pending
  rollback        undo what was applied last
  redo            rollback, then up
  status          what is applied and what is pending
  check           parse every file; needs no database
  resolve         say by hand how a migration stands
  baseline        adopt a database that is there already
  dump            the schema as SQL

  --dir FOLDER    where the files are; else AIRUN_MIGRATIONS_DIR, else migrations
",
    ),
    (
        "migrate generate",
        "migrate generate NAME [--dir FOLDER]",
        "Writes YYYYMMDDHHMMSS_NAME_UP.sql and …_DOWN.sql, with the time in UTC, always after the newest file there is.
",
    ),
    (
        "migrate up",
        "migrate up [--to VERSION] [-n N] [--dry-run] [--strict] [--wait[=TIME]] [--lock-timeout TIME] [--dir FOLDER]",
        "Applies what is pending, in version order; makes the database if it is missing. After a failure or a crash, run it
again: it goes on at the statement that has not happened.

  --to VERSION          up to and including this one
  -n N                  at most so many
  --dry-run             print the statements, each with file and line, and touch nothing
  --strict              refuse a migration older than an applied one, and an applied one whose file is gone
  --wait[=TIME]         wait for a server that is still starting, for ever or for so long
  --lock-timeout TIME   for another migrator, and for sessions that are in the way of a statement (default 60s)
  --dir FOLDER          else AIRUN_MIGRATIONS_DIR, else migrations

TIME is a number of seconds, or as in 500ms, 30s, 5m, 1h 30m.
",
    ),
    (
        "migrate rollback",
        "migrate rollback [-n N | --to VERSION] [--dry-run] [--wait[=TIME]] [--lock-timeout TIME] [--dir FOLDER]",
        "Undoes the newest applications, with the DOWN that was stored when they were applied.

  -n N                  so many (default 1)
  --to VERSION          instead: all that are newer than this one
  --dry-run             print the statements and touch nothing
  --wait[=TIME]         wait for a server that is still starting, for ever or for so long
  --lock-timeout TIME   for another migrator, and for sessions that are in the way of a statement (default 60s)
  --dir FOLDER          else AIRUN_MIGRATIONS_DIR, else migrations
",
    ),
    (
        "migrate redo",
        "migrate redo [-n N] [--dry-run] [--wait[=TIME]] [--lock-timeout TIME] [--dir FOLDER]",
        "Undoes the newest applications and applies the same migrations again, from their files.

  -n N                  so many (default 1)
  --dry-run             print the statements and touch nothing
  --wait[=TIME]         wait for a server that is still starting, for ever or for so long
  --lock-timeout TIME   for another migrator, and for sessions that are in the way of a statement (default 60s)
  --dir FOLDER          else AIRUN_MIGRATIONS_DIR, else migrations
",
    ),
    (
        "migrate status",
        "migrate status [--check] [--json] [--wait[=TIME]] [--dir FOLDER]",
        "Tells how each migration stands; only reads, so that a user who may SELECT is enough.

  --check        exit with 3 where something is pending, 4 where something applied was edited or is missing,
                 5 where something stopped half-way; the highest of them
  --json         for programs, one object: \"format\" (1; raised when a field changes its meaning or goes), \"database\",
                 \"migrations\": of each \"version\", \"name\", \"status\" (pending, out_of_order, applied, baseline,
                 edited, missing, partial, partial_rollback); of one that is recorded \"applied_at\" (RFC 3339, UTC),
                 \"applied_by\", \"duration_ms\"; of a partial one \"statements_done\", \"statements_total\", \"error\"
  --wait[=TIME]  wait for a server that is still starting, for ever or for so long
  --dir FOLDER   else AIRUN_MIGRATIONS_DIR, else migrations
",
    ),
    (
        "migrate check",
        "migrate check [--dir FOLDER]",
        "Parses every file and names what is wrong as file:line:column. Needs no database.
",
    ),
    (
        "migrate resolve",
        "migrate resolve VERSION (--applied | --pending | --from-statement K | --accept-edit) [--dry-run]",
        "Says by hand how a migration stands. It changes what is recorded, never the schema.

  --applied             all of it is in the database
  --pending             none of it is
  --from-statement K    the statements before K have happened; `up` goes on with K
  --accept-edit         the file as it is now is what was applied
  --dry-run             tell what would be recorded, and record nothing
  --wait[=TIME]         wait for a server that is still starting, for ever or for so long
  --lock-timeout TIME   for another migrator (default 60s)
  --dir FOLDER          else AIRUN_MIGRATIONS_DIR, else migrations
",
    ),
    (
        "migrate baseline",
        "migrate baseline VERSION [--wait[=TIME]] [--lock-timeout TIME] [--dir FOLDER]",
        "Records every migration up to and including VERSION as applied without running it.

  --wait[=TIME]         wait for a server that is still starting, for ever or for so long
  --lock-timeout TIME   for another migrator (default 60s)
  --dir FOLDER          else AIRUN_MIGRATIONS_DIR, else migrations
",
    ),
    (
        "migrate dump",
        "migrate dump [--wait[=TIME]]",
        "Prints the schema as SQL that makes it again: the same text for the same schema, fit for a review.

  --wait[=TIME]  wait for a server that is still starting, for ever or for so long
",
    ),
    (
        "worker",
        "worker [--threads N] [--queues A,B] [--heartbeat TIME] [--stop-timeout TIME] [--metrics-file FILE] …",
        "Runs the registered tasks until SIGTERM or SIGINT; then starts nothing more, and waits for what runs. A second
signal ends it at once.

  --heartbeat TIME         how often each task's sums are logged; else AIRUN_HEARTBEAT, else 60s
  --stop-timeout TIME      how long running work may take to end; else AIRUN_STOP_TIMEOUT, else 25s
  --metrics-file FILE      write metrics there at each heartbeat, for node_exporter; else AIRUN_METRICS_FILE
  --metrics-addr IP:PORT   serve /metrics and /health there; else AIRUN_METRICS_ADDR
  --threads N              database tasks that run at once; else AIRUN_THREADS, else 8
  --queues A,B             take database tasks from these only; else AIRUN_QUEUES, else those of the registered kinds
  --retention TIME         how long tasks that succeeded or were cancelled are kept; else AIRUN_RETENTION, else 7d
  --dead-retention TIME    how long dead tasks are kept; else AIRUN_DEAD_RETENTION, else 90d

The database tasks need a database; the worker waits for one that is away, and goes on when it is back.
",
    ),
    (
        "periodic",
        "periodic COMMAND",
        "  list [--json]   the periodic tasks and their intervals
  run NAME        run one now, once, for cron; exits with 0, 1 where it failed, 75 where it is running already
",
    ),
];
