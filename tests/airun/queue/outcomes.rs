//! Tests the state of a task after each way in which its run can end.

use super::{insert_task, insert_task_with, task, worker};
use crate::on_both;
use crate::support::stop;

on_both! {
    fn handler_that_wrongly_reports_a_shutdown_has_failed(db) {
        db.create_tables();
        let ids = ["act", "act_apart"].map(|kind| [r#""say_stopping""#, r#""say_lost""#].map(|deed| insert_task(db, kind, deed)));
        let worker = worker(db, "");
        db.wait_until_idle();
        stop(worker);
        for [stopping, lost] in ids {
            let fate = |id| task(db, id, "state, failures, last_error");
            assert_eq!(fate(stopping), "dead|2|the task returned `Interrupted` (the worker is stopping), but it was not interrupted");
            assert_eq!(fate(lost), "dead|2|the task returned `Interrupted` (its lease expired and the task was given to another run), but it was not interrupted");
        }
    }

    fn row_with_a_zero_date_blocks_no_other(db) {
        use mysql::prelude::Queryable as _;
        db.create_tables();
        let mut conn = db.conn();
        conn.query_drop("SET sql_mode = ''").unwrap();
        conn.query_drop("INSERT INTO ai_server_tasks (kind, payload, scheduled_at) VALUES ('echo', '1', '0000-00-00')").unwrap();
        let worker = worker(db, "");
        db.wait_until_idle();
        assert_eq!(db.rows("SELECT state, claim_count FROM ai_server_tasks"), ["succeeded|1"]);
        stop(worker);
    }

    fn succeeded_task_keeps_its_result(db) {
        db.create_tables();
        let noop = insert_task(db, "noop", "{}");
        let echo = insert_task(db, "echo", r#"{"a": [1, "é\n'\\"]}"#);
        let worker = worker(db, "");
        db.wait_until_idle();
        let ended = stop(worker);
        let columns = "state, claim_count, failures, crashes, worker_id, last_error, created_at <= started_at, \
                       started_at <= finished_at, next_action_at > UTC_TIMESTAMP() + INTERVAL 6 DAY, \
                       JSON_UNQUOTE(JSON_EXTRACT(result, '$.a[1]'))";
        assert_eq!(task(db, noop, columns), "succeeded|1|0|0|0|NULL|1|1|1|NULL");
        assert_eq!(task(db, echo, columns), "succeeded|1|0|0|0|NULL|1|1|1|é\n'\\");
        assert!(db.rows("SELECT * FROM ai_server_workers").is_empty(), "{}", ended.stderr);
    }

    fn failing_task_is_retried_until_it_is_dead(db) {
        db.create_tables();
        let error = insert_task(db, "fails", r#""error""#);
        let panic = insert_task(db, "fails", r#""panic""#);
        let twice = insert_task(db, "fails", r#"{"times": 2}"#);
        let worker = worker(db, "");
        db.wait_until_idle();
        let log = stop(worker).stderr;
        let columns = "state, claim_count, failures, crashes, result, last_error";
        assert_eq!(task(db, error, columns), "dead|3|3|0|NULL|the lamp is broken\nERROR forged line");
        assert_eq!(task(db, twice, columns), "succeeded|3|2|0|3|the lamp is broken\nERROR forged line");
        let panicked = task(db, panic, columns);
        assert!(panicked.starts_with("dead|3|3|0|NULL|panicked at examples/lab/tasks.rs:"), "{panicked}");
        assert!(panicked.ends_with(": out of paper"), "{panicked}");
        let says = |line: &str, part: &str| line.contains(part) && line.contains(&format!("task=fails id={error}"));
        let again = r"[WARN] attempt 1 failed, retrying in 50ms: the lamp is broken\nERROR forged line";
        assert!(log.lines().any(|line| says(line, again)), "{log}");
        assert!(log.lines().any(|line| says(line, "[ERROR] dead after attempt 3: the lamp is broken")), "{log}");
        assert!(!log.lines().any(|line| line.starts_with("ERROR forged")), "{log}");
        assert!(!log.contains("RUST_BACKTRACE"), "{log}");
    }

    fn failure_decides_whether_and_when_to_retry(db) {
        db.create_tables();
        let fatal = insert_task(db, "fails", r#""fatal""#);
        let later = insert_task(db, "fails", r#"{"retry_after_ms": 700}"#);
        let never = insert_task_with(db, "act", r#"{"retry_after_s": 18446744073709551615}"#, ", max_attempts = 9");
        let worker = worker(db, "");
        db.wait_for_state(fatal, "dead");
        db.wait_for_state(later, "succeeded");
        db.wait_for_rows(&format!("SELECT state, failures FROM ai_server_tasks WHERE id = {never}"), &["pending|1"]);
        stop(worker);
        assert_eq!(task(db, fatal, "state, claim_count, failures, last_error"), "dead|1|1|no such lamp");
        let waited = "state, failures, result, last_error, started_at >= created_at + INTERVAL 700000 MICROSECOND";
        assert_eq!(task(db, later, waited), "succeeded|1|2|too many requests|1");
        assert_eq!(task(db, never, "state, next_action_at > UTC_TIMESTAMP() + INTERVAL 50 YEAR"), "pending|1");
    }

    fn undecodable_payload_is_dead_immediately(db) {
        db.create_tables();
        let id = insert_task(db, "once", r#"{"key": "x"}"#);
        let worker = worker(db, "");
        db.wait_until_idle();
        stop(worker);
        let fate = task(db, id, "state, claim_count, failures, last_error");
        assert!(fate.starts_with("dead|1|1|undecodable payload: invalid type: string \"x\", expected u64"), "{fate}");
    }

    fn unknown_kinds_and_newer_versions_are_left_for_other_workers(db) {
        db.create_tables();
        let old = insert_task(db, "versioned", "5");
        let new = insert_task_with(db, "versioned", r#"{"number": 6}"#, ", payload_version = 2");
        let newer = insert_task_with(db, "versioned", "{}", ", payload_version = 3");
        let unknown = insert_task(db, "unknown", "{}");
        let mut worker = worker(db, "");
        worker.wait_for("tasks of kind `unknown` version 1 stay pending: this worker doesn't support them");
        worker.wait_for("tasks of kind `versioned` version 3 stay pending: this worker doesn't support them");
        db.wait_for_rows("SELECT COUNT(*) FROM ai_server_tasks WHERE state = 'succeeded'", &["2"]);
        stop(worker);
        assert_eq!([old, new].map(|id| task(db, id, "result")), ["5", "6"]);
        assert_eq!([newer, unknown].map(|id| task(db, id, "state, claim_count")), ["pending|0", "pending|0"]);
    }

    fn timeout_and_attempts_of_the_row_override_those_of_the_kind(db) {
        db.create_tables();
        let once = insert_task_with(db, "fails", r#""error""#, ", max_attempts = 1");
        let short = insert_task_with(db, "act", r#"{"wait_ms": 60000}"#, ", max_attempts = 1, timeout_ms = 100");
        let often = insert_task_with(db, "act", r#"{"wait_ms": 60000}"#, ", max_attempts = 3, timeout_ms = 10");
        let worker = worker(db, "");
        db.wait_until_idle();
        stop(worker);
        assert_eq!(task(db, once, "state, failures"), "dead|1");
        assert_eq!(task(db, short, "state, failures, last_error"), "dead|1|timed out after 100ms");
        assert_eq!(task(db, often, "state, failures, last_error"), "dead|3|timed out after 10ms");
    }

    fn oversized_result_fails_only_its_own_task(db) {
        db.create_tables();
        // The result is JSON that is nested too deeply for either server.
        let deep = insert_task(db, "script", r#""yes [ | head -n 5000 | tr -d '[:space:]'; yes ] | head -n 5000""#);
        let large = insert_task(db, "act", r#"{"return": 5000000}"#);
        let others: Vec<u64> = (0..20).map(|n| insert_task(db, "echo", &n.to_string())).collect();
        let worker = worker(db, "");
        db.wait_until_idle();
        stop(worker);
        let fate = task(db, deep, "state, failures, last_error");
        assert!(fate.starts_with("dead|2|its result can't be stored: "), "{fate}");
        let fate = task(db, large, "state, failures, last_error");
        assert!(fate.starts_with("dead|2|its result has 5000002 bytes"), "{fate}");
        for (n, id) in others.into_iter().enumerate() {
            assert_eq!(task(db, id, "state, result"), format!("succeeded|{n}"));
        }
    }

    fn uncommitted_completion_is_a_failure(db) {
        db.create_tables();
        let id = insert_task(db, "act", r#""forget_to_commit""#);
        let worker = worker(db, "");
        db.wait_until_idle();
        stop(worker);
        let fate = task(db, id, "state, failures, result, last_error");
        assert_eq!(fate, "dead|2|NULL|its completion was not committed: commit the transaction of `complete_in`");
    }
}
