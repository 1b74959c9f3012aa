//! The database goes away, and comes back.

use mysql::prelude::Queryable as _;

use super::{prepare, put, stop, task, until_done, until_state, worker, worker_at};
use crate::on_both;
use crate::support::{Proxy, User};

on_both! {
    fn a_worker_waits_for_the_database_however_long_that_takes(db) {
        prepare(db);
        let way = Proxy::to(&db.url());
        way.cut();
        let id = put(db, "echo", "1");
        let mut first = worker_at(&way.url(&db.url()), "", &[]);
        first.wait_for("waiting for the database: ");
        way.mend();
        until_state(db, id, "succeeded");
        stop(first);
        way.cut();
        // A stop ends the wait.
        let mut second = worker_at(&way.url(&db.url()), "", &[]);
        second.wait_for("waiting for the database: ");
        second.signal("TERM");
        let ended = second.finish();
        assert_eq!(ended.code, 130);
        assert!(ended.stderr.ends_with("stopped by a signal while waiting for the database\n"), "{ended:?}");
    }

    fn a_result_is_kept_until_the_database_is_back(db) {
        prepare(db);
        let way = Proxy::to(&db.url());
        let mut worker = worker_at(&way.url(&db.url()), "", &[]);
        let id = put(db, "act", r#"{"sleep_ms": 1000}"#);
        worker.wait_for("begun in process ");
        way.cut();
        worker.wait_for("waiting for the database: ");
        let meanwhile = put(db, "echo", "1");
        // The time that passes is the test: the run ends meanwhile.
        std::thread::sleep(std::time::Duration::from_millis(1500));
        assert_eq!(task(db, id, "state"), "running");
        way.mend();
        worker.wait_for("connected to the database again");
        until_done(db);
        stop(worker);
        assert_eq!(task(db, id, "state, claims, failures, result"), r#"succeeded|1|0|"done""#);
        assert_eq!(task(db, meanwhile, "state, claims"), "succeeded|1");
    }

    fn lost_connections_neither_lose_nor_double_anything(db) {
        prepare(db);
        db.execute(&["CREATE TABLE effects (effect BIGINT PRIMARY KEY)"]);
        let worker = worker(db, "");
        let mut conn = db.conn();
        let connections = format!(
            "SELECT id FROM information_schema.processlist WHERE db = '{}' AND id <> CONNECTION_ID()",
            db.name
        );
        for key in 0..200 {
            conn.exec_drop("INSERT INTO ai_server_tasks (kind, payload) VALUES ('once', ?)", (format!(r#"{{"key": {key}}}"#),))
                .unwrap();
            if key % 5 == 0 {
                for id in conn.query::<u64, _>(&connections).unwrap() {
                    // It may have ended by itself.
                    drop(conn.query_drop(format!("KILL {id}")));
                }
            }
        }
        until_done(db);
        // Some are lost in the middle of a run.
        let log = stop(worker).stderr;
        assert!(log.contains("lost the connection to the database"), "{log}");
        assert_eq!(db.rows("SELECT state, COUNT(*) FROM ai_server_tasks GROUP BY state"), ["succeeded|200"]);
        assert_eq!(db.rows("SELECT COUNT(*) FROM effects"), ["200"]);
    }

    fn a_connection_that_was_closed_while_it_lay_idle_costs_no_attempt(db) {
        prepare(db);
        db.execute(&["CREATE TABLE effects (effect BIGINT PRIMARY KEY)"]);
        let worker = worker(db, "--threads 1");
        let first = put(db, "once", r#"{"key": 1}"#);
        until_state(db, first, "succeeded");
        // The thread's own is among them.
        let mut conn = db.conn();
        let connections =
            format!("SELECT id FROM information_schema.processlist WHERE db = '{}' AND id <> CONNECTION_ID()", db.name);
        for id in conn.query::<u64, _>(&connections).unwrap() {
            drop(conn.query_drop(format!("KILL {id}")));
        }
        let second = put(db, "once", r#"{"key": 2}"#);
        until_state(db, second, "succeeded");
        assert_eq!(task(db, second, "failures"), "0");
        stop(worker);
    }

    fn what_no_waiting_mends_ends_the_worker_at_once(db) {
        db.create();
        let missing = worker(db, "").finish();
        assert_eq!(missing.code, 1);
        assert!(
            missing.stderr.trim_end().ends_with("; run `airun migrate up` with this binary's migrations first"),
            "{missing:?}"
        );
        let user = User::new(db, "right", "ALL");
        let (_, place) = db.url().split_once('@').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
        let refused = worker_at(&format!("mysql://{}:wrong@{place}", user.name), "", &[]).finish();
        assert_eq!(refused.code, 1);
        assert!(refused.stderr.contains("Access denied") && refused.stderr.trim_end().ends_with("; check user and password"), "{refused:?}");
    }
}
