//! Checks that `airun task verify` finds nothing after a normal run, and reports each invariant that a change violates.

use crate::on_both;
use crate::support::{Database, stop};

fn findings(db: &Database) -> Vec<(String, Vec<u64>)> {
    let json = db.json("task verify");
    let findings = json["findings"].as_array().unwrap().iter().map(|finding| {
        let ids = finding["ids"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap()).collect();
        (finding["invariant"].as_str().unwrap().to_owned(), ids)
    });
    findings.collect()
}

/// Each invariant, with a change to task 2 that violates only this one.
const VIOLATIONS: [(&str, &str); 13] = [
    ("pending_with_worker", "worker_id = 1"),
    (
        "running_without_worker",
        "state = 'running', claim_count = 1, next_action_at = UTC_TIMESTAMP(6) + INTERVAL 1 HOUR",
    ),
    (
        "worker_unknown",
        "state = 'running', claim_count = 1, worker_id = 99, next_action_at = UTC_TIMESTAMP(6) + INTERVAL 1 HOUR",
    ),
    (
        "worker_dead",
        "state = 'running', claim_count = 1, worker_id = 7, next_action_at = UTC_TIMESTAMP(6) + INTERVAL 1 HOUR",
    ),
    ("finished_with_worker", "state = 'dead', worker_id = 1, finished_at = UTC_TIMESTAMP(6)"),
    ("finished_without_time", "state = 'dead'"),
    ("unfinished_with_time", "finished_at = UTC_TIMESTAMP(6)"),
    ("attempts_exceeded", "max_attempts = 3, failures = 3, claim_count = 3"),
    (
        "attempts_exceeded",
        "state = 'dead', finished_at = UTC_TIMESTAMP(6), max_attempts = 3, failures = 4, claim_count = 4",
    ),
    ("crashes_exceeded", "crashes = 3, claim_count = 3"),
    ("runs_exceed_claims", "state = 'succeeded', finished_at = UTC_TIMESTAMP(6), failures = 2, claim_count = 2"),
    ("unclaimable", "priority = 3"),
    ("unclaimable", "payload_version = 0"),
];

on_both! {
    fn verify_finds_nothing_after_a_healthy_run(db) {
        db.create_tables();
        db.execute(&["CREATE TABLE effects (effect BIGINT UNSIGNED PRIMARY KEY)", "CREATE TABLE spans (began DATETIME(6), ended DATETIME(6))"]);
        let worker = db.worker();
        for (kind, payload) in [("echo", "1"), ("once", "{\"key\":1}"), ("fails", "\"error\""), ("fails", "{\"times\":2}"),
            ("fails", "\"panic\""), ("act_apart", "\"abort\""), ("single", "1"), ("script", "\"false\""), ("act", "{\"wait_ms\":100}")] {
            db.stdout_of(&format!("task enqueue {kind} {payload} --unchecked"));
        }
        db.stdout_of("task enqueue echo 1 --dedupe-key k --delay 1h");
        db.stdout_of("task cancel 10");
        // The invariants also hold while the worker is running tasks.
        assert_eq!(findings(db), []);
        db.wait_until_idle();
        stop(worker);
        assert_eq!(db.stdout_of("task verify"), "checked 10 tasks: all invariants hold\n");
    }

    fn each_violated_invariant_is_found(db) {
        db.create_tables();
        db.execute(&["INSERT INTO ai_server_workers (id, hostname, pid) VALUES (7, 'h', 1)"]);
        let fresh = ["DELETE FROM ai_server_tasks", "INSERT INTO ai_server_tasks (id, kind, payload) VALUES (1, 'echo', '1'), (2, 'echo', '1')"];
        for (invariant, change) in VIOLATIONS {
            db.execute(&fresh);
            assert_eq!(findings(db), [], "{invariant}");
            db.execute(&[&format!("UPDATE ai_server_tasks SET {change} WHERE id = 2")]);
            assert_eq!(findings(db), [(invariant.to_owned(), vec![2])], "{change}");
            assert_eq!(db.lab("task verify").code, 1, "{invariant}");
        }
    }

    fn an_expired_lease_is_found(db) {
        db.create_tables();
        let worker = db.worker();
        db.stdout_of("task enqueue act {\"wait_ms\":600000}");
        db.wait_for_state(1, "running");
        assert_eq!(findings(db), []);
        // A stopped process keeps its lock, but can't extend its leases.
        worker.signal("STOP");
        db.execute(&["UPDATE ai_server_tasks SET next_action_at = UTC_TIMESTAMP(6) - INTERVAL 1 SECOND"]);
        assert_eq!(findings(db), [("lease_expired".to_owned(), vec![1])]);
        let told = db.lab("task verify");
        assert_eq!(
            (told.code, told.stdout.as_str()),
            (1, "lease_expired: 1 task running with an expired lease: 1\n  a worker rescues such tasks within seconds: start one, or look for errors in the workers' logs\nchecked 1 task: 1 invariant is violated\n")
        );
        worker.signal("KILL");
        worker.finish();
    }

    fn unfinished_tasks_with_the_same_key_are_found(db) {
        db.create_tables();
        db.execute(&[
            "ALTER TABLE ai_server_tasks DROP KEY active_dedupe_key",
            "INSERT INTO ai_server_tasks (kind, payload, dedupe_key) VALUES ('echo', '1', 'k'), ('echo', '1', 'k'), ('echo', '1', 'other'), ('echo', '1', NULL), ('echo', '1', NULL)",
        ]);
        assert_eq!(findings(db), [("duplicate_dedupe_key".to_owned(), vec![1])]);
        db.stdout_of("task cancel 2");
        assert_eq!(findings(db), []);
    }

    fn a_kind_beyond_its_concurrency_limit_is_found(db) {
        db.create_tables();
        let worker = db.worker();
        db.stdout_of("task enqueue act {\"wait_ms\":600000}");
        db.wait_for_state(1, "running");
        let lease = "claim_count = 1, next_action_at = UTC_TIMESTAMP(6) + INTERVAL 1 HOUR";
        worker.signal("STOP");
        db.execute(&[
            "INSERT INTO ai_server_tasks (kind, payload) VALUES ('single', '1'), ('single', '1')",
            // Their worker is alive but stopped by SIGSTOP, so nobody releases them.
            &format!("UPDATE ai_server_tasks SET state = 'running', worker_id = (SELECT id FROM ai_server_workers), {lease} WHERE kind = 'single' AND id = 2"),
        ]);
        assert_eq!(findings(db), []);
        db.execute(&[&format!("UPDATE ai_server_tasks SET state = 'running', worker_id = (SELECT id FROM ai_server_workers), {lease} WHERE id = 3")]);
        assert_eq!(findings(db), [("concurrency_exceeded".to_owned(), vec![3])]);
        worker.signal("KILL");
        worker.finish();
    }
}
