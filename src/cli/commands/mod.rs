//! The table of commands: parsing, help and suggestions are made from it.

mod migrate;
mod task;

use super::args::{Command, Flag};
use super::context::Context;
use super::exit::Exit;
use super::suggest::hint;
use super::{doctor, help, periodic, worker};
use crate::error::{Error, Result};
use crate::queue;

/// The root of the table: airun itself, with all commands below it.
pub static ROOT: Command = Command {
    summary: "schema migrations and background tasks for MySQL and MariaDB",
    flags: &[
        Flag::value(
            "--database-url",
            "URL",
            "mysql://user:password@host:3306/database; otherwise DATABASE_URL, otherwise DB_HOST, DB_PORT, \
             DB_USER, DB_PASSWORD or DB_PASSWORD_FILE, DB_NAME, DB_SOCKET",
        ),
        Flag::setting(
            "--tls-mode",
            "MODE",
            "DB_TLS_MODE",
            "disabled, preferred, required, verify-ca or verify-identity, as in the mysql client",
        )
        .default("preferred"),
        Flag::setting("--tls-ca", "FILE", "DB_TLS_CA", "certificates to trust in addition to the public ones"),
        Flag::value("--env-file", "FILE", "read settings from this file").default(".env"),
        Flag::setting(
            "--log-level",
            "FILTER",
            "RUST_LOG",
            "error, warn, info, debug or trace, also for single modules: info,airun::periodic=debug",
        )
        .default("info"),
        Flag::value("--log-format", "FORMAT", "text or json").default("text"),
        Flag { short: Some("-h"), ..Flag::switch("--help", "print the help of a command") },
        Flag { short: Some("-V"), ..Flag::switch("--version", "print the version") },
    ],
    commands: &[
        Command::group("migrate", "change the database schema with SQL files", migrate::COMMANDS),
        Command::new("worker", "run the registered tasks until a signal", worker::run)
            .flags(WORKER)
            .help(
                "After SIGTERM or SIGINT it starts nothing more and waits for the running tasks; a second \
                 signal ends it immediately. If the database is unavailable, the worker waits and reconnects.",
            )
            .examples(&["airun worker --threads 16 --queues default,mail --metrics-addr 127.0.0.1:9464"]),
        Command::group("task", "enqueue, list, retry and cancel database tasks", task::COMMANDS)
            .help("The commands need the tables that `airun migrate up` creates."),
        Command::group("periodic", "list the periodic tasks, or run one now", PERIODIC),
        Command::new("doctor", "check that the database server is fit for airun", doctor::run)
            .flags(&[
                DIR,
                json(
                    r#"{"format": 1, "database", "fit", "findings": [{"check", "level", "found", "advice"}]}; level is
                ok, note or problem"#,
                ),
            ])
            .help(
                "It checks the version, READ COMMITTED, SKIP LOCKED, the plan of a claim, named locks, privileges, \
                 tables and migrations. It also reports on TLS, clock, durability, open transactions and \
                 limits, and leaves nothing behind.\n\nIt exits with 0 if the server is fit and with 1 if there \
                 is a problem; each finding says what to do.",
            ),
        Command::new("help", "print the help of a command", print_page)
            .arguments("[COMMAND]", 0, 2)
            .examples(&["airun help migrate up", "airun help exit-codes"]),
        Command::EMPTY.named("exit-codes", "what each exit code means").help(EXIT_CODES),
        // Hidden commands that a worker calls to run a task in a process of its own.
        Command::new(queue::HANDLER, "", |context| {
            queue::run_child(&context.registry.kinds, &context.stop).map(|()| Exit::Success)
        }),
    ],
    ..Command::EMPTY
};

const DIR: Flag =
    Flag::setting("--dir", "FOLDER", "AIRUN_MIGRATIONS_DIR", "folder of the migrations").default("migrations");

/// Returns the flag `--json`. Its help shows the structure of the output.
const fn json(shape: &'static str) -> Flag {
    Flag::switch("--json", shape)
}

const RETENTION: Flag =
    Flag::setting("--retention", "TIME", "AIRUN_RETENTION", "how long to keep tasks that succeeded or were cancelled")
        .default("7d");

const WORKER: &[Flag] = &[
    Flag::setting("--threads", "N", "AIRUN_THREADS", "database tasks to run at the same time").default("8"),
    Flag::setting(
        "--queues",
        "A,B",
        "AIRUN_QUEUES",
        "take database tasks from these queues only, instead of those of the registered kinds",
    ),
    Flag::setting("--heartbeat", "TIME", "AIRUN_HEARTBEAT", "interval of each task's statistics in the log")
        .default("60s"),
    // The default is less than the 30 s that orchestrators usually grant.
    Flag::setting("--stop-timeout", "TIME", "AIRUN_STOP_TIMEOUT", "how long to wait for running tasks after a signal")
        .default("25s"),
    Flag::setting(
        "--metrics-file",
        "FILE",
        "AIRUN_METRICS_FILE",
        "write metrics to this file at each heartbeat, for node_exporter",
    ),
    Flag::setting("--metrics-addr", "IP:PORT", "AIRUN_METRICS_ADDR", "serve /metrics and /health on this address"),
    RETENTION,
    Flag::setting("--dead-retention", "TIME", "AIRUN_DEAD_RETENTION", "how long to keep dead tasks").default("90d"),
];

const PERIODIC: &[Command] = &[
    Command::new("periodic list", "list the periodic tasks and their intervals", periodic::list)
        .flags(&[json(r#"[{"name", "emoji", "interval", "interval_ms", "time_limit_ms"}]"#)]),
    Command::new("periodic run", "run a task once, now", periodic::run)
        .arguments("NAME", 1, 1)
        .help(
            "Use it for example from cron. It exits with 0, with 1 if the task failed, and with 75 if it is \
             already running on this host.",
        )
        .examples(&["airun periodic run pulse"]),
];

const EXIT_CODES: &str = "    0  success
    1  failure; the message says where and what to do. task verify, task check, doctor: a problem was found
    2  wrong command line or setting; nothing was tried
    3  migrate status --check: migrations are pending
    4  an applied migration and its file differ, or the file is missing
    5  a migration stopped half-way
   75  another process holds the lock; try again later
  124  running tasks did not end within the stop timeout
  130  ended by a signal
";

/// `airun help [COMMAND]`
fn print_page(context: &mut Context) -> Result<Exit> {
    context.output.raw(&help::page(&ROOT, find(&context.args.words)?));
    Ok(Exit::Success)
}

/// Returns the command or the page of help that `words` name.
pub fn find(words: &[String]) -> Result<&'static Command> {
    let mut command = &ROOT;
    for word in words {
        command = command.commands.iter().find(|command| command.name() == word).ok_or_else(|| {
            let path = words.join(" ");
            let hint = hint(&path, help::paths(&ROOT), "`airun help` lists the commands");
            Error::usage(format!("no help for `{path}`{hint}"))
        })?;
    }
    Ok(command)
}
