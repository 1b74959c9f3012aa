//! `airun task verify` finds nothing after a healthy run, and whatever is broken by hand.

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

/// Each with the change that breaks it for task 2, the changes together being one more invariant's at most.
const BROKEN: [(&str, &str); 13] = [
    ("pending_with_owner", "worker_id = 1"),
    (
        "running_without_owner",
        "state = 'running', claim_count = 1, next_action_at = UTC_TIMESTAMP(6) + INTERVAL 1 HOUR",
    ),
    (
        "owner_unknown",
        "state = 'running', claim_count = 1, worker_id = 99, next_action_at = UTC_TIMESTAMP(6) + INTERVAL 1 HOUR",
    ),
    (
        "owner_gone",
        "state = 'running', claim_count = 1, worker_id = 7, next_action_at = UTC_TIMESTAMP(6) + INTERVAL 1 HOUR",
    ),
    ("final_with_owner", "state = 'dead', worker_id = 1, finished_at = UTC_TIMESTAMP(6)"),
    ("final_without_end", "state = 'dead'"),
    ("alive_with_end", "finished_at = UTC_TIMESTAMP(6)"),
    ("attempts_exceeded", "max_attempts = 3, failures = 3, claim_count = 3"),
    (
        "attempts_exceeded",
        "state = 'dead', finished_at = UTC_TIMESTAMP(6), max_attempts = 3, failures = 4, claim_count = 4",
    ),
    ("crashes_exceeded", "crashes = 3, claim_count = 3"),
    ("runs_without_claim", "state = 'succeeded', finished_at = UTC_TIMESTAMP(6), failures = 2, claim_count = 2"),
    ("never_claimed", "priority = 3"),
    ("never_claimed", "payload_version = 0"),
];

on_both! {
    fn nothing_is_wrong_after_a_healthy_run(db) {
        db.prepare();
        db.execute(&["CREATE TABLE effects (effect BIGINT UNSIGNED PRIMARY KEY)", "CREATE TABLE spans (began DATETIME(6), ended DATETIME(6))"]);
        let worker = db.worker();
        for (kind, payload) in [("echo", "1"), ("once", "{\"key\":1}"), ("fails", "\"error\""), ("fails", "{\"times\":2}"),
            ("fails", "\"panic\""), ("act_apart", "\"abort\""), ("single", "1"), ("script", "\"false\""), ("act", "{\"wait_ms\":100}")] {
            db.told(&format!("task enqueue {kind} {payload} --unchecked"));
        }
        db.told("task enqueue echo 1 --dedupe-key k --delay 1h");
        db.told("task cancel 10");
        // While it runs, too.
        assert_eq!(findings(db), []);
        db.until_done();
        stop(worker);
        assert_eq!(db.told("task verify"), "checked 10 tasks: nothing wrong\n");
    }

    fn whatever_is_broken_is_found(db) {
        db.prepare();
        db.execute(&["INSERT INTO ai_server_workers (id, hostname, pid) VALUES (7, 'h', 1)"]);
        let fresh = ["DELETE FROM ai_server_tasks", "INSERT INTO ai_server_tasks (id, kind, payload) VALUES (1, 'echo', '1'), (2, 'echo', '1')"];
        for (invariant, change) in BROKEN {
            db.execute(&fresh);
            assert_eq!(findings(db), [], "{invariant}");
            db.execute(&[&format!("UPDATE ai_server_tasks SET {change} WHERE id = 2")]);
            assert_eq!(findings(db), [(invariant.to_owned(), vec![2])], "{change}");
            assert_eq!(db.lab("task verify").code, 1, "{invariant}");
        }
    }

    fn a_lease_that_has_run_out_is_found(db) {
        db.prepare();
        let worker = db.worker();
        db.told("task enqueue act {\"wait_ms\":600000}");
        db.until_state(1, "running");
        assert_eq!(findings(db), []);
        // A worker that stands still can't extend it, and keeps its lock.
        worker.signal("STOP");
        db.execute(&["UPDATE ai_server_tasks SET next_action_at = UTC_TIMESTAMP(6) - INTERVAL 1 SECOND"]);
        assert_eq!(findings(db), [("lease_expired".to_owned(), vec![1])]);
        let told = db.lab("task verify");
        assert_eq!(
            (told.code, told.stdout.as_str()),
            (1, "lease_expired: 1 task running with a lease that has run out: 1\n  a worker takes such tasks back within seconds: start one, or see why none does\nchecked 1 task\n")
        );
        worker.signal("KILL");
        worker.finish();
    }

    fn living_tasks_with_one_key_are_found(db) {
        db.prepare();
        db.execute(&[
            "ALTER TABLE ai_server_tasks DROP KEY active_dedupe_key",
            "INSERT INTO ai_server_tasks (kind, payload, dedupe_key) VALUES ('echo', '1', 'k'), ('echo', '1', 'k'), ('echo', '1', 'other'), ('echo', '1', NULL), ('echo', '1', NULL)",
        ]);
        assert_eq!(findings(db), [("dedupe_key_twice".to_owned(), vec![1])]);
        db.told("task cancel 2");
        assert_eq!(findings(db), []);
    }

    fn a_kind_beyond_its_limit_is_found(db) {
        db.prepare();
        let worker = db.worker();
        db.told("task enqueue act {\"wait_ms\":600000}");
        db.until_state(1, "running");
        let lease = "claim_count = 1, next_action_at = UTC_TIMESTAMP(6) + INTERVAL 1 HOUR";
        worker.signal("STOP");
        db.execute(&[
            "INSERT INTO ai_server_tasks (kind, payload) VALUES ('single', '1'), ('single', '1')",
            // Held by the worker that lives but is in no state to look.
            &format!("UPDATE ai_server_tasks SET state = 'running', worker_id = (SELECT id FROM ai_server_workers), {lease} WHERE kind = 'single' AND id = 2"),
        ]);
        assert_eq!(findings(db), []);
        db.execute(&[&format!("UPDATE ai_server_tasks SET state = 'running', worker_id = (SELECT id FROM ai_server_workers), {lease} WHERE id = 3")]);
        assert_eq!(findings(db), [("concurrency_exceeded".to_owned(), vec![3])]);
        worker.signal("KILL");
        worker.finish();
    }
}
