//! The commands of `airun task`.

use super::{RETENTION, json};
use crate::cli::args::{Command, Flag};
use crate::cli::task;

const KIND: Flag = Flag::value("--kind", "KIND", "tasks of this kind only");
const QUEUE: Flag = Flag::value("--queue", "QUEUE", "tasks in this queue only");

pub const COMMANDS: &[Command] = &[
    Command::new("task kinds", "list the kinds that this binary runs", task::kinds)
        .flags(&[json(
            r#"{"format": 1, "kinds": [{"kind", "version", "queue", "priority", "timeout_ms", "max_attempts",
                "concurrency", "isolation", "program"}], "unknown": [{"kind", "version"}]}; isolation is thread,
                process or command; unknown is null without a database"#,
        )])
        .help("It also lists the pending kinds of the database that this binary does not know."),
    Command::new("task enqueue", "enqueue a task", task::enqueue)
        .arguments("KIND [PAYLOAD | - | --lines]", 1, 2)
        .flags(&[
            Flag::value("--delay", "TIME", "wait at least this long before the first run"),
            Flag::value(
                "--dedupe-key",
                "KEY",
                "enqueue it only if no task with this key is pending or running; otherwise print that task's id",
            ),
            Flag::value("--queue", "QUEUE", "the queue, instead of the kind's"),
            Flag::value("--priority", "PRIORITY", "urgent, normal or bulk, instead of the kind's priority"),
            Flag::value("--timeout", "TIME", "time limit of each run, instead of the kind's; at most 49d"),
            Flag::value("--max-attempts", "N", "failed runs after which it is dead, instead of the kind's"),
            Flag::value("--payload-version", "N", "payload version, instead of the newest that this binary has"),
            Flag::switch("--lines", "enqueue a task for each line of standard input: all of them or none"),
            Flag::switch("--unchecked", "accept a kind, version or payload that this binary does not know"),
            json(r#"{"format": 1, "id", "inserted"}; with --lines {"format": 1, "enqueued"}"#),
        ])
        .help(
            "It prints the task's id. PAYLOAD is JSON; `-` reads it from standard input, and the default is \
             null. A payload that its kind can't decode is refused.",
        )
        .examples(&[
            "airun task enqueue resize '{\"image\": 7}' --delay 10m",
            "airun task enqueue resize --lines < payloads.jsonl",
        ]),
    Command::new("task list", "list the newest tasks", task::list)
        .flags(&[
            Flag::value(
                "--state",
                "STATES",
                "pending, running, succeeded, dead or cancelled; separate several with commas",
            ),
            KIND,
            QUEUE,
            Flag::value("--limit", "N", "list at most N tasks").default("20"),
            json(
                r#"{"format": 1, "database", "tasks": [{"id", "state", "kind", "payload_version", "queue",
                "priority", "scheduled_at", "next_action_at", "created_at", "started_at", "finished_at",
                "claim_count", "failures", "crashes", "isolated_runs", "max_attempts", "timeout_ms", "worker_id",
                "cancel_requested", "dedupe_key", "last_error"}]}; times are RFC 3339; max_attempts or timeout_ms
                0 means the kind's; priority is 0 (urgent), 1 or 2 (bulk)"#,
            ),
        ])
        .help(
            "These are the tasks that were enqueued last; with --state, --kind or --queue those that \
             changed last.",
        ),
    Command::new("task show", "show one task in full", task::show).arguments("ID", 1, 1).flags(&[json(
        r#"{"format": 1, "database"} with the fields of `task list`, and "payload", "progress", "result", and
                "hostname" and "pid" of the worker that runs it"#,
    )]),
    Command::new("task retry", "run dead or cancelled tasks again", task::retry)
        .arguments("(ID… | --dead [--kind KIND])", 0, usize::MAX)
        .flags(&[Flag::switch("--dead", "retry all dead tasks"), KIND])
        .help("They run immediately and with all their attempts."),
    Command::new("task cancel", "cancel pending or running tasks", task::cancel)
        .arguments("ID…", 1, usize::MAX)
        .flags(&[
            Flag::optional("--wait", "TIME", "wait until they have ended, without a limit or for at most TIME"),
            RETENTION,
        ])
        .help(
            "A pending task never runs. A running one is asked to stop: its handler sees `is_cancelled`, \
             and a process of its own is killed.",
        ),
    Command::new("task stats", "count the tasks by kind, queue and state", task::stats)
        .flags(&[
            Flag::switch("--exact", "count all tasks, which reads an index entry for each"),
            json(
                r#"{"format": 1, "database", "tasks": [{"kind", "queue", "states": {"pending": {"count", "at_least"},
                …}, "due": {"count", "at_least"}, "oldest_due_ms"}], "oldest_due_ms", "paused": [{"scope", "name",
                "paused_at"}], "workers_alive", "workers_dead"}; at_least is true if counting stopped early"#,
            ),
        ])
        .help(
            "It also shows how long the oldest due task has waited, what is paused, and how many workers \
             are alive. It counts at most 100000 tasks of each group, to stay cheap.",
        ),
    Command::new("task purge", "delete tasks that have ended", task::purge)
        .flags(&[
            Flag::value(
                "--older-than",
                "TIME",
                "delete the tasks that ended longer ago than this, regardless of their retention",
            ),
            Flag::value("--state", "STATES", "only succeeded, dead or cancelled ones; separate several with commas"),
        ])
        .help("It deletes those whose retention is over, as workers do regularly."),
    Command::new("task pause", "stop claiming tasks of a kind or from a queue", task::pause)
        .arguments("(--kind KIND | --queue QUEUE)", 0, 0)
        .flags(&[KIND, QUEUE])
        .help("It applies to all workers from their next poll on. Claimed tasks still run."),
    Command::new("task resume", "end a pause", task::resume)
        .arguments("(--kind KIND | --queue QUEUE)", 0, 0)
        .flags(&[KIND, QUEUE]),
    Command::new("task verify", "check every row against the queue's invariants", task::verify)
        .flags(&[json(
            r#"{"format": 1, "database", "checked", "findings": [{"invariant", "description", "advice", "count",
                "ids"}]}; ids are the first ten"#,
        )])
        .help(
            "The invariants are: no task runs on a dead worker or beyond its lease, every finished task has \
             a finish time, no pending task has a worker, no task ran more often than it was claimed or is \
             allowed to, no two unfinished tasks share a dedupe key, no kind exceeds its concurrency limit. \
             It exits with 1 if one is violated.",
        ),
    Command::new("task check", "decode all pending payloads, before a deploy", task::check)
        .flags(&[json(
            r#"{"format": 1, "database", "checked", "undecodable": [{"id", "kind", "version", "error"}],
                "undecodable_count", "unknown": [{"kind", "version"}]}; undecodable has the first ten of each kind
                and version"#,
        )])
        .help(
            "Run the new binary's check before you deploy it: it exits with 1 if a payload can't be \
             decoded. Kinds and versions that this binary does not know are listed: they are left to a \
             binary that does.",
        ),
    Command::new("task workers", "list the workers", task::workers)
        .flags(&[json(
            r#"{"format": 1, "database", "workers": [{"id", "hostname", "pid", "started_at", "last_heartbeat_at",
                "state", "running"}]}"#,
        )])
        .help("A worker is idle, busy or dead; the others will rescue the tasks of a dead one."),
];
