//! Tests the shutdown of a worker.

use super::{insert_task, number_after, task, wait_for_exit, worker};
use crate::on_both;
use crate::support::stop;

on_both! {
    fn shutdown_finishes_running_tasks_and_releases_claimed_ones(db) {
        db.create_tables();
        let mut worker = worker(db, "");
        // After many short runs the worker expects this kind to be quick and claims many tasks at once.
        for _ in 0..80 {
            insert_task(db, "act", r#"{"wait_ms": 0}"#);
        }
        for _ in 0..80 {
            worker.wait_for("running in process ");
        }
        db.wait_until_idle();
        let many = vec![r#"('act', '{"sleep_ms": 4000}')"#; 100].join(", ");
        db.execute(&["DELETE FROM ai_server_tasks", &format!("INSERT INTO ai_server_tasks (kind, payload) VALUES {many}")]);
        for _ in 0..8 {
            worker.wait_for("running in process ");
        }
        worker.signal("TERM");
        let states = "SELECT state, COUNT(*) FROM ai_server_tasks GROUP BY state ORDER BY state";
        db.wait_for_rows(states, &["pending|92", "running|8"]);
        let ended = worker.finish();
        assert_eq!(ended.code, 0, "{ended:?}");
        assert_eq!(db.rows(states), ["pending|92", "succeeded|8"]);
        let spent = "SELECT SUM(failures), SUM(crashes), SUM(worker_id), SUM(next_action_at > UTC_TIMESTAMP(6)) FROM ai_server_tasks WHERE state = 'pending'";
        assert_eq!(db.rows(spent), ["0|0|0|0"]);
    }

    fn run_that_ends_at_shutdown_is_released_without_losing_an_attempt(db) {
        db.create_tables();
        let waits = insert_task(db, "act", r#"{"wait_ms": 60000}"#);
        let finishes = insert_task(db, "act", r#""finish_at_stop""#);
        let apart = insert_task(db, "act_apart", r#"{"wait_ms": 60000}"#);
        let mut first = worker(db, "");
        for _ in 0..3 {
            first.wait_for("running in process ");
        }
        stop(first);
        for id in [waits, apart] {
            assert_eq!(task(db, id, "state, claim_count, failures, crashes, worker_id"), "pending|1|0|0|0");
        }
        assert_eq!(task(db, finishes, "state, result"), r#"succeeded|"Some(Stopping) true""#);
    }

    fn tasks_running_past_the_stop_timeout_are_named_and_released(db) {
        db.create_tables();
        let thread = insert_task(db, "act", r#""hang""#);
        let mut worker = worker(db, "--stop-timeout 1s");
        worker.wait_for("running in process ");
        let apart = insert_task(db, "act_apart", r#""hang""#);
        let process = number_after(&worker.wait_for("running in process "), "running in process ");
        worker.signal("TERM");
        let ended = worker.finish();
        assert_eq!(ended.code, 124, "{ended:?}");
        for id in [format!("`act` (id {thread})"), format!("`act_apart` (id {apart})")] {
            let last = ended.stderr.lines().last().unwrap();
            assert!(last.starts_with("airun: error: stopped with tasks still running after 1s: ") && last.contains(&id), "{last}");
        }
        wait_for_exit(process);
        for id in [thread, apart] {
            assert_eq!(task(db, id, "state, claim_count, failures, crashes, worker_id"), "pending|1|0|0|0", "{ended:?}");
        }
        assert!(db.rows("SELECT id FROM ai_server_workers").is_empty());
    }

    fn second_signal_ends_the_worker_and_its_processes_immediately(db) {
        db.create_tables();
        let id = insert_task(db, "act_apart", r#""hang""#);
        let mut first = worker(db, "--stop-timeout 1h");
        let process = number_after(&first.wait_for("running in process "), "running in process ");
        first.signal("TERM");
        first.wait_for("stopping: ");
        first.signal("TERM");
        assert_eq!(first.finish().code, 130);
        wait_for_exit(process);
        let mut second = worker(db, "--stop-timeout 1s");
        second.wait_for("running in process ");
        assert_eq!(task(db, id, "state, claim_count, failures"), "running|2|0");
        second.signal("TERM");
        assert_eq!(second.finish().code, 124);
    }

    fn heartbeat_and_metrics_count_the_tasks(db) {
        db.create_tables();
        let folder = tempfile::TempDir::new().unwrap();
        let file = folder.path().join("airun.prom");
        let worker = worker(db, &format!("--metrics-file {}", file.display()));
        let done = [insert_task(db, "noop", "{}"), insert_task(db, "noop", "{}")];
        let fatal = insert_task(db, "fails", r#""fatal""#);
        db.wait_until_idle();
        let log = stop(worker).stderr;
        assert_eq!(done.map(|id| task(db, id, "state")), ["succeeded", "succeeded"]);
        db.wait_for_state(fatal, "dead");
        let line = |parts: &[&str]| log.lines().any(|line| parts.iter().all(|part| line.contains(part)));
        assert!(line(&["heartbeat task=noop succeeded=2 retried=0 crashed=0 dead=0 cancelled=0 released=0"]), "{log}");
        assert!(line(&["heartbeat task=fails succeeded=0 retried=0 crashed=0 dead=1 "]), "{log}");
        assert!(line(&["heartbeat of the database tasks running=0 claimed=0 rescued=0 rejected_outcomes=0 abandoned_threads=0 "]), "{log}");
        let metrics = std::fs::read_to_string(&file).unwrap();
        for sample in [
            "airun_tasks_total{kind=\"noop\",outcome=\"succeeded\"} 2\n",
            "airun_tasks_total{kind=\"fails\",outcome=\"dead\"} 1\n",
            "airun_tasks_rescued_total 0\n",
        ] {
            assert!(metrics.contains(sample), "{metrics}");
        }
    }
}
