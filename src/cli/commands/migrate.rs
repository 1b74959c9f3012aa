//! The commands of `airun migrate`.

use super::{DIR, json};
use crate::cli::args::{Command, Flag};
use crate::cli::migrate;

const WAIT: Flag =
    Flag::optional("--wait", "TIME", "wait for a server that is still starting, without a limit or for at most TIME");

const LOCK_TIMEOUT: Flag = Flag::value(
    "--lock-timeout",
    "TIME",
    "how long to wait for another migrator, and for sessions that block a statement",
)
.default("60s");

const DRY_RUN: Flag = Flag::switch("--dry-run", "print the statements and change nothing");

const LIMIT: Flag = Flag::value("-n", "N", "roll back N migrations").default("1");

pub const COMMANDS: &[Command] = &[
    Command::new("migrate generate", "write a new pair of files", migrate::generate)
        .arguments("NAME", 1, 1)
        .flags(&[DIR])
        .help(
            "The files are YYYYMMDDHHMMSS_NAME_UP.sql and YYYYMMDDHHMMSS_NAME_DOWN.sql. The version is the \
             time in UTC, or the version after the newest file's.",
        )
        .examples(&["airun migrate generate add_users"]),
    Command::new("migrate up", "apply the pending migrations", migrate::up)
        .flags(&[
            Flag::value("--to", "VERSION", "apply the migrations up to and including this version"),
            Flag::value("-n", "N", "apply at most N migrations"),
            Flag::switch("--dry-run", "print the statements with file and line, and change nothing"),
            Flag::switch("--strict", "refuse a migration older than an applied one, and an applied one without a file"),
            WAIT,
            LOCK_TIMEOUT,
            DIR,
        ])
        .help(
            "Migrations are applied in version order. The database is created if it is missing. After a \
             failure or a crash, run it again: it resumes at the statement that has not run.",
        )
        .examples(&["airun migrate up --wait=30s", "airun migrate up --dry-run"]),
    Command::new("migrate rollback", "undo the newest migrations", migrate::rollback)
        .flags(&[
            LIMIT,
            Flag::value("--to", "VERSION", "roll back all migrations that are newer than this version"),
            DRY_RUN,
            WAIT,
            LOCK_TIMEOUT,
            DIR,
        ])
        .help("It runs the DOWN scripts that were stored when the migrations were applied."),
    Command::new("migrate redo", "undo the newest migrations and apply them again", migrate::redo)
        .flags(&[LIMIT, DRY_RUN, WAIT, LOCK_TIMEOUT, DIR])
        .help("The same migrations are applied again, from their files."),
    Command::new("migrate status", "list the applied and the pending migrations", migrate::status)
        .flags(&[
            Flag::switch(
                "--check",
                "exit with 3 if migrations are pending, 4 if an applied file was edited or is missing, 5 if a \
                 migration stopped half-way; the highest of them",
            ),
            json(
                r#"{"format": 1, "database", "migrations": [{"version", "name", "status", "applied_at", "applied_by",
                "duration_ms", "statements_done", "statements_total", "error"}]}; status is pending, out_of_order,
                applied, baseline, edited, missing, partial or partial_rollback; applied_at is RFC 3339 in UTC;
                statements_done, statements_total and error are those of a partial migration"#,
            ),
            WAIT,
            DIR,
        ])
        .help("It only reads, so a user with SELECT is enough.")
        .examples(&["airun migrate status --check --json"]),
    Command::new("migrate check", "parse the files without a database", migrate::check)
        .flags(&[DIR])
        .help("Errors are reported as file:line:column."),
    Command::new("migrate resolve", "record by hand what happened to a migration", migrate::resolve)
        .arguments("VERSION (--applied | --pending | --from-statement K | --accept-edit)", 1, 1)
        .flags(&[
            Flag::switch("--applied", "all of its statements are in the database"),
            Flag::switch("--pending", "none of its statements is in the database"),
            Flag::value("--from-statement", "K", "the statements before K have run; `up` resumes at K"),
            Flag::switch("--accept-edit", "record that the file was applied as it is now"),
            Flag::switch("--dry-run", "print what would be recorded, and record nothing"),
            WAIT,
            LOCK_TIMEOUT,
            DIR,
        ])
        .help("It changes the records, never the schema."),
    Command::new("migrate baseline", "adopt a database that has a schema already", migrate::baseline)
        .arguments("VERSION", 1, 1)
        .flags(&[WAIT, LOCK_TIMEOUT, DIR])
        .help("Records every migration up to and including VERSION as applied, without running it."),
    Command::new("migrate dump", "print the schema as SQL", migrate::dump)
        .flags(&[WAIT])
        .help("The same schema gives the same text, so it can be committed and reviewed.")
        .examples(&["airun migrate dump > schema.sql"]),
];
