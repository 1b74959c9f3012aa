//! Crashes a worker at each of its fault points. Another worker then completes the tasks.

use super::insert_task;
use crate::at_each_point;
use crate::support::{Database, stop, worker_at};

/// Inserts tasks, each of which must have its effect or its result exactly once.
fn fill(db: &Database) {
    db.create_tables();
    db.execute(&["CREATE TABLE effects (effect BIGINT PRIMARY KEY)"]);
    for key in 0..20 {
        insert_task(db, "once", &format!(r#"{{"key": {key}}}"#));
        insert_task(db, "echo", &key.to_string());
    }
    insert_task(db, "fails", r#"{"times": 1}"#);
}

fn all_is_well(db: &Database, fault: &str) {
    db.wait_until_idle();
    let states = "SELECT kind, state, COUNT(*), MAX(crashes) < 2 FROM ai_server_tasks GROUP BY 1, 2 ORDER BY 1, 2";
    assert_eq!(db.rows(states), ["echo|succeeded|20|1", "fails|succeeded|1|1", "once|succeeded|20|1"], "{fault}");
    assert_eq!(db.rows("SELECT COUNT(*) FROM effects"), ["20"], "{fault}");
}

fn crash(db: &Database, fault: &str) {
    let crashed = worker_at(&db.url(), "", &[("AIRUN_FAULT", fault)]).finish();
    assert_eq!(crashed.code, 128 + 6, "{fault}: {crashed:?}");
}

fn task_survives(db: &Database, point: &str) {
    let first = format!("{point}:1");
    fill(db);
    crash(db, &first);
    let worker = db.worker();
    all_is_well(db, &first);
    stop(worker);
}

fn task_survives_later(db: &Database, point: &str) {
    let third = format!("{point}:3");
    fill(db);
    let crashed = worker_at(&db.url(), "", &[("AIRUN_FAULT", &third)]);
    db.wait_for_rows("SELECT COUNT(*) > 3 FROM ai_server_tasks WHERE state = 'succeeded' OR claim_count > 0", &["1"]);
    // A worker claims many tasks at once, so it reaches some points a third time only if more tasks come.
    for _ in 0..3 {
        insert_task(db, "fails", r#"{"times": 2}"#);
    }
    let crashed = crashed.finish();
    assert_eq!(crashed.code, 128 + 6, "{third}: {crashed:?}");
    db.execute(&["DELETE FROM ai_server_tasks WHERE payload LIKE '%2%' AND kind = 'fails'"]);
    let worker = db.worker();
    all_is_well(db, &third);
    stop(worker);
}

fn heartbeat_survives(db: &Database, point: &str) {
    fill(db);
    // This task runs long enough for its lease to be extended.
    insert_task(db, "act", r#"{"wait_ms": 15000}"#);
    crash(db, point);
    db.execute(&["UPDATE ai_server_tasks SET payload = '{\"wait_ms\": 1}' WHERE kind = 'act'"]);
    let worker = db.worker();
    db.wait_until_idle();
    db.execute(&["DELETE FROM ai_server_tasks WHERE kind = 'act'"]);
    all_is_well(db, point);
    stop(worker);
}

fn rescue_survives(db: &Database, point: &str) {
    fill(db);
    // This crash leaves orphaned tasks in any case.
    crash(db, "claim-committed");
    crash(db, point);
    let worker = db.worker();
    all_is_well(db, point);
    stop(worker);
}

mod life {
    use super::*;

    at_each_point! {
        task_survives:
        claim_locked
        claim_committed
        run_begins
        run_ended
        complete_begins
        complete_halfway
        complete_locked
        complete_committed
    }
}

mod later_life {
    use super::*;

    at_each_point! {
        task_survives_later:
        claim_locked
        claim_committed
        run_begins
        run_ended
        complete_begins
        complete_halfway
        complete_locked
        complete_committed
    }
}

mod heartbeat {
    use super::*;

    at_each_point! {
        heartbeat_survives:
        joined
        beat
        lease_locked
        lease_extended
    }
}

mod rescue {
    use super::*;

    at_each_point! {
        rescue_survives:
        missing_marked
        rescue_found
        take_back_locked
        rescue_done
    }
}
