//! Runs in processes of their own.

use super::{lives, number_after, put, put_with, task, until_ended, worker};
use mysql::prelude::Queryable as _;

use crate::on_both;
use crate::support::{stop, wait_until};

on_both! {
    fn a_process_is_killed_at_its_deadline(db) {
        db.prepare();
        let ids: Vec<u64> = (0..5)
            .map(|_| put_with(db, "act_apart", r#""hang""#, ", timeout_ms = 1500, max_attempts = 1"))
            .collect();
        let worker = worker(db, "--threads 1");
        db.until_done();
        stop(worker);
        let after = "TIMESTAMPDIFF(MICROSECOND, started_at, finished_at) - 1500000";
        let late: Vec<i64> = ids
            .iter()
            .map(|id| {
                assert_eq!(task(db, *id, "state, last_error"), "dead|timed out after 1s 500ms, and was killed");
                task(db, *id, after).parse().unwrap()
            })
            .collect();
        // How late depends on what else the machine does; nobody waits for the thread's grace.
        assert!(late.iter().all(|late| (0..5_000_000).contains(late)), "{late:?}");
    }

    fn what_left_the_process_group_is_killed_too(db) {
        db.prepare();
        let id = put_with(db, "act_apart", r#""daemon""#, ", timeout_ms = 3000, max_attempts = 1");
        let mut worker = worker(db, "");
        let daemon = number_after(&worker.wait_for("started process "), "started process ");
        db.until_state(id, "dead");
        until_ended(daemon);
        stop(worker);
    }

    fn what_a_killed_process_runs_on_the_server_is_ended_too(db) {
        db.prepare();
        db.execute(&["CREATE TABLE blocked (id INT PRIMARY KEY)", "INSERT INTO blocked VALUES (1)"]);
        let mut conn = db.conn();
        conn.query_drop("BEGIN").unwrap();
        conn.query_drop("SELECT id FROM blocked FOR UPDATE").unwrap();
        // Who waits for a row doesn't notice that its client has gone.
        let id = put_with(db, "act_apart", r#""wait_for_row""#, ", timeout_ms = 2000, max_attempts = 1");
        let worker = worker(db, "");
        wait_until(|| db.runs("UPDATE blocked"));
        db.until_state(id, "dead");
        wait_until(|| !db.runs("UPDATE blocked"));
        assert_eq!(task(db, id, "last_error"), "timed out after 2s, and was killed");
        stop(worker);
    }

    fn a_crash_costs_one_task(db) {
        db.prepare();
        let beside = put(db, "act", r#"{"wait_ms": 1000}"#);
        let abort = put(db, "act_apart", r#""abort""#);
        let exit = put(db, "act_apart", r#"{"exit": 0}"#);
        let mut worker = worker(db, "");
        let begun = worker.wait_for("begun in process ");
        assert!(begun.contains(" task=act"), "{begun}");
        db.until_done();
        stop(worker);
        let fate = "state, claim_count, failures, crashes, last_error";
        assert_eq!(
            task(db, abort, fate),
            "dead|2|2|0|its process ended without a result: signal 6 (SIGABRT)"
        );
        assert_eq!(task(db, exit, fate), "dead|2|2|0|its process ended without a result: exit code 0");
        assert_eq!(task(db, beside, fate), "succeeded|1|0|0|NULL");
    }

    fn a_handler_may_print_what_it_likes(db) {
        db.prepare();
        let id = put(db, "act_apart", r#""print""#);
        let mut worker = worker(db, "");
        worker.wait_for(&format!("[INFO] printed task=act_apart id={id} attempt=1"));
        worker.wait_for(&format!("[INFO] in two lines task=act_apart id={id} attempt=1"));
        db.until_state(id, "succeeded");
        stop(worker);
        assert_eq!(task(db, id, "result"), r#""done""#);
    }

    fn a_handler_apart_can_do_what_one_in_a_thread_can(db) {
        db.prepare();
        let progress = put(db, "act_apart", r#"{"progress": 7}"#);
        let waits = put_with(db, "act_apart", r#"{"wait_ms": 60000}"#, ", timeout_ms = 1000, max_attempts = 1");
        let worker = worker(db, "");
        db.until(&format!("SELECT progress FROM ai_server_tasks WHERE id = {progress}"), &["7"]);
        db.until_state(waits, "dead");
        let fate = task(db, waits, "last_error");
        assert!(fate.starts_with("timed out after 1s"), "{fate}");
        // It is told of the stop, and goes back.
        stop(worker);
        assert_eq!(task(db, progress, "state, failures, crashes"), "pending|0|0");
    }

    fn a_process_does_not_outlive_its_worker(db) {
        db.prepare();
        put(db, "act_apart", r#""hang""#);
        let mut worker = worker(db, "");
        let process = number_after(&worker.wait_for("begun in process "), "begun in process ");
        assert!(lives(process));
        worker.signal("KILL");
        until_ended(process);
    }
}
