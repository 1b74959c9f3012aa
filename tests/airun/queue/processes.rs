//! Tests runs in child processes.

use super::{insert_task, insert_task_with, is_alive, number_after, task, wait_for_exit, worker};
use mysql::prelude::Queryable as _;

use crate::on_both;
use crate::support::{stop, wait_until};

on_both! {
    fn process_is_killed_at_its_deadline(db) {
        db.create_tables();
        let ids: Vec<u64> = (0..5)
            .map(|_| insert_task_with(db, "act_apart", r#""hang""#, ", timeout_ms = 1500, max_attempts = 1"))
            .collect();
        let worker = worker(db, "--threads 1");
        db.wait_until_idle();
        stop(worker);
        let after = "TIMESTAMPDIFF(MICROSECOND, started_at, finished_at) - 1500000";
        let late: Vec<i64> = ids
            .iter()
            .map(|id| {
                assert_eq!(task(db, *id, "state, last_error"), "dead|timed out after 1s 500ms, and was killed");
                task(db, *id, after).parse().unwrap()
            })
            .collect();
        // The delay depends on the load of the machine. Five seconds is the grace period of runs in threads.
        assert!(late.iter().all(|late| (0..5_000_000).contains(late)), "{late:?}");
    }

    fn descendants_outside_the_process_group_are_killed_too(db) {
        db.create_tables();
        let id = insert_task_with(db, "act_apart", r#""daemon""#, ", timeout_ms = 3000, max_attempts = 1");
        let mut worker = worker(db, "");
        let daemon = number_after(&worker.wait_for("started process "), "started process ");
        db.wait_for_state(id, "dead");
        wait_for_exit(daemon);
        stop(worker);
    }

    fn query_of_a_killed_process_is_killed_too(db) {
        db.create_tables();
        db.execute(&["CREATE TABLE blocked (id INT PRIMARY KEY)", "INSERT INTO blocked VALUES (1)"]);
        let mut conn = db.conn();
        conn.query_drop("BEGIN").unwrap();
        conn.query_drop("SELECT id FROM blocked FOR UPDATE").unwrap();
        // A statement that waits for a row lock doesn't notice that its client died.
        let id = insert_task_with(db, "act_apart", r#""wait_for_row""#, ", timeout_ms = 2000, max_attempts = 1");
        let worker = worker(db, "");
        wait_until(|| db.runs("UPDATE blocked"));
        db.wait_for_state(id, "dead");
        wait_until(|| !db.runs("UPDATE blocked"));
        assert_eq!(task(db, id, "last_error"), "timed out after 2s, and was killed");
        stop(worker);
    }

    fn crashed_process_fails_only_its_own_task(db) {
        db.create_tables();
        let beside = insert_task(db, "act", r#"{"wait_ms": 1000}"#);
        let abort = insert_task(db, "act_apart", r#""abort""#);
        let exit = insert_task(db, "act_apart", r#"{"exit": 0}"#);
        let mut worker = worker(db, "");
        let begun = worker.wait_for("running in process ");
        assert!(begun.contains(" task=act"), "{begun}");
        db.wait_until_idle();
        stop(worker);
        let fate = "state, claim_count, failures, crashes, last_error";
        assert_eq!(
            task(db, abort, fate),
            "dead|2|2|0|its process ended without a result: signal 6 (SIGABRT)"
        );
        assert_eq!(task(db, exit, fate), "dead|2|2|0|its process ended without a result: exit code 0");
        assert_eq!(task(db, beside, fate), "succeeded|1|0|0|NULL");
    }

    fn handler_in_a_process_may_print_anything(db) {
        db.create_tables();
        let id = insert_task(db, "act_apart", r#""print""#);
        let mut worker = worker(db, "");
        worker.wait_for(&format!("[INFO] printed task=act_apart id={id} attempt=1"));
        worker.wait_for(&format!("[INFO] in two lines task=act_apart id={id} attempt=1"));
        db.wait_for_state(id, "succeeded");
        stop(worker);
        assert_eq!(task(db, id, "result"), r#""done""#);
    }

    fn handler_in_a_process_has_the_same_context_as_in_a_thread(db) {
        db.create_tables();
        let progress = insert_task(db, "act_apart", r#"{"progress": 7}"#);
        let waits = insert_task_with(db, "act_apart", r#"{"wait_ms": 60000}"#, ", timeout_ms = 1000, max_attempts = 1");
        let worker = worker(db, "");
        db.wait_for_rows(&format!("SELECT progress FROM ai_server_tasks WHERE id = {progress}"), &["7"]);
        db.wait_for_state(waits, "dead");
        let fate = task(db, waits, "last_error");
        assert!(fate.starts_with("timed out after 1s"), "{fate}");
        // The other task sees the shutdown and is released.
        stop(worker);
        assert_eq!(task(db, progress, "state, failures, crashes"), "pending|0|0");
    }

    fn process_ends_with_its_worker(db) {
        db.create_tables();
        insert_task(db, "act_apart", r#""hang""#);
        let mut worker = worker(db, "");
        let process = number_after(&worker.wait_for("running in process "), "running in process ");
        assert!(is_alive(process));
        worker.signal("KILL");
        wait_for_exit(process);
    }
}
