//! Tests what the commands of `airun task` print, and how they change the rows.

use crate::on_both;
use crate::support::{Database, Finished, stop};

/// Returns the exit code, the standard output and the standard error.
fn parts(finished: Finished) -> (i32, String, String) {
    (finished.code, finished.stdout, finished.stderr)
}

fn refused(db: &Database, args: &str, code: i32, expected: &str) {
    let finished = db.lab(args);
    assert_eq!(parts(finished), (code, String::new(), format!("airun: error: {expected}\n")), "{args}");
}

fn enqueue(db: &Database, kind: &str, payload: &str) -> u64 {
    db.stdout_of(&format!("task enqueue {kind} {payload}")).trim().parse().unwrap()
}

/// Returns the ids that `airun task list` prints, in its order.
fn ids(db: &Database, args: &str) -> Vec<u64> {
    let list = db.json(&format!("task list {args}"));
    list["tasks"].as_array().unwrap().iter().map(|task| task["id"].as_u64().unwrap()).collect()
}

#[test]
fn usage_error_says_what_to_do() {
    let db = Database::new(crate::support::Kind::MySql);
    for (args, expected) in [
        (
            "task",
            "`task` needs a command: kinds, enqueue, list, show, retry, cancel, stats, purge, pause, resume, verify, check, workers",
        ),
        ("task lst", "unknown command `task lst`; did you mean `list`?"),
        ("task show", "missing argument; usage: airun task show ID"),
        ("task show 1 2", "unexpected argument `2`; usage: airun task show ID"),
        ("task retry x", "invalid task id `x`; `airun task list` shows the ids"),
        ("task retry --dead 1", "give either ids or `--dead`; usage: airun task retry (ID… | --dead [--kind KIND])"),
        ("task retry 1 --kind echo", "`--kind` requires `--dead`"),
        ("task cancel --all", "unknown flag `--all`"),
        ("task cancel", "missing argument; usage: airun task cancel ID…"),
        (
            "task list --state done",
            "invalid value `done` for `--state`: use pending, running, succeeded, dead, cancelled",
        ),
        ("task list --limit 0", "`--limit` must be from 1 to 10000"),
        ("task list --knd x", "unknown flag `--knd`; did you mean `--kind`?"),
        ("task purge --state pending", "invalid value `pending` for `--state`: use succeeded, dead, cancelled"),
        ("task pause", "give either a kind or a queue; usage: airun task pause (--kind KIND | --queue QUEUE)"),
        (
            "task resume --kind a --queue b",
            "give either a kind or a queue; usage: airun task resume (--kind KIND | --queue QUEUE)",
        ),
        ("task pause --kind a'b", "invalid kind name `a'b`; use 1 to 64 letters, digits, `_`, `-` and `.`"),
        ("task enqueue", "missing argument; usage: airun task enqueue KIND [PAYLOAD | - | --lines]"),
        (
            "task enqueue ech 1",
            "this binary has no kind `ech`; did you mean `echo`? (`--unchecked` enqueues it for another binary)",
        ),
        (
            "task enqueue echo hello",
            "the payload is not JSON: expected value at line 1 column 1; a JSON text needs double quotes",
        ),
        (
            "task enqueue echo hello --unchecked",
            "the payload is not JSON: expected value at line 1 column 1; a JSON text needs double quotes",
        ),
        ("task enqueue echo 1 2", "unexpected argument `2`; usage: airun task enqueue KIND [PAYLOAD | - | --lines]"),
        (
            "task enqueue once {}",
            "`once` version 1 can't decode this payload: missing field `key` at line 1 column 2; `--unchecked` enqueues it anyway",
        ),
        (
            "task enqueue once",
            "`once` version 1 can't decode this payload: invalid type: null, expected struct Effect at line 1 column 4; `--unchecked` enqueues it anyway",
        ),
        (
            "task enqueue versioned 1 --payload-version 3",
            "this binary has `versioned` only up to payload version 2, not 3; `--unchecked` enqueues it for another binary",
        ),
        ("task enqueue echo 1 --priority fast", "invalid value `fast` for `--priority`: use urgent, normal or bulk"),
        ("task enqueue echo 1 --max-attempts 0", "`--max-attempts` must be at least 1"),
        ("task enqueue echo 1 --timeout 50d", "`--timeout` must be longer than zero and at most 49 days"),
        ("task enqueue echo 1 --lines", "`--lines` reads the payloads from standard input; don't give another payload"),
        (
            "task enqueue echo --lines --dedupe-key k",
            "`--dedupe-key` can't be used with `--lines`, because it belongs to one task",
        ),
    ] {
        refused(&db, args, 2, expected);
    }
}

