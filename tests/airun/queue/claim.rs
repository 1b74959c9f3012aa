//! Tests the plan and the locks of a claim.

use mysql::prelude::Queryable as _;

use crate::on_both;
use crate::support::{Database, worker_at};

/// Returns the statement with which a worker claims tasks. The worker crashes before it runs, so the tasks are pending.
fn statement(db: &Database) -> String {
    let environment = [("AIRUN_FAULT", "claim-locked"), ("RUST_LOG", "airun::queue::store::claim=trace")];
    let mut worker = worker_at(&db.url(), "", &environment);
    let line = worker.wait_for("FOR UPDATE SKIP LOCKED");
    worker.finish();
    // Waits until the server has noticed that the worker died, and has released its locks.
    db.execute(&["START TRANSACTION", "SELECT id FROM ai_server_tasks FOR UPDATE", "ROLLBACK"]);
    line[line.find("SELECT ").unwrap()..].to_owned()
}

fn filled(db: &Database) {
    db.create_tables();
    let rows = ["('noop', '{}')"; 100].join(",");
    for _ in 0..10 {
        db.execute(&[&format!("INSERT INTO ai_server_tasks (kind, payload) VALUES {rows}")]);
    }
}

on_both! {
    fn claim_needs_no_sort(db) {
        filled(db);
        let plan = db.rows(&format!("EXPLAIN {}", statement(db))).concat();
        // MySQL and MariaDB write their plans differently.
        assert!(plan.contains("|by_class|") || plan.contains("using by_class over"), "{plan}");
        let has_sort = |plan: String| plan.to_lowercase().contains("sort");
        assert!(has_sort(db.rows("EXPLAIN SELECT * FROM ai_server_tasks ORDER BY progress").concat()));
        assert!(!has_sort(plan.clone()), "{plan}");
    }

    fn claim_locks_only_the_tasks_that_it_takes(db) {
        filled(db);
        let select = statement(db);
        let mut claimer = db.conn();
        let mut other = db.conn();
        for conn in [&mut claimer, &mut other] {
            conn.query_drop("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED").unwrap();
            conn.query_drop("START TRANSACTION").unwrap();
        }
        let claimed = claimer.query::<mysql::Row, _>(&select).unwrap().len();
        assert!((1..=500).contains(&claimed), "{claimed}");
        let left = other.query::<u64, _>("SELECT id FROM ai_server_tasks FOR UPDATE SKIP LOCKED").unwrap();
        assert_eq!(left.len(), 1000 - claimed);
    }
}
