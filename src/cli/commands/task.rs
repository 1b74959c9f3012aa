//! The commands of `airun task`.

use super::json;
use crate::cli::args::{Arguments, Command, Flag, Value};
use crate::cli::task;

const KIND: Flag = Flag::value("--kind", "KIND", "tasks of this kind only");
const QUEUE: Flag = Flag::value("--queue", "QUEUE", "tasks in this queue only");

const KIND_OR_QUEUE: Arguments = Arguments { usage: "(--kind KIND | --queue QUEUE)", min: 0, max: 0 };
const IDS: Arguments = Arguments { usage: "ID…", min: 1, max: usize::MAX };

pub const COMMANDS: &[Command] = &[
    Command {
        path: "task kinds",
        summary: "list the kinds that this binary runs",
        flags: &[json(
            "{\"format\": 1, \"kinds\": [{\"kind\", \"version\", \"queue\", \"priority\", \"timeout_ms\", \"max_attempts\", \
             \"concurrency\", \"isolation\", \"program\"}], \"unknown\": [{\"kind\", \"version\"}]}; isolation is thread, \
             process or command; unknown is null without a database",
        )],
        help: "Lists the kinds of this binary with their settings, and the pending kinds of the database that it does \
               not know.",
        handler: Some(task::kinds),
        ..Command::EMPTY
    },
    Command {
        path: "task enqueue",
        summary: "enqueue a task",
        arguments: Arguments { usage: "KIND [PAYLOAD | - | --lines]", min: 1, max: 2 },
        flags: &[
            Flag::value("--delay", "TIME", "run it no earlier than this from now"),
            Flag::value(
                "--dedupe-key",
                "KEY",
                "enqueue it only if no task with this key is pending or running; otherwise print that task's id",
            ),
            Flag::value("--queue", "QUEUE", "instead of the kind's"),
            Flag::value("--priority", "PRIORITY", "urgent, normal or bulk, instead of the kind's"),
            Flag::value("--timeout", "TIME", "limit of each run, instead of the kind's; at most 49d"),
            Flag::value("--max-attempts", "N", "failed runs after which it is dead, instead of the kind's"),
            Flag::value("--payload-version", "N", "instead of the newest that this binary knows"),
            Flag::switch("--lines", "enqueue a task for each line of standard input: all of them or none"),
            Flag::switch("--unchecked", "accept a kind, version or payload that this binary does not know"),
            json("{\"format\": 1, \"id\", \"inserted\"}; with --lines {\"format\": 1, \"enqueued\"}"),
        ],
        help: "Enqueues a task and prints its id. PAYLOAD is JSON; `-` reads it from standard input, and the default is \
               null. A payload that its kind can't decode is refused.",
        examples: &[
            "airun task enqueue resize '{\"image\": 7}' --delay 10m",
            "airun task enqueue resize --lines < payloads.jsonl",
        ],
        handler: Some(task::enqueue),
        ..Command::EMPTY
    },
    Command {
        path: "task list",
        summary: "list the newest tasks",
        flags: &[
            Flag::value(
                "--state",
                "STATES",
                "pending, running, succeeded, dead or cancelled; separate several with commas",
            ),
            KIND,
            QUEUE,
            Flag::value("--limit", "N", "list at most N tasks").default("20"),
            json(
                "{\"format\": 1, \"database\", \"tasks\": [{\"id\", \"state\", \"kind\", \"payload_version\", \"queue\", \
                 \"priority\", \"scheduled_at\", \"next_action_at\", \"created_at\", \"started_at\", \"finished_at\", \
                 \"claim_count\", \"failures\", \"crashes\", \"isolated_runs\", \"max_attempts\", \"timeout_ms\", \"worker_id\", \"cancel_requested\", \
                 \"dedupe_key\", \"last_error\"}]}; times are RFC 3339; max_attempts or timeout_ms 0 means the kind's; \
                 priority is 0 (urgent), 1 or 2 (bulk)",
            ),
        ],
        help: "Lists the tasks that were enqueued last; with --state, --kind or --queue those that changed last.",
        handler: Some(task::list),
        ..Command::EMPTY
    },
    Command {
        path: "task show",
        summary: "show one task in full",
        arguments: Arguments { usage: "ID", min: 1, max: 1 },
        flags: &[json(
            "{\"format\": 1, \"database\"} with the fields of `task list`, and \"payload\", \"progress\", \"result\", and \
             \"hostname\" and \"pid\" of the worker that runs it",
        )],
        help: "Shows one task in full.",
        handler: Some(task::show),
        ..Command::EMPTY
    },
    Command {
        path: "task retry",
        summary: "run dead or cancelled tasks again",
        arguments: Arguments { usage: "(ID… | --dead [--kind KIND])", min: 0, ..IDS },
        flags: &[Flag::switch("--dead", "retry all dead tasks"), KIND],
        help: "Makes dead or cancelled tasks pending again, to run immediately and with all their attempts.",
        handler: Some(task::retry),
        ..Command::EMPTY
    },
    Command {
        path: "task cancel",
        summary: "cancel pending or running tasks",
        arguments: IDS,
        flags: &[Flag {
            value: Value::Optional("TIME"),
            ..Flag::switch("--wait", "wait until they have ended, without a limit or for at most TIME")
        }],
        help: "Cancels tasks. A pending task never runs. A running one is asked to stop: its handler sees \
               `is_cancelled`, and a process of its own is killed.",
        handler: Some(task::cancel),
        ..Command::EMPTY
    },
    Command {
        path: "task stats",
        summary: "count the tasks by kind, queue and state",
        flags: &[
            Flag::switch("--exact", "count all tasks, which reads an index entry for each"),
            json(
                "{\"format\": 1, \"database\", \"tasks\": [{\"kind\", \"queue\", \"states\": {\"pending\": {\"count\", \
                 \"at_least\"}, …}, \"due\": {\"count\", \"at_least\"}, \"oldest_due_ms\"}], \"oldest_due_ms\", \
                 \"paused\": [{\"scope\", \"name\", \"paused_at\"}], \"workers_alive\", \"workers_dead\"}; at_least is \
                 true if counting stopped early",
            ),
        ],
        help: "Counts the tasks by kind, queue and state, and shows how long the oldest due task has waited, what is \
               paused, and how many workers are alive. It counts at most 100000 tasks of each group, to stay cheap.",
        handler: Some(task::stats),
        ..Command::EMPTY
    },
    Command {
        path: "task purge",
        summary: "delete tasks that have ended",
        flags: &[
            Flag::value(
                "--older-than",
                "TIME",
                "delete the tasks that ended longer ago than this, whatever their retention",
            ),
            Flag::value("--state", "STATES", "only succeeded, dead or cancelled ones; separate several with commas"),
        ],
        help: "Deletes the tasks that have ended and whose retention is over, as workers do regularly.",
        handler: Some(task::purge),
        ..Command::EMPTY
    },
    Command {
        path: "task pause",
        summary: "stop claiming tasks of a kind or from a queue",
        arguments: KIND_OR_QUEUE,
        flags: &[KIND, QUEUE],
        help: "Keeps all workers from claiming tasks of a kind or from a queue, from their next poll on. Claimed tasks \
               still run.",
        handler: Some(task::pause),
        ..Command::EMPTY
    },
    Command {
        path: "task resume",
        summary: "end a pause",
        arguments: KIND_OR_QUEUE,
        flags: &[KIND, QUEUE],
        help: "Ends a pause that `airun task pause` began.",
        handler: Some(task::resume),
        ..Command::EMPTY
    },
    Command {
        path: "task verify",
        summary: "check every row against the queue's invariants",
        flags: &[json(
            "{\"format\": 1, \"database\", \"checked\", \"findings\": [{\"invariant\", \"description\", \"advice\", \"count\", \
             \"ids\"}]}; ids are the first ten",
        )],
        help: "Checks every row against the queue's invariants: no task runs on a dead worker or beyond its lease, every \
               finished task has a finish time, no pending task has a worker, no task ran more often than it was \
               claimed or is allowed to, no two unfinished tasks share a dedupe key, no kind exceeds its concurrency limit. Exits with \
               1 if one is violated.",
        handler: Some(task::verify),
        ..Command::EMPTY
    },
    Command {
        path: "task check",
        summary: "decode all pending payloads, before a deploy",
        flags: &[json(
            "{\"format\": 1, \"database\", \"checked\", \"undecodable\": [{\"id\", \"kind\", \"version\", \"error\"}], \
             \"undecodable_count\", \"unknown\": [{\"kind\", \"version\"}]}; undecodable has the first ten of each kind \
             and version",
        )],
        help: "Decodes the payload of every pending task with this binary; run it before a deploy. Exits with 1 if one \
               can't be decoded. Kinds and versions that this binary does not know are listed: they are left to a binary \
               that does.",
        handler: Some(task::check),
        ..Command::EMPTY
    },
    Command {
        path: "task workers",
        summary: "list the workers",
        flags: &[json(
            "{\"format\": 1, \"database\", \"workers\": [{\"id\", \"hostname\", \"pid\", \"started_at\", \"last_heartbeat_at\", \
             \"state\", \"running\"}]}",
        )],
        help: "Lists the workers that take database tasks: idle, busy, or dead, which means that the others will rescue \
               its tasks.",
        handler: Some(task::workers),
        ..Command::EMPTY
    },
];
