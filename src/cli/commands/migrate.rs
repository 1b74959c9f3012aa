//! The commands of `airun migrate`.

use super::{DIR, json};
use crate::cli::args::{Arguments, Command, Flag, Value};
use crate::cli::migrate;

const WAIT: Flag = Flag {
    value: Value::Optional("TIME"),
    ..Flag::switch("--wait", "wait for a server that is still starting, without a limit or for at most TIME")
};

const LOCK_TIMEOUT: Flag = Flag::value(
    "--lock-timeout",
    "TIME",
    "how long to wait for another migrator, and for sessions that block a statement",
)
.default("60s");

const DRY_RUN: Flag = Flag::switch("--dry-run", "print the statements and change nothing");

const LIMIT: Flag = Flag::value("-n", "N", "roll back N migrations").default("1");

const VERSION: Arguments = Arguments { usage: "VERSION", min: 1, max: 1 };

pub const COMMANDS: &[Command] = &[
    Command {
        path: "migrate generate",
        summary: "write a new pair of files",
        arguments: Arguments { usage: "NAME", min: 1, max: 1 },
        flags: &[DIR],
        help: "Writes YYYYMMDDHHMMSS_NAME_UP.sql and YYYYMMDDHHMMSS_NAME_DOWN.sql. The version is the time in UTC, or \
               the version after the newest file's.",
        examples: &["airun migrate generate add_users"],
        handler: Some(migrate::generate),
        ..Command::EMPTY
    },
    Command {
        path: "migrate up",
        summary: "apply the pending migrations",
        flags: &[
            Flag::value("--to", "VERSION", "apply the migrations up to and including this version"),
            Flag::value("-n", "N", "apply at most N migrations"),
            Flag::switch("--dry-run", "print the statements with file and line, and change nothing"),
            Flag::switch("--strict", "refuse a migration older than an applied one, and an applied one without a file"),
            WAIT,
            LOCK_TIMEOUT,
            DIR,
        ],
        help: "Applies the pending migrations in version order, and creates the database if it is missing. After a \
               failure or a crash, run it again: it resumes at the statement that has not run.",
        examples: &["airun migrate up --wait=30s", "airun migrate up --dry-run"],
        handler: Some(migrate::up),
        ..Command::EMPTY
    },
    Command {
        path: "migrate rollback",
        summary: "undo the newest migrations",
        flags: &[
            LIMIT,
            Flag::value("--to", "VERSION", "roll back all migrations that are newer than this version"),
            DRY_RUN,
            WAIT,
            LOCK_TIMEOUT,
            DIR,
        ],
        help: "Undoes the migrations that were applied last, with the DOWN scripts stored when they were applied.",
        handler: Some(migrate::rollback),
        ..Command::EMPTY
    },
    Command {
        path: "migrate redo",
        summary: "undo the newest migrations and apply them again",
        flags: &[LIMIT, DRY_RUN, WAIT, LOCK_TIMEOUT, DIR],
        help: "Undoes the migrations that were applied last, and applies the same ones again from their files.",
        handler: Some(migrate::redo),
        ..Command::EMPTY
    },
    Command {
        path: "migrate status",
        summary: "list the applied and the pending migrations",
        flags: &[
            Flag::switch(
                "--check",
                "exit with 3 if migrations are pending, 4 if an applied file was edited or is missing, 5 if a migration \
                 stopped half-way; the highest of them",
            ),
            json(
                "{\"format\": 1, \"database\", \"migrations\": [{\"version\", \"name\", \"status\", \"applied_at\", \
                 \"applied_by\", \"duration_ms\", \"statements_done\", \"statements_total\", \"error\"}]}; status is pending, \
                 out_of_order, applied, baseline, edited, missing, partial or partial_rollback; applied_at is RFC 3339 \
                 in UTC; statements_done, statements_total and error are those of a partial migration",
            ),
            WAIT,
            DIR,
        ],
        help: "Lists all migrations and their status. It only reads, so a user with SELECT is enough.",
        examples: &["airun migrate status --check --json"],
        handler: Some(migrate::status),
        ..Command::EMPTY
    },
    Command {
        path: "migrate check",
        summary: "parse the files without a database",
        flags: &[DIR],
        help: "Parses every file and reports errors as file:line:column. It needs no database.",
        handler: Some(migrate::check),
        ..Command::EMPTY
    },
    Command {
        path: "migrate resolve",
        summary: "record by hand what happened to a migration",
        arguments: Arguments {
            usage: "VERSION (--applied | --pending | --from-statement K | --accept-edit)",
            ..VERSION
        },
        flags: &[
            Flag::switch("--applied", "all of its statements are in the database"),
            Flag::switch("--pending", "none of its statements is in the database"),
            Flag::value("--from-statement", "K", "the statements before K have run; `up` resumes at K"),
            Flag::switch("--accept-edit", "accept the file as it is now as what was applied"),
            Flag::switch("--dry-run", "print what would be recorded, and record nothing"),
            WAIT,
            LOCK_TIMEOUT,
            DIR,
        ],
        help: "Records by hand what happened to a migration. It changes the records, never the schema.",
        handler: Some(migrate::resolve),
        ..Command::EMPTY
    },
    Command {
        path: "migrate baseline",
        summary: "adopt a database that has a schema already",
        arguments: VERSION,
        flags: &[WAIT, LOCK_TIMEOUT, DIR],
        help: "Records every migration up to and including VERSION as applied, without running it.",
        handler: Some(migrate::baseline),
        ..Command::EMPTY
    },
    Command {
        path: "migrate dump",
        summary: "print the schema as SQL",
        flags: &[WAIT],
        help: "Prints the schema as SQL that creates it again. The same schema gives the same text, so it can be \
               committed and reviewed.",
        examples: &["airun migrate dump > schema.sql"],
        handler: Some(migrate::dump),
        ..Command::EMPTY
    },
];