on_both! {
    fn missing_tables_error_says_how_to_create_them(db) {
        db.create();
        for args in ["task list", "task stats", "task verify", "task workers", "task retry 1"] {
            let finished = db.lab(args);
            assert_eq!(finished.code, 1, "{finished:?}");
            assert!(
                finished.stderr.starts_with("airun: error: failed to use the database for tasks: 1146 (42S02): ")
                    && finished.stderr.ends_with("; run `airun migrate up` with this binary's migrations first\n"),
                "{finished:?}"
            );
        }
    }

    fn kinds_are_listed_and_unknown_pending_kinds_are_noted(db) {
        db.create_tables();
        let kinds = db.stdout_of("task kinds");
        let lines: Vec<&str> = kinds.lines().collect();
        let header = ["kind", "version", "queue", "priority", "timeout", "attempts", "at", "once", "runs", "in"];
        assert_eq!(lines[0].split_whitespace().collect::<Vec<_>>(), header);
        for line in [
            "act_apart 1 default normal 1m 2 any a process",
            "single 1 default normal 1m 10 1 a thread",
            "script 1 default normal 1m 2 any the program `sh`",
        ] {
            let is_it = |other: &&str| other.split_whitespace().eq(line.split_whitespace());
            assert!(lines.iter().any(is_it), "{line}: {kinds}");
        }
        db.execute(&["INSERT INTO ai_server_tasks (kind, payload_version, payload) VALUES ('newer', 1, '1'), ('versioned', 3, '1'), ('echo', 1, '1'), ('newer', 1, '2')"]);
        let finished = db.lab("task kinds");
        assert_eq!(
            finished.stderr,
            "airun: note: this binary does not know kind `newer` version 1; its tasks are left to another binary\n\
             airun: note: this binary does not know kind `versioned` version 3; its tasks are left to another binary\n"
        );
        let json = db.json("task kinds");
        assert_eq!(json["unknown"], serde_json::json!([{"kind": "newer", "version": 1}, {"kind": "versioned", "version": 3}]));
        let single = json["kinds"].as_array().unwrap().iter().find(|kind| kind["kind"] == "single").unwrap();
        assert_eq!(
            *single,
            serde_json::json!({"kind": "single", "version": 1, "queue": "default", "priority": "normal", "timeout_ms": 60_000,
                "max_attempts": 10, "concurrency": 1, "isolation": "thread"})
        );
    }

    fn enqueue_stores_every_option(db) {
        db.create_tables();
        assert_eq!(db.stdout_of("task enqueue echo [1,\"zwei\"]"), "1\n");
        assert_eq!(db.stdout_of("task enqueue echo -5 --queue other --priority urgent --timeout 90s --max-attempts 3 --delay 1h --dedupe-key k"), "2\n");
        assert_eq!(db.stdout_of("task enqueue versioned 7 --payload-version 1"), "3\n");
        assert_eq!(db.stdout_of("task enqueue newer {} --unchecked --payload-version 4"), "4\n");
        assert_eq!(db.stdout_of("task enqueue once 7 --unchecked"), "5\n");
        let input = db.lab_with("task enqueue echo -", "{\"text\": \"it's \\\\ ünïcode\"}\n");
        assert_eq!(parts(input), (0, "6\n".to_owned(), String::new()));
        assert_eq!(
            db.rows("SELECT kind, payload_version, queue, priority, timeout_ms, max_attempts, dedupe_key, TIMESTAMPDIFF(MINUTE, created_at, next_action_at), payload FROM ai_server_tasks ORDER BY id"),
            [
                "echo|1|default|1|0|0|NULL|0|[1, \"zwei\"]",
                "echo|1|other|0|90000|3|k|60|-5",
                "versioned|1|default|1|0|0|NULL|0|7",
                "newer|4|default|1|0|0|NULL|0|{}",
                "once|1|default|1|0|0|NULL|0|7",
                "echo|1|default|1|0|0|NULL|0|{\"text\": \"it's \\\\ ünïcode\"}",
            ]
            .map(|row| if db.kind == crate::support::Kind::MariaDb { row.replace("[1, ", "[1,") } else { row.to_owned() })
        );
        let again = db.lab("task enqueue echo 8 --dedupe-key k");
        let note = "airun: note: task 2 is pending or running and has this dedupe key; nothing was enqueued\n";
        assert_eq!(parts(again), (0, "2\n".to_owned(), note.to_owned()));
        assert_eq!(db.json("task enqueue echo 8 --dedupe-key k"), serde_json::json!({"format": 1, "id": 2, "inserted": false}));
        assert_eq!(db.rows("SELECT COUNT(*) FROM ai_server_tasks"), ["6"]);
    }

    fn enqueued_lines_are_all_or_none(db) {
        db.create_tables();
        let lines: String = (0..2500).map(|key| format!("{{\"key\": {key}}}\n")).collect();
        let enqueued = db.lab_with("task enqueue once --lines --delay 1h", &lines);
        assert_eq!(parts(enqueued), (0, "enqueued 2500 tasks\n".to_owned(), String::new()));
        let keys = "SELECT COUNT(*), COUNT(DISTINCT JSON_VALUE(payload, '$.key')) FROM ai_server_tasks";
        assert_eq!(db.rows(keys), ["2500|2500"]);
        let json = db.lab_with("task enqueue once --lines --json", "\n {\"key\": 1} \n\n{\"key\": 2}");
        assert_eq!(parts(json), (0, "{\"format\":1,\"enqueued\":2}\n".to_owned(), String::new()));
        let wrong = db.lab_with("task enqueue once --lines", &format!("{lines}{{\"kay\": 1}}\n"));
        assert_eq!(
            parts(wrong),
            (2, String::new(), "airun: error: line 2501; nothing was enqueued: `once` version 1 can't decode this payload: missing field `key` at line 1 column 10; `--unchecked` enqueues it anyway\n".to_owned())
        );
        assert_eq!(db.rows("SELECT COUNT(*) FROM ai_server_tasks"), ["2502"]);
    }

    fn list_shows_the_newest_first(db) {
        db.create_tables();
        assert_eq!(db.stdout_of("task list"), format!("no tasks in `{}`\n", db.name));
        for n in 1..=5 {
            enqueue(db, if n % 2 == 0 { "echo" } else { "noop" }, &n.to_string());
        }
        db.stdout_of("task enqueue echo 6 --queue other --delay 1h");
        assert_eq!(ids(db, ""), [6, 5, 4, 3, 2, 1]);
        assert_eq!(ids(db, "--limit 2"), [6, 5]);
        assert_eq!(ids(db, "--kind echo"), [6, 4, 2]);
        assert_eq!(ids(db, "--queue default --kind echo --state pending,dead"), [4, 2]);
        assert_eq!(ids(db, "--state dead"), [0; 0]);
        // Finished tasks are listed by the time at which they finished, newest first.
        for id in [3, 1, 5] {
            db.stdout_of(&format!("task cancel {id}"));
        }
        assert_eq!(ids(db, "--state cancelled"), [5, 1, 3]);
        assert_eq!(ids(db, "--state cancelled --limit 1"), [5]);
        db.execute(&[
            "UPDATE ai_server_tasks SET failures = 2, last_error = 'the lamp is broken\nERROR forged', next_action_at = UTC_TIMESTAMP(6) + INTERVAL 1 DAY WHERE id = 4",
            "UPDATE ai_server_tasks SET state = 'dead', finished_at = created_at WHERE id = 1",
        ]);
        let table = db.stdout_of("task list");
        let lines: Vec<&str> = table.lines().collect();
        let columns: Vec<&str> = lines[0].split_whitespace().collect();
        assert_eq!(columns, ["id", "state", "kind", "queue", "priority", "failed", "when", "error"], "{table}");
        assert!(lines[3].starts_with("4   pending    echo  default  normal    2/10    due in 23h "), "{table}");
        assert!(lines[3].ends_with("s  the lamp is broken…"), "{table}");
        assert!(lines[6].starts_with("1   dead       noop  default  normal    0/10    ") && lines[6].ends_with(" ago"), "{table}");
        let list = db.json("task list --limit 1 --state pending --kind echo --queue default");
        assert_eq!(list["database"], db.name.as_str());
        for (field, value) in [("id", 2.into()), ("state", "pending".into()), ("priority", 1.into()), ("failures", 0.into()),
            ("started_at", serde_json::Value::Null), ("cancel_requested", false.into()), ("worker_id", 0.into())] {
            // Task 2 is listed after task 4.
            let task = &db.json("task list --state pending --kind echo --queue default")["tasks"][1];
            assert_eq!(task[field], value, "{field}");
        }
    }

    fn show_prints_every_field_of_a_task(db) {
        db.create_tables();
        db.execute(&["CREATE TABLE effects (effect BIGINT UNSIGNED PRIMARY KEY)"]);
        let worker = db.worker();
        let running = enqueue(db, "act", "{\"progress\":42}");
        db.wait_for_rows(&format!("SELECT progress FROM ai_server_tasks WHERE id = {running}"), &["42"]);
        let shown = db.json(&format!("task show {running}"));
        assert_eq!((&shown["state"], &shown["progress"]), (&"running".into(), &42.into()), "{shown}");
        assert_eq!(shown["pid"], worker.id());
        assert_eq!(shown["hostname"].as_str().unwrap(), std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim());
        let table = db.stdout_of(&format!("task show {running}"));
        assert!(table.contains(&format!(", process {} on ", worker.id())), "{table}");
        let failed = enqueue(db, "fails", "\"fatal\"");
        db.wait_for_state(failed, "dead");
        let table = db.stdout_of(&format!("task show {failed}"));
        assert!(table.contains("\nstate         dead, ") && table.contains("\nlast error    no such lamp\n"), "{table}");
        assert!(table.contains("\npayload       \"fatal\"\n") && table.contains("\nfailed        1/3\n"), "{table}");
        let echo = enqueue(db, "echo", "{\"a\":1}");
        db.wait_for_state(echo, "succeeded");
        let shown = db.json(&format!("task show {echo}"));
        assert_eq!((&shown["result"], &shown["payload"]), (&serde_json::json!({"a": 1}), &serde_json::json!({"a": 1})));
        assert!(shown["finished_at"].as_str() >= shown["started_at"].as_str(), "{shown}");
        let at = db.rows(&format!("SELECT created_at FROM ai_server_tasks WHERE id = {echo}")).concat();
        assert_eq!(shown["created_at"], format!("{}Z", at.replace(' ', "T")));
        db.stdout_of(&format!("task cancel {running} --wait"));
        refused(db, "task show 99", 1, &format!("no task 99 in `{}`; finished tasks are purged after their retention", db.name));
        stop(worker);
    }

    fn payload_with_line_breaks_is_shown_on_one_line(db) {
        db.create_tables();
        db.execute(&["INSERT INTO ai_server_tasks (kind, payload) VALUES ('echo', '{\n  \"a\":\r\n 1}')"]);
        assert_eq!(db.json("task show 1")["payload"], serde_json::json!({"a": 1}));
        assert!(db.stdout_of("task show 1").lines().last().unwrap().starts_with("payload"));
    }

    fn dead_and_cancelled_tasks_are_retried(db) {
        db.create_tables();
        let worker = db.worker();
        let dead: Vec<u64> = (0..3).map(|_| enqueue(db, "fails", "\"fatal\"")).collect();
        let other = enqueue(db, "once", "{\"key\":1}");
        db.wait_for_rows("SELECT COUNT(*) FROM ai_server_tasks WHERE state = 'dead' AND kind = 'fails'", &["3"]);
        // Its table does not exist yet, so every attempt fails.
        db.wait_for_rows(&format!("SELECT failures > 0 FROM ai_server_tasks WHERE id = {other}"), &["1"]);
        stop(worker);
        db.execute(&[
            "UPDATE ai_server_tasks SET state = 'dead', finished_at = UTC_TIMESTAMP(6), failures = 10 WHERE kind = 'once'",
            "UPDATE ai_server_tasks SET payload = '{\"times\": 0}' WHERE kind = 'fails'",
            "CREATE TABLE effects (effect BIGINT UNSIGNED PRIMARY KEY)",
        ]);
        let one = dead[0];
        let finished = db.lab(&format!("task retry {one} {one} 99"));
        assert_eq!(
            parts(finished),
            (1, format!("task {one} is pending again\n"), format!("airun: error: task {one} is pending, not dead or cancelled\nairun: error: no task 99 in `{}`; finished tasks are purged after their retention\n", db.name))
        );
        assert_eq!(db.rows(&format!("SELECT state, failures, crashes, cancel_requested, finished_at, next_action_at <= UTC_TIMESTAMP(6), last_error FROM ai_server_tasks WHERE id = {one}")),
            ["pending|0|0|0|1970-01-01 00:00:00.000000|1|no such lamp"]);
        assert_eq!(db.stdout_of("task retry --dead --kind fails"), "2 tasks are pending again\n");
        assert_eq!(db.stdout_of("task retry --dead"), "1 task is pending again\n");
        let cancelled = enqueue(db, "echo", "1");
        db.stdout_of(&format!("task cancel {cancelled}"));
        assert_eq!(db.stdout_of(&format!("task retry {cancelled}")), format!("task {cancelled} is pending again\n"));
        let worker = db.worker();
        db.wait_until_idle();
        assert_eq!(db.rows("SELECT state, COUNT(*) FROM ai_server_tasks GROUP BY state"), ["succeeded|5"]);
        assert_eq!(db.stdout_of("task verify"), "checked 5 tasks: all invariants hold\n");
        stop(worker);
    }

    fn bulk_retry_skips_tasks_whose_dedupe_key_is_taken(db) {
        db.create_tables();
        let rows: Vec<String> = (0..1200).map(|n| format!("('echo', 'null', 'dead', IF({n} % 100 = 0, 'key{n}', NULL), UTC_TIMESTAMP(6))")).collect();
        db.execute(&[
            &format!("INSERT INTO ai_server_tasks (kind, payload, state, dedupe_key, finished_at) VALUES {}", rows.join(", ")),
            // All of them have the same time, so a batch can only continue after the last id.
            "UPDATE ai_server_tasks SET next_action_at = '2030-01-01'",
            "INSERT INTO ai_server_tasks (kind, payload, dedupe_key) VALUES ('echo', 'null', 'key100'), ('echo', 'null', 'key700')",
        ]);
        let finished = db.lab("task retry --dead");
        assert_eq!(
            parts(finished),
            (0, "1198 tasks are pending again\n".to_owned(), "airun: note: 2 tasks stayed dead, because pending or running tasks have the same dedupe keys\n".to_owned())
        );
        assert_eq!(db.rows("SELECT dedupe_key FROM ai_server_tasks WHERE state = 'dead' ORDER BY id"), ["key100", "key700"]);
        let dead = db.rows("SELECT MIN(id) FROM ai_server_tasks WHERE state = 'dead'").concat();
        refused(db, &format!("task retry {dead}"), 1, &format!("task {dead} can't be retried: a pending or running task has the same dedupe key; cancel that one first"));
    }

    fn cancel_ends_pending_tasks_and_asks_running_ones(db) {
        db.create_tables();
        let waiting: u64 = db.stdout_of("task enqueue echo 1 --delay 1h").trim().parse().unwrap();
        assert_eq!(db.stdout_of(&format!("task cancel {waiting}")), format!("task {waiting} is cancelled\n"));
        assert_eq!(
            db.rows(&format!("SELECT state, worker_id, finished_at > created_at, TIMESTAMPDIFF(HOUR, finished_at, next_action_at) FROM ai_server_tasks WHERE id = {waiting}")),
            ["cancelled|0|1|168"]
        );
        let worker = db.worker();
        let running = enqueue(db, "act", "{\"wait_ms\":600000}");
        let apart = enqueue(db, "act_apart", "\"hang\"");
        for id in [running, apart] {
            db.wait_for_state(id, "running");
        }
        let asked = format!("task {running} is running; requested its cancellation\ntask {apart} is running; requested its cancellation\n");
        assert_eq!(db.stdout_of(&format!("task cancel {running} {apart} --wait=60s")), format!("{asked}task {running} is cancelled\ntask {apart} is cancelled\n"));
        refused(db, &format!("task cancel {running}"), 1, &format!("task {running} is cancelled, not pending or running"));
        stop(worker);
    }

    fn cancel_with_wait_gives_up_on_a_task_that_ignores_it(db) {
        db.create_tables();
        let worker = db.worker();
        let hung = enqueue(db, "act", "\"hang\"");
        db.wait_for_state(hung, "running");
        let finished = db.lab(&format!("task cancel {hung} --wait=0"));
        assert_eq!(finished.code, 1, "{finished:?}");
        assert!(finished.stderr.contains(&format!("task {hung} is still running; its run ends when the handler checks `is_cancelled`")), "{finished:?}");
        worker.signal("KILL");
        worker.finish();
    }

    fn stats_count_up_to_a_limit_that_they_state(db) {
        db.create_tables();
        assert_eq!(db.stdout_of("task stats"), format!("no tasks in `{}`\nworkers: 0 alive\n", db.name));
        db.execute(&["INSERT INTO ai_server_tasks (kind, payload, priority, queue, scheduled_at) VALUES ('echo', '1', 0, 'default', UTC_TIMESTAMP(6) - INTERVAL 2 HOUR), ('echo', '1', 1, 'default', UTC_TIMESTAMP(6) + INTERVAL 1 HOUR), ('noop', '1', 1, 'other', UTC_TIMESTAMP(6) - INTERVAL 1 HOUR)"]);
        db.stdout_of("task enqueue echo 1 --delay 1h");
        db.stdout_of("task cancel 4");
        db.stdout_of("task pause --kind noop");
        let table = db.stdout_of("task stats");
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines[0], "kind  queue    pending  due  oldest  running  succeeded  dead  cancelled", "{table}");
        assert!(lines[1].starts_with("echo  default  2        1    2h") && lines[1].ends_with("0        0          0     1"), "{table}");
        assert!(lines[2].starts_with("noop  other    1        1    1h"), "{table}");
        assert!(lines[3].starts_with("the kind `noop` is paused since 20") && lines[3].ends_with(" UTC"), "{table}");
        assert_eq!(lines[4..], ["workers: 0 alive"]);
        let json = db.json("task stats");
        assert_eq!(json["tasks"][0]["states"], serde_json::json!({"pending": {"count": 2, "at_least": false}, "cancelled": {"count": 1, "at_least": false}}));
        assert_eq!((&json["tasks"][0]["due"]["count"], &json["paused"][0]["name"]), (&1.into(), &"noop".into()));
        let oldest = json["oldest_due_ms"].as_i64().unwrap();
        assert!((7_200_000..7_300_000).contains(&oldest), "{json}");
        // This is more than the number up to which rows are counted.
        let rows = vec!["('bulk', '1', 'succeeded', '2020-01-01')"; 10_001].join(", ");
        for _ in 0..10 {
            db.execute(&[&format!("INSERT INTO ai_server_tasks (kind, payload, state, finished_at) VALUES {rows}")]);
        }
        let table = db.stdout_of("task stats");
        assert!(table.contains(" 100000+ ") && table.contains("`+`: counting stopped at 100000 tasks of a group; `--exact` counts all\n"), "{table}");
        let exact = db.stdout_of("task stats --exact");
        assert!(exact.contains(" 100010 ") && !exact.contains('+'), "{exact}");
    }

    fn paused_kind_or_queue_is_not_claimed(db) {
        db.create_tables();
        let worker = db.worker();
        assert_eq!(db.stdout_of("task pause --kind echo"), "paused the kind `echo`; tasks that are claimed already still run\n");
        assert_eq!(db.stdout_of("task pause --kind echo"), "the kind `echo` is already paused\n");
        let slip = db.lab("task pause --kind nop");
        assert_eq!((slip.code, slip.stderr.as_str()), (0, "airun: note: this binary has no kind `nop`; did you mean `noop`?\n"));
        // After this task has run, the worker has polled since the pause. An earlier poll could still claim `echo`.
        let marker = enqueue(db, "noop", "1");
        db.wait_for_state(marker, "succeeded");
        let paused = enqueue(db, "echo", "1");
        for _ in 0..3 {
            let passed = enqueue(db, "noop", "1");
            db.wait_for_state(passed, "succeeded");
        }
        assert_eq!(db.rows(&format!("SELECT state, claim_count FROM ai_server_tasks WHERE id = {paused}")), ["pending|0"]);
        assert_eq!(db.stdout_of("task resume --kind echo"), "resumed the kind `echo`\n");
        db.wait_for_state(paused, "succeeded");
        assert_eq!(db.stdout_of("task resume --kind echo"), "the kind `echo` is not paused\n");
        db.stdout_of("task pause --queue default");
        // With the queue paused, no task can show that the worker has polled again, so the worker is replaced.
        db.wait_for_rows("SELECT COUNT(*) FROM ai_server_controls WHERE scope = 'queue' AND paused", &["1"]);
        stop(worker);
        let worker = db.worker();
        let held = enqueue(db, "echo", "2");
        stop(worker);
        assert_eq!(db.rows(&format!("SELECT state, claim_count FROM ai_server_tasks WHERE id = {held}")), ["pending|0"]);
        let worker = db.worker();
        assert_eq!(db.stdout_of("task resume --queue default"), "resumed the queue `default`\n");
        db.wait_for_state(held, "succeeded");
        stop(worker);
    }

    fn purge_deletes_only_finished_tasks(db) {
        db.create_tables();
        let ended = |state: &str, hours: u32, keep: u32| {
            format!("('echo', '1', '{state}', UTC_TIMESTAMP(6) - INTERVAL {hours} HOUR, UTC_TIMESTAMP(6) - INTERVAL {hours} HOUR + INTERVAL {keep} HOUR)")
        };
        let mut rows = vec![ended("succeeded", 10, 5), ended("succeeded", 10, 20), ended("dead", 30, 100), ended("cancelled", 1, 2)];
        rows.extend(std::iter::repeat_with(|| ended("succeeded", 50, 500)).take(2500));
        db.execute(&[
            &format!("INSERT INTO ai_server_tasks (kind, payload, state, finished_at, next_action_at) VALUES {}", rows.join(", ")),
            "INSERT INTO ai_server_tasks (kind, payload, scheduled_at) VALUES ('echo', '1', '2020-01-01')",
        ]);
        let left = || db.rows("SELECT state, COUNT(*) FROM ai_server_tasks GROUP BY state ORDER BY state");
        assert_eq!(db.stdout_of("task purge"), "purged 1 task whose retention is over\n");
        assert_eq!(left(), ["pending|1", "succeeded|2501", "dead|1", "cancelled|1"]);
        assert_eq!(db.stdout_of("task purge --older-than 20h --state dead,cancelled"), "purged 1 task that finished more than 20h ago\n");
        assert_eq!(left(), ["pending|1", "succeeded|2501", "cancelled|1"]);
        assert_eq!(db.stdout_of("task purge --older-than 1d"), "purged 2500 tasks that finished more than 1d ago\n");
        assert_eq!(left(), ["pending|1", "succeeded|1", "cancelled|1"]);
        assert_eq!(db.stdout_of("task purge --older-than 0s"), "purged 2 tasks that finished more than 0s ago\n");
        assert_eq!(left(), ["pending|1"]);
    }

    fn check_reports_payloads_that_this_binary_cannot_decode(db) {
        db.create_tables();
        assert_eq!(db.stdout_of("task check"), "decoded all pending payloads: 0 tasks\n");
        // These are more than one page, and all of them have the same time.
        let rows = vec!["('once', '{\"key\": 1}', '2020-01-01')"; 250].join(", ");
        db.execute(&[&format!("INSERT INTO ai_server_tasks (kind, payload, scheduled_at) VALUES {rows}")]);
        assert_eq!(db.stdout_of("task check"), "decoded all pending payloads: 250 tasks\n");
        db.execute(&["INSERT INTO ai_server_tasks (kind, payload_version, payload) VALUES ('versioned', 1, '7'), ('versioned', 2, '7'), ('versioned', 3, '7'), ('newer', 1, '{')".replace("'{'", "'{}'").as_str()]);
        let ids = db.rows("SELECT id FROM ai_server_tasks WHERE payload_version = 2").concat();
        let finished = db.lab("task check");
        assert_eq!(
            parts(finished),
            (
                1,
                format!("task {ids} of kind `versioned` version 2: invalid type: integer `7`, expected struct Versioned at line 1 column 1\n\
                         1 of 252 tasks can't be decoded and would be dead after the deploy; let the handler decode their payloads, or give it a higher version\n"),
                "airun: note: this binary does not know kind `newer` version 1; its tasks are left to another binary\n\
                 airun: note: this binary does not know kind `versioned` version 3; its tasks are left to another binary\n".to_owned(),
            )
        );
        db.execute(&["UPDATE ai_server_tasks SET payload = '{\"kay\": 1}' WHERE kind = 'once' AND id % 2 = 0"]);
        let json = db.json("task check");
        assert_eq!(json["undecodable_count"].as_u64(), db.rows("SELECT COUNT(*) + 1 FROM ai_server_tasks WHERE payload LIKE '%kay%'").concat().parse().ok());
        assert_eq!(json["undecodable"].as_array().unwrap().len(), 11);
        assert_eq!(json["unknown"], serde_json::json!([{"kind": "newer", "version": 1}, {"kind": "versioned", "version": 3}]));
    }

    fn workers_are_listed_as_alive_or_dead(db) {
        db.create_tables();
        assert_eq!(db.stdout_of("task workers"), format!("no worker runs tasks of `{}`; `airun worker` starts one\n", db.name));
        let worker = db.worker();
        let id = enqueue(db, "act", "{\"wait_ms\":600000}");
        db.wait_for_state(id, "running");
        let json = db.json("task workers");
        let listed = &json["workers"][0];
        assert_eq!((&listed["pid"], &listed["running"]), (&worker.id().into(), &1.into()), "{json}");
        assert_ne!(listed["state"], "dead", "{json}");
        let table = db.stdout_of("task workers");
        assert!(table.starts_with("worker  state  hostname") && table.contains(&format!("  {}  ", worker.id())), "{table}");
        assert!(db.stdout_of("task stats").ends_with("workers: 1 alive\n"));
        worker.signal("KILL");
        worker.finish();
        // The lock is released only when the server notices that the connection has ended.
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while db.json("task workers")["workers"][0]["state"] != "dead" {
            assert!(std::time::Instant::now() < deadline);
        }
        assert!(db.stdout_of("task stats").ends_with("workers: 0 alive, 1 dead\n"));
    }
}

/// Only MySQL counts the rows that each statement examines.
#[test]
fn list_reads_only_the_rows_that_it_shows() {
    let db = Database::new(crate::support::Kind::MySql);
    db.create_tables();
    let rows = vec!["('echo', '1', 'succeeded', '2020-01-01')"; 5000].join(", ");
    db.execute(&[&format!("INSERT INTO ai_server_tasks (kind, payload, state, finished_at) VALUES {rows}")]);
    // The table has a limited size, and the statements of other tests may have filled it.
    db.execute(&["TRUNCATE TABLE performance_schema.events_statements_summary_by_digest"]);
    for args in ["", "--state succeeded", "--kind echo", "--queue default"] {
        assert_eq!(ids(&db, args).len(), 20, "{args}");
    }
    let read = format!(
        "SELECT COUNT(*), MAX(SUM_ROWS_EXAMINED / COUNT_STAR) < 200, SUM(SUM_SORT_ROWS) \
         FROM performance_schema.events_statements_summary_by_digest \
         WHERE SCHEMA_NAME = '{}' AND DIGEST_TEXT LIKE 'SELECT `t` . `id`%'",
        db.name
    );
    assert_eq!(db.rows(&read), ["2|1|0"]);
}
