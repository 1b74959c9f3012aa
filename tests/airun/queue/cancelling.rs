//! Tests the cancellation of running tasks.

use super::{insert_task, insert_task_with, task, worker};
use crate::on_both;
use crate::support::{Database, stop};

fn cancel(db: &Database, id: u64) {
    db.execute(&[&format!("UPDATE ai_server_tasks SET cancel_requested = TRUE WHERE id = {id}")]);
}

on_both! {
    fn cancelled_thread_is_notified_and_its_query_killed(db) {
        db.create_tables();
        let waits = insert_task(db, "act", r#"{"wait_ms": 60000}"#);
        let queries = insert_task(db, "act", r#"{"query_s": 1000}"#);
        // This task ignores the cancellation, and its success counts.
        let finishes = insert_task(db, "act", r#""finish_at_stop""#);
        let worker = worker(db, "");
        for id in [waits, queries, finishes] {
            db.wait_for_state(id, "running");
            cancel(db, id);
        }
        db.wait_until_idle();
        stop(worker);
        assert_eq!(task(db, waits, "state, failures, worker_id, finished_at >= started_at"), "cancelled|0|0|1");
        assert_eq!(task(db, queries, "state, failures"), "cancelled|0");
        assert_eq!(task(db, finishes, "state, result"), r#"succeeded|"Some(Cancelled) false""#);
    }

    fn cancelled_process_is_notified_and_then_killed(db) {
        db.create_tables();
        let polite = insert_task(db, "act_apart", r#"{"wait_ms": 60000}"#);
        let deaf = insert_task(db, "act_apart", r#""hang""#);
        let program = insert_task(db, "script", r#""trap 'exit 7' TERM; while :; do sleep 0.1; done""#);
        let mut worker = worker(db, "");
        for _ in 0..2 {
            worker.wait_for("running in process ");
        }
        for id in [polite, deaf, program] {
            db.wait_for_state(id, "running");
            cancel(db, id);
        }
        db.wait_until_idle();
        stop(worker);
        for id in [polite, deaf, program] {
            assert_eq!(task(db, id, "state, failures, crashes"), "cancelled|0|0");
        }
    }

    fn cancelled_task_does_not_run_again(db) {
        db.create_tables();
        // This task fails before its worker reads the cancellation.
        let fails = insert_task_with(db, "fails", r#""error""#, ", cancel_requested = TRUE");
        let first = worker(db, "");
        db.wait_until_idle();
        stop(first);
        assert_eq!(task(db, fails, "state, failures, next_action_at > UTC_TIMESTAMP() + INTERVAL 6 DAY"), "cancelled|1|1");
        // The worker of this task dies before it reads the cancellation.
        let lost = insert_task(db, "act", r#""hang""#);
        let second = worker(db, "");
        db.wait_for_state(lost, "running");
        second.signal("STOP");
        cancel(db, lost);
        second.signal("KILL");
        let third = worker(db, "");
        db.wait_for_state(lost, "cancelled");
        stop(third);
        assert_eq!(task(db, lost, "claim_count"), "1");
    }
}
