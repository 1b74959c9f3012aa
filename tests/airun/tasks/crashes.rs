//! Workers that die, stand still, or lose their connection.

use mysql::prelude::Queryable as _;

use super::{number_after, prepare, put, put_with, stop, task, until, until_done, until_ended, until_state, worker};
use crate::on_both;
use crate::support::{Database, Running};

/// Starts two workers, and one long task on one of them; that one, the other, the task, its process.
fn running_on_one_of_two(db: &Database, kind: &str, deed: &str) -> (Running, Running, u64) {
    let mut first = worker(db, "");
    let id = put(db, kind, deed);
    let begun = first.wait_for("begun in process ");
    assert!(begun.contains(&format!(" id={id} ")), "{begun}");
    (first, worker(db, ""), id)
}

on_both! {
    fn what_a_killed_worker_ran_runs_again_within_five_seconds(db) {
        prepare(db);
        let (first, mut second, id) = running_on_one_of_two(db, "act", r#"{"wait_ms": 2000}"#);
        until(db, "SELECT COUNT(*) FROM ai_server_workers", &["2"]);
        let killed = db.rows("SELECT UTC_TIMESTAMP(6)").concat();
        first.signal("KILL");
        second.wait_for("worker 1 has gone: 1 of its tasks are pending again");
        until_state(db, id, "succeeded");
        stop(second);
        let after = format!("claims, failures, crashes, started_at BETWEEN '{killed}' AND '{killed}' + INTERVAL 5 SECOND");
        assert_eq!(task(db, id, &after), "2|0|1|1");
        assert!(db.rows("SELECT id FROM ai_server_workers").is_empty());
    }

    fn a_task_that_kills_its_worker_is_dead_and_takes_no_other_with_it(db) {
        prepare(db);
        let innocents: Vec<u64> = (0..5).map(|_| put(db, "act", r#"{"wait_ms": 3000}"#)).collect();
        let mut first = worker(db, "");
        for _ in &innocents {
            first.wait_for("begun in process ");
        }
        let guilty = put(db, "act", r#""abort""#);
        assert_eq!(first.finish().code, 128 + 6);
        // Nobody is left to take them over until the supervisor starts the next one.
        let second = worker(db, "");
        until_done(db);
        let log = stop(second).stderr;
        let fate = "state, claims, failures, crashes, last_error";
        let dead = "dead|3|0|3|worker_lost: its process ended without a result: signal 6 (SIGABRT)";
        assert_eq!(task(db, guilty, fate), dead, "{log}");
        for id in innocents {
            assert_eq!(task(db, id, "state, failures, crashes <= 1, last_error"), "succeeded|0|1|NULL", "{log}");
        }
    }

    fn a_worker_that_stands_still_loses_its_tasks_and_cannot_overwrite(db) {
        prepare(db);
        let (first, second, id) = running_on_one_of_two(db, "act", r#"{"wait_ms": 1500}"#);
        first.signal("STOP");
        // Its lock is still held, so the end of the lease decides. That is half a minute off.
        db.execute(&["UPDATE ai_server_tasks SET due_at = UTC_TIMESTAMP(6)"]);
        until_state(db, id, "succeeded");
        let before = task(db, id, "state, claims, failures, crashes, started_at, finished_at");
        assert!(before.starts_with("succeeded|2|0|1|"), "{before}");
        first.signal("CONT");
        // What it does then is written before it ends.
        let log = stop(first).stderr;
        assert!(log.contains(&format!("the outcome of task {id} came too late: it was given to another run")), "{log}");
        assert_eq!(task(db, id, "state, claims, failures, crashes, started_at, finished_at"), before);
        stop(second);
    }

    fn a_worker_that_only_lost_its_connection_keeps_its_tasks(db) {
        prepare(db);
        let (mut first, second, id) = running_on_one_of_two(db, "act", r#"{"wait_ms": 8000}"#);
        let lock = "CONCAT('airun:worker:', LEFT(SHA2(DATABASE(), 256), 24), ':1')";
        let mut last = String::new();
        for _ in 0..4 {
            let present = format!("SELECT missing_at IS NULL AND IS_USED_LOCK({lock}) > 0 FROM ai_server_workers WHERE id = 1");
            until(db, &format!("{present} AND IS_USED_LOCK({lock}) <> '{last}'"), &["1"]);
            last = db.rows(&format!("SELECT IS_USED_LOCK({lock})")).concat();
            db.execute(&[&format!("KILL {last}")]);
            first.wait_for("lost the connection to the database: ");
        }
        until_state(db, id, "succeeded");
        let log = stop(second).stderr;
        assert!(!log.contains("has gone"), "{log}");
        stop(first);
        assert_eq!(task(db, id, "claims, failures, crashes"), "1|0|0");
    }

    fn a_row_that_a_transaction_has_locked_keeps_no_other_from_being_rescued(db) {
        prepare(db);
        let (mut first, second, id) = running_on_one_of_two(db, "act", r#"{"wait_ms": 500}"#);
        let locked = put(db, "act", r#"{"wait_ms": 60000}"#);
        until_state(db, locked, "running");
        let mut conn = db.conn();
        conn.query_drop("BEGIN").unwrap();
        conn.query_drop(format!("UPDATE ai_server_tasks SET progress = '1' WHERE id = {locked}")).unwrap();
        until_state(db, id, "succeeded");
        let more: Vec<u64> = (0..5).map(|_| put(db, "act_apart", r#"{"wait_ms": 1500}"#)).collect();
        until(db, "SELECT COUNT(*) > 3 FROM ai_server_tasks WHERE state = 'running'", &["1"]);
        assert!(first.is_running());
        first.signal("KILL");
        second.signal("KILL");
        let third = worker(db, "");
        for id in more {
            until_state(db, id, "succeeded");
        }
        assert_eq!(task(db, locked, "state, claims"), "running|1");
        conn.query_drop("ROLLBACK").unwrap();
        until(db, &format!("SELECT claims FROM ai_server_tasks WHERE id = {locked}"), &["2"]);
        stop(third);
    }

    fn a_killed_workers_processes_do_not_run_beside_their_successors(db) {
        prepare(db);
        let mut first = worker(db, "");
        let id = put_with(db, "act_apart", r#""hang""#, ", timeout_ms = 5000, max_attempts = 1");
        let process = number_after(&first.wait_for("begun in process "), "begun in process ");
        first.signal("KILL");
        let mut second = worker(db, "");
        second.wait_for("begun in process ");
        until_ended(process);
        until_state(db, id, "dead");
        stop(second);
        assert_eq!(task(db, id, "claims, failures, crashes"), "2|1|1");
    }
}
