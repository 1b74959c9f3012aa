//! A crash at each step of a worker in turn: another worker makes it good.

use std::thread;

use super::{put, worker_at};
use crate::on_both;
use crate::support::{Database, Kind, stop};

const STEPS: [&str; 8] = [
    "claim-locked",
    "claim-committed",
    "run-begins",
    "run-ended",
    "complete-begins",
    "complete-halfway",
    "complete-locked",
    "complete-committed",
];
const HEART: [&str; 4] = ["joined", "beat", "lease-locked", "lease-extended"];
const RESCUE: [&str; 4] = ["missing-marked", "rescue-found", "take-back-locked", "rescue-done"];

/// Tasks of which each has its effect, or its result, once.
fn fill(db: &Database) {
    db.prepare();
    db.execute(&["CREATE TABLE effects (effect BIGINT PRIMARY KEY)"]);
    for key in 0..20 {
        put(db, "once", &format!(r#"{{"key": {key}}}"#));
        put(db, "echo", &key.to_string());
    }
    put(db, "fails", r#"{"times": 1}"#);
}

fn all_is_well(db: &Database, fault: &str) {
    db.until_done();
    let states = "SELECT kind, state, COUNT(*), MAX(crashes) < 2 FROM ai_server_tasks GROUP BY 1, 2 ORDER BY 1, 2";
    assert_eq!(db.rows(states), ["echo|succeeded|20|1", "fails|succeeded|1|1", "once|succeeded|20|1"], "{fault}");
    assert_eq!(db.rows("SELECT COUNT(*) FROM effects"), ["20"], "{fault}");
}

fn crash(db: &Database, fault: &str) {
    let crashed = worker_at(&db.url(), "", &[("AIRUN_FAULT", fault)]).finish();
    assert_eq!(crashed.code, 128 + 6, "{fault}: {crashed:?}");
}

/// Several at once, since most of the time is waiting.
fn each(kind: Kind, faults: &[String], body: impl Fn(&Database, &str) + Sync) {
    for some in faults.chunks(4) {
        thread::scope(|scope| {
            for fault in some {
                scope.spawn(|| body(&Database::new(kind), fault));
            }
        });
    }
}

on_both! {
    fn a_crash_at_any_step_of_a_tasks_life_is_made_good(db) {
        let faults: Vec<String> = STEPS.iter().flat_map(|step| [format!("{step}:1"), format!("{step}:3")]).collect();
        each(db.kind, &faults, |db, fault| {
            fill(db);
            // What a point is passed at a third time comes later.
            let crashed = worker_at(&db.url(), "", &[("AIRUN_FAULT", fault)]);
            if fault.ends_with(":3") {
                db.until("SELECT COUNT(*) > 3 FROM ai_server_tasks WHERE state = 'succeeded' OR claim_count > 0", &["1"]);
                for _ in 0..3 {
                    put(db, "fails", r#"{"times": 2}"#);
                }
                db.until("SELECT COUNT(*) FROM ai_server_workers", &["1"]);
            }
            let crashed = crashed.finish();
            assert_eq!(crashed.code, 128 + 6, "{fault}: {crashed:?}");
            db.execute(&["DELETE FROM ai_server_tasks WHERE payload LIKE '%2%' AND kind = 'fails'"]);
            let worker = db.worker();
            all_is_well(db, fault);
            stop(worker);
        });
    }

    fn a_crash_at_any_step_of_the_heart_is_made_good(db) {
        each(db.kind, &HEART.map(str::to_owned), |db, fault| {
            fill(db);
            // Long enough for its lease to be extended.
            put(db, "act", r#"{"wait_ms": 15000}"#);
            crash(db, fault);
            db.execute(&["UPDATE ai_server_tasks SET payload = '{\"wait_ms\": 1}' WHERE kind = 'act'"]);
            let worker = db.worker();
            db.until_done();
            db.execute(&["DELETE FROM ai_server_tasks WHERE kind = 'act'"]);
            all_is_well(db, fault);
            stop(worker);
        });
    }

    fn a_crash_at_any_step_of_a_rescue_is_made_good(db) {
        each(db.kind, &RESCUE.map(str::to_owned), |db, fault| {
            fill(db);
            // It leaves tasks behind for certain.
            crash(db, "claim-committed");
            crash(db, fault);
            let worker = db.worker();
            all_is_well(db, fault);
            stop(worker);
        });
    }
}
