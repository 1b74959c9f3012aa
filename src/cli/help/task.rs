//! The pages of `airun task …` and `airun doctor`.

/// As those of [`super::PAGES`].
pub const PAGES: &[(&str, &str, &str)] = &[
    (
        "task",
        "task COMMAND",
        "Looks at the database tasks, and changes what becomes of them.

  kinds     the kinds that this binary runs
  enqueue   make a task due
  list      the newest tasks
  show      all of one task
  retry     run dead or cancelled tasks again
  cancel    keep tasks from running, or from going on
  stats     how many there are of each sort, and how long they wait
  purge     delete tasks that have ended
  pause     claim no more of a kind or from a queue
  resume    go on
  verify    hold the rows against what must be true of them
  check     decode everything that is pending; to be run with the new binary before a deploy
  workers   the workers that are alive

They need the tables that `airun migrate up` makes. Those that tell something take --json.
",
    ),
    (
        "task kinds",
        "task kinds [--json]",
        "Lists the kinds of this binary with what a task of each gets by itself, and what is pending that it doesn't know,
where a database is named.

  --json   for programs: {\"format\": 1, \"kinds\": [{\"kind\", \"version\", \"queue\", \"priority\", \"timeout_ms\", \"max_attempts\",
           \"concurrency\", \"isolation\", \"program\"}], \"unknown\": [{\"kind\", \"version\"}]}; isolation is one of thread,
           process, command; unknown is null where no database is named
",
    ),
    (
        "task enqueue",
        "task enqueue KIND [PAYLOAD | - | --lines] [--delay TIME] [--dedupe-key KEY] [--queue QUEUE] …",
        "Makes a task due and prints its id. PAYLOAD is JSON, `-` reads it from standard input; without one it is null. What
its kind can't decode is refused. With --lines every line of standard input is the payload of a task; all of them are
enqueued, or none.

  --delay TIME             not before so long from now
  --dedupe-key KEY         only if no task with this key is pending or running; the id is that one's then
  --queue QUEUE            instead of the kind's
  --priority PRIORITY              urgent, normal or bulk, instead of the kind's
  --timeout TIME           of each run, instead of the kind's; at most 49d
  --max-attempts N         failed runs until it is dead, instead of the kind's
  --payload-version N      instead of the newest that this binary knows
  --unchecked              also a kind, a version or a payload that this binary doesn't know
  --json                   for programs: {\"format\": 1, \"id\", \"is_new\"}; with --lines {\"format\": 1, \"enqueued\"}

TIME is a number of seconds, or as in 500ms, 30s, 5m, 1h 30m.
",
    ),
    (
        "task list",
        "task list [--state STATES] [--kind KIND] [--queue QUEUE] [--limit N] [--json]",
        "Lists the newest tasks: those enqueued last, or with --state, --kind or --queue those to which something happened
last. It reads no more than it shows, however many there are.

  --state STATES   pending, running, succeeded, dead, cancelled; several with commas
  --kind KIND      of this kind
  --queue QUEUE    in this queue
  --limit N        so many at most (default 20)
  --json           for programs: {\"format\": 1, \"database\", \"tasks\": [{\"id\", \"state\", \"kind\", \"payload_version\", \"queue\",
                   \"priority\", \"scheduled_at\", \"next_action_at\", \"created_at\", \"started_at\", \"finished_at\", \"claim_count\", \"failures\", \"crashes\",
                   \"isolated_runs\", \"max_attempts\", \"timeout_ms\", \"worker_id\", \"cancel_requested\", \"dedupe_key\",
                   \"last_error\"}]}; times are RFC 3339, 0 attempts or timeout are as the kind has them, priorities are 0 (urgent), 1, 2 (bulk)
",
    ),
    (
        "task show",
        "task show ID [--json]",
        "Shows all of one task.

  --json   for programs: one object with \"format\": 1, what `task list` has of a task, and \"payload\", \"progress\",
           \"result\", and \"hostname\" and \"pid\" of the worker that runs it
",
    ),
    (
        "task retry",
        "task retry (ID… | --dead [--kind KIND])",
        "Makes dead or cancelled tasks pending again, to run at once; their attempts are counted anew.

  --dead        all dead tasks
  --kind KIND   those of this kind only
",
    ),
    (
        "task cancel",
        "task cancel ID… [--wait[=TIME]]",
        "Cancels tasks. A pending one never runs. A running one is asked to end: its handler sees `is_cancelled`, a process of
its own is killed.

  --wait[=TIME]   wait until they have ended, for ever or for so long
",
    ),
    (
        "task stats",
        "task stats [--exact] [--json]",
        "Counts the tasks by kind, queue and state, tells how long the oldest due one waits, what is paused, and how many
workers are alive. Of each sort it counts to 100000, so that it costs little.

  --exact   count all, which reads an index entry for each
  --json    for programs: {\"format\": 1, \"database\", \"tasks\": [{\"kind\", \"queue\", \"states\": {\"pending\": {\"count\",
            \"at_least\"}, …}, \"due\": {\"count\", \"at_least\"}, \"oldest_due_ms\"}], \"oldest_due_ms\", \"paused\": [{\"scope\",
            \"name\", \"paused_at\"}], \"workers_alive\", \"workers_gone\"}; at_least where counting ended early
",
    ),
    (
        "task purge",
        "task purge [--older-than TIME] [--state STATES]",
        "Deletes tasks that have ended and whose time is up, as workers do by and by.

  --older-than TIME   instead: those that ended longer ago than this, however long they were to be kept
  --state STATES      succeeded, dead, cancelled; several with commas (default all three)
",
    ),
    (
        "task pause",
        "task pause (--kind KIND | --queue QUEUE)",
        "Keeps all workers from claiming more of a kind, or from a queue, from their next look on. What they have claimed goes
on.
",
    ),
    (
        "task resume",
        "task resume (--kind KIND | --queue QUEUE)",
        "Ends what `task pause` has begun.
",
    ),
    (
        "task verify",
        "task verify [--json]",
        "Holds every row against what must be true of it: no task runs for a worker that isn't there or beyond its lease, none
is final without an end or pending with an owner, none ran more often than it was claimed or may be, no two living ones
share a dedupe key, no kind runs beyond its limit. Exits with 0 where all is well, 1 where something isn't.

  --json   for programs: {\"format\": 1, \"database\", \"checked\", \"findings\": [{\"invariant\", \"broken\", \"advice\", \"count\",
           \"ids\"}]}; ids are the first ten
",
    ),
    (
        "task check",
        "task check [--json]",
        "Decodes the payload of every pending task with this binary, to be run before it is deployed. Exits with 0 where all can
be decoded, 1 where one can't. Kinds and versions that it doesn't know are named: they are left for a binary that does.

  --json   for programs: {\"format\": 1, \"database\", \"checked\", \"undecodable\": [{\"id\", \"kind\", \"version\", \"error\"}],
           \"undecodable_count\", \"unknown\": [{\"kind\", \"version\"}]}; the first ten of each kind and version
",
    ),
    (
        "task workers",
        "task workers [--json]",
        "Lists the workers that take database tasks: idle, busy, or gone, where the others are about to take its tasks back.

  --json   for programs: {\"format\": 1, \"database\", \"workers\": [{\"id\", \"hostname\", \"pid\", \"started_at\", \"last_heartbeat_at\",
           \"standing\", \"running\"}]}
",
    ),
    (
        "doctor",
        "doctor [--dir FOLDER] [--json]",
        "Proves that the database server is fit for airun, by trying: version, READ COMMITTED, SKIP LOCKED on two rows of its
own, the plan of a claim, named locks, privileges, the tables, the migrations; and tells of TLS, clock, durability, open
transactions, limits. It leaves nothing behind. Exits with 0 where the server is fit, 1 where there is a problem; every
finding says what to do.

  --dir FOLDER   where the migrations are; else AIRUN_MIGRATIONS_DIR, else migrations
  --json         for programs: {\"format\": 1, \"database\", \"fit\", \"findings\": [{\"check\", \"level\", \"found\", \"advice\"}]};
                 level is one of ok, note, problem
",
    ),
];
