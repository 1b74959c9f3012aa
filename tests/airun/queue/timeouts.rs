//! Tests runs in threads that exceed their timeout.

use super::{insert_task, insert_task_with, task, worker};
use crate::on_both;
use crate::support::{stop, wait_until};

const ONCE: &str = ", max_attempts = 1, timeout_ms = 300";

on_both! {
    fn query_is_killed_on_the_server_at_the_deadline(db) {
        db.create_tables();
        let id = insert_task_with(db, "act", r#"{"query_s": 1000}"#, ONCE);
        let worker = worker(db, "");
        db.wait_for_state(id, "dead");
        wait_until(|| db.sessions().iter().all(|session| !session.statement.contains("SLEEP(1000)")));
        stop(worker);
        let fate = task(db, id, "failures, last_error, finished_at >= started_at + INTERVAL 300000 MICROSECOND");
        assert!(fate.starts_with("1|timed out after 300ms: ") && fate.ends_with("|1"), "{fate}");
    }

    fn abandoned_threads_late_result_is_discarded(db) {
        db.create_tables();
        let id = insert_task_with(db, "act", r#"{"sleep_ms": 7000}"#, ONCE);
        // The task occupies the only thread.
        let mut worker = worker(db, "--threads 1");
        worker.wait_for("ignored its deadline; abandoned its thread (1 so far) task=act");
        db.wait_for_state(id, "dead");
        let other = insert_task(db, "noop", "{}");
        db.wait_for_state(other, "succeeded");
        let late = worker.wait_for("returned after its thread was abandoned; discarded what it returned");
        assert!(late.contains(&format!(" id={id} ")), "{late}");
        stop(worker);
        assert_eq!(
            task(db, id, "state, result, failures, last_error"),
            "dead|NULL|1|timed out after 300ms, and ignored its deadline"
        );
    }

    fn worker_ends_after_three_abandoned_threads_and_finishes_the_rest(db) {
        db.create_tables();
        let hung: Vec<u64> = (0..2).map(|_| insert_task_with(db, "act", r#""hang""#, ONCE)).collect();
        let worker = worker(db, "");
        for id in &hung {
            db.wait_for_state(*id, "dead");
        }
        // The worker goes on after it has abandoned two threads.
        let after = insert_task(db, "noop", "{}");
        db.wait_for_state(after, "succeeded");
        let third = insert_task_with(db, "act", r#""hang""#, ONCE);
        let beside = insert_task_with(db, "act", r#""finish_at_stop""#, "");
        let ended = worker.finish();
        assert_eq!(ended.code, 1, "{ended:?}");
        assert!(
            ended.stderr.ends_with(
                "airun: error: abandoned 3 threads of tasks that ignored their deadlines, the last one of kind `act`; restart \
                 the worker, and give such kinds `Isolation::Process`\n"
            ),
            "{}",
            ended.stderr
        );
        assert_eq!(task(db, third, "state, failures"), "dead|1");
        assert_eq!(task(db, beside, "state, result"), r#"succeeded|"Some(Stopping) true""#);
        assert!(db.rows("SELECT id FROM ai_server_tasks WHERE state = 'running'").is_empty());
    }

    fn abandoned_thread_releases_its_locks(db) {
        db.create_tables();
        // The transaction of this run has locked the task's own row.
        let id = insert_task_with(db, "act", r#""hang_completed""#, ONCE);
        let worker = worker(db, "");
        db.wait_for_state(id, "dead");
        let others: Vec<u64> = (0..10).map(|n| insert_task(db, "echo", &n.to_string())).collect();
        db.wait_until_idle();
        stop(worker);
        assert_eq!(task(db, id, "failures, result"), "1|NULL");
        assert!(others.iter().all(|id| task(db, *id, "state") == "succeeded"));
    }

    fn deadline_holds_though_another_run_began_at_the_same_time(db) {
        db.create_tables();
        let worker = worker(db, "");
        for _ in 0..20 {
            // Tasks with and without a timeout are claimed and started together.
            insert_task_with(db, "act", r#"{"wait_ms": 200}"#, ", priority = 0");
            insert_task_with(db, "act", r#"{"query_s": 1000}"#, ", timeout_ms = 50, max_attempts = 1");
        }
        db.wait_until_idle();
        stop(worker);
        let fates = "SELECT state, COUNT(*) FROM ai_server_tasks GROUP BY state ORDER BY state";
        assert_eq!(db.rows(fates), ["succeeded|20", "dead|20"]);
    }
}
