//! Tests workers that die, are stopped, or lose their connection.

use mysql::prelude::Queryable as _;

use super::{insert_task, insert_task_with, is_alive, number_after, task, wait_for_exit, worker};
use crate::on_both;
use crate::support::{Database, Running, assert_not_logged, stop};

/// Starts two workers and a task. Returns the worker that runs it, the other one, and the task's id.
fn running_on_one_of_two(db: &Database, kind: &str, deed: &str) -> (Running, Running, u64) {
    let mut first = worker(db, "");
    let id = insert_task(db, kind, deed);
    let begun = first.wait_for("running in process ");
    assert!(begun.contains(&format!(" id={id} ")), "{begun}");
    (first, worker(db, ""), id)
}

on_both! {
    fn killed_workers_task_runs_again_within_five_seconds(db) {
        db.create_tables();
        let (first, mut second, id) = running_on_one_of_two(db, "act", r#"{"wait_ms": 2000}"#);
        db.wait_for_rows("SELECT COUNT(*) FROM ai_server_workers", &["2"]);
        let killed = db.rows("SELECT UTC_TIMESTAMP(6)").concat();
        first.signal("KILL");
        second.wait_for("worker 1 died: rescued 1 task");
        db.wait_for_state(id, "succeeded");
        stop(second);
        let after = format!("claim_count, failures, crashes, started_at BETWEEN '{killed}' AND '{killed}' + INTERVAL 5 SECOND");
        assert_eq!(task(db, id, &after), "2|0|1|1");
        assert!(db.rows("SELECT id FROM ai_server_workers").is_empty());
    }

    fn task_that_kills_its_worker_dies_alone(db) {
        db.create_tables();
        let innocents: Vec<u64> = (0..5).map(|_| insert_task(db, "act", r#"{"wait_ms": 3000}"#)).collect();
        let mut first = worker(db, "");
        for _ in &innocents {
            first.wait_for("running in process ");
        }
        let guilty = insert_task(db, "act", r#""abort""#);
        assert_eq!(first.finish().code, 128 + 6);
        // No worker is left to rescue the tasks until the next one starts.
        let second = worker(db, "");
        db.wait_until_idle();
        let log = stop(second).stderr;
        let fate = "state, claim_count, failures, crashes, last_error";
        let dead = "dead|3|0|3|worker_lost: its process ended without a result: signal 6 (SIGABRT)";
        assert_eq!(task(db, guilty, fate), dead, "{log}");
        for id in innocents {
            assert_eq!(task(db, id, "state, failures, crashes <= 1, last_error"), "succeeded|0|1|NULL", "{log}");
        }
    }

    fn suspended_worker_loses_its_tasks_and_cannot_overwrite_them(db) {
        db.create_tables();
        let mut first = worker(db, "");
        let long = insert_task(db, "act", r#"{"wait_ms": 300000}"#);
        first.wait_for(&format!(" id={long} "));
        let id = insert_task(db, "act", r#"{"sleep_ms": 1500}"#);
        first.wait_for(&format!(" id={id} "));
        let second = worker(db, "");
        first.signal("STOP");
        // The stopped worker still holds its lock, so the tasks are rescued when the lease expires.
        db.wait_for_state(id, "succeeded");
        let before = task(db, id, "state, claim_count, failures, crashes, started_at, finished_at");
        assert!(before.starts_with("succeeded|2|0|1|"), "{before}");
        db.wait_for_rows(&format!("SELECT state, claim_count FROM ai_server_tasks WHERE id = {long}"), &["running|2"]);
        first.signal("CONT");
        // A task that still runs is interrupted, and the outcome of the other one is discarded.
        first.wait_for("interrupting the run: its lease expired and the task was given to another run");
        first.wait_for(&format!("discarded the outcome of task {long}: the task no longer belonged to this run"));
        let log = stop(first).stderr;
        assert!(log.contains(&format!("discarded the outcome of task {id}: ")), "{log}");
        assert_eq!(task(db, id, "state, claim_count, failures, crashes, started_at, finished_at"), before);
        stop(second);
    }

    fn rescued_task_cannot_be_overwritten_before_its_next_claim(db) {
        db.create_tables();
        let mut worker = worker(db, "");
        let id = insert_task(db, "act", r#"{"sleep_ms": 1000}"#);
        worker.wait_for("running in process ");
        db.execute(&["UPDATE ai_server_tasks SET state = 'pending', worker_id = 0, next_action_at = next_action_at + INTERVAL 1 HOUR"]);
        worker.wait_for(&format!("discarded the outcome of task {id}: "));
        stop(worker);
        assert_eq!(task(db, id, "state, claim_count, finished_at"), "pending|1|1970-01-01 00:00:00.000000");
    }

    fn task_that_ran_on_25_dead_workers_is_dead(db) {
        db.create_tables();
        // The task runs isolated, and 24 workers have died while running it.
        let id = insert_task_with(db, "act", r#"{"wait_ms": 60000}"#, ", crashes = 1, claim_count = 24, isolated_runs = 24");
        let mut first = worker(db, "");
        first.wait_for("running in process ");
        let mut second = worker(db, "");
        let other = insert_task(db, "act", r#"{"wait_ms": 500}"#);
        db.wait_for_state(other, "running");
        first.signal("KILL");
        db.wait_for_state(id, "dead");
        assert_eq!(
            task(db, id, "claim_count, isolated_runs, last_error"),
            "25|25|worker_lost: 25 workers died while they ran the task"
        );
        second.wait_for("gave up 1 task after 25 workers died running it");
        db.wait_for_state(other, "succeeded");
        stop(second);
        assert_eq!(db.lab(&format!("task retry {id}")).code, 0);
        assert_eq!(task(db, id, "state, crashes, isolated_runs"), "pending|0|0");
    }

    fn worker_that_lost_its_connection_keeps_its_tasks(db) {
        db.create_tables();
        let (mut first, second, id) = running_on_one_of_two(db, "act", r#"{"wait_ms": 8000}"#);
        let lock = "CONCAT('airun:worker:', LEFT(SHA2(DATABASE(), 256), 24), ':1')";
        let mut last = String::new();
        for _ in 0..4 {
            let present = format!("SELECT suspected_at IS NULL AND IS_USED_LOCK({lock}) > 0 FROM ai_server_workers WHERE id = 1");
            db.wait_for_rows(&format!("{present} AND IS_USED_LOCK({lock}) <> '{last}'"), &["1"]);
            last = db.rows(&format!("SELECT IS_USED_LOCK({lock})")).concat();
            db.execute(&[&format!("KILL {last}")]);
            first.wait_for("lost the connection to the database: ");
        }
        db.wait_for_state(id, "succeeded");
        let log = stop(second).stderr;
        assert_not_logged(&log, " died: ");
        stop(first);
        assert_eq!(task(db, id, "claim_count, failures, crashes"), "1|0|0");
    }

    fn locked_row_does_not_block_the_rescue_of_others(db) {
        db.create_tables();
        let (mut first, second, id) = running_on_one_of_two(db, "act", r#"{"wait_ms": 500}"#);
        let locked = insert_task(db, "act", r#"{"wait_ms": 60000}"#);
        db.wait_for_state(locked, "running");
        let mut conn = db.conn();
        conn.query_drop("BEGIN").unwrap();
        conn.query_drop(format!("UPDATE ai_server_tasks SET progress = '1' WHERE id = {locked}")).unwrap();
        db.wait_for_state(id, "succeeded");
        let more: Vec<u64> = (0..5).map(|_| insert_task(db, "act_apart", r#"{"wait_ms": 1500}"#)).collect();
        db.wait_for_rows("SELECT COUNT(*) > 3 FROM ai_server_tasks WHERE state = 'running'", &["1"]);
        assert!(first.is_running());
        first.signal("KILL");
        second.signal("KILL");
        let third = worker(db, "");
        for id in more {
            db.wait_for_state(id, "succeeded");
        }
        assert_eq!(task(db, locked, "state, claim_count"), "running|1");
        conn.query_drop("ROLLBACK").unwrap();
        db.wait_for_rows(&format!("SELECT claim_count FROM ai_server_tasks WHERE id = {locked}"), &["2"]);
        stop(third);
    }

    fn descendants_of_a_killed_worker_are_killed_before_its_tasks_run_again(db) {
        db.create_tables();
        let id = insert_task_with(db, "act_apart", r#""daemon""#, ", timeout_ms = 60000, max_attempts = 1");
        let mut first = worker(db, "");
        let daemon = number_after(&first.wait_for("started process "), "started process ");
        first.signal("KILL");
        assert!(is_alive(daemon));
        let mut second = worker(db, "");
        second.wait_for("started process ");
        assert!(!is_alive(daemon));
        assert_eq!(db.lab(&format!("task cancel {id} --wait")).code, 0);
        stop(second);
    }

    fn processes_of_a_killed_worker_end_before_their_tasks_run_again(db) {
        db.create_tables();
        let mut first = worker(db, "");
        let id = insert_task_with(db, "act_apart", r#""hang""#, ", timeout_ms = 5000, max_attempts = 1");
        let process = number_after(&first.wait_for("running in process "), "running in process ");
        first.signal("KILL");
        let mut second = worker(db, "");
        second.wait_for("running in process ");
        wait_for_exit(process);
        db.wait_for_state(id, "dead");
        stop(second);
        assert_eq!(task(db, id, "claim_count, failures, crashes"), "2|1|1");
    }
}
