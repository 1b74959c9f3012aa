//! Tests workers whose database becomes unavailable for a while.

use mysql::Conn;
use mysql::prelude::Queryable as _;

use super::{insert_task, task, worker};
use crate::on_both;
use crate::support::{Database, OwnServer, Proxy, User, stop, stop_after_lost_connections, worker_at};

/// Creates a user without administrative privileges, because an administrator can write to a read-only server.
fn make_plain_user(db: &Database) {
    db.execute(&["CREATE USER plain IDENTIFIED BY 'right'", &format!("GRANT ALL ON `{}`.* TO plain", db.name)]);
}

/// Kills every other connection to the test's database.
fn kill_other_sessions(db: &Database, conn: &mut Conn) {
    let own = u64::from(conn.connection_id());
    for session in db.sessions().iter().filter(|session| session.id != own) {
        // The session may have ended already.
        drop(conn.query_drop(format!("KILL {}", session.id)));
    }
}

on_both! {
    fn worker_waits_for_the_database(db) {
        db.create_tables();
        let proxy = Proxy::to(&db.url());
        proxy.cut();
        let id = insert_task(db, "echo", "1");
        let mut first = worker_at(&proxy.url(&db.url()), "", &[]);
        first.wait_for("waiting for the database: ");
        proxy.restore();
        db.wait_for_state(id, "succeeded");
        stop(first);
        proxy.cut();
        // A signal ends the wait for the database.
        let mut second = worker_at(&proxy.url(&db.url()), "", &[]);
        second.wait_for("waiting for the database: ");
        second.signal("TERM");
        let ended = second.finish();
        assert_eq!(ended.code, 130);
        assert!(ended.stderr.ends_with("stopped by a signal while waiting for the database\n"), "{ended:?}");
    }

    fn result_is_kept_until_the_database_is_back(db) {
        db.create_tables();
        let proxy = Proxy::to(&db.url());
        let mut worker = worker_at(&proxy.url(&db.url()), "", &[]);
        let id = insert_task(db, "act", r#"{"sleep_ms": 1000}"#);
        worker.wait_for("running in process ");
        proxy.cut();
        worker.wait_for("waiting for the database: ");
        let meanwhile = insert_task(db, "echo", "1");
        // The sleep is part of the test: the run ends during it.
        std::thread::sleep(std::time::Duration::from_millis(1500));
        assert_eq!(task(db, id, "state"), "running");
        proxy.restore();
        worker.wait_for("reconnected to the database");
        db.wait_until_idle();
        stop(worker);
        assert_eq!(task(db, id, "state, claim_count, failures, result"), r#"succeeded|1|0|"done""#);
        assert_eq!(task(db, meanwhile, "state, claim_count"), "succeeded|1");
    }

    fn lost_connections_lose_and_repeat_nothing(db) {
        db.create_tables();
        db.execute(&["CREATE TABLE effects (effect BIGINT PRIMARY KEY)"]);
        let worker = worker(db, "");
        let mut conn = db.conn();
        for key in 0..200 {
            conn.exec_drop("INSERT INTO ai_server_tasks (kind, payload) VALUES ('once', ?)", (format!(r#"{{"key": {key}}}"#),))
                .unwrap();
            if key % 5 == 0 {
                kill_other_sessions(db, &mut conn);
            }
        }
        db.wait_until_idle();
        // Some connections were lost in the middle of a run.
        let log = stop_after_lost_connections(worker).stderr;
        assert!(log.contains("lost the connection to the database"), "{log}");
        assert_eq!(db.rows("SELECT state, COUNT(*) FROM ai_server_tasks GROUP BY state"), ["succeeded|200"]);
        assert_eq!(db.rows("SELECT COUNT(*) FROM effects"), ["200"]);
    }

    fn closed_idle_connection_costs_no_attempt(db) {
        db.create_tables();
        db.execute(&["CREATE TABLE effects (effect BIGINT PRIMARY KEY)"]);
        let worker = worker(db, "--threads 1");
        let first = insert_task(db, "once", r#"{"key": 1}"#);
        db.wait_for_state(first, "succeeded");
        // This also kills the connection of the thread that ran the task.
        kill_other_sessions(db, &mut db.conn());
        let second = insert_task(db, "once", r#"{"key": 2}"#);
        db.wait_for_state(second, "succeeded");
        assert_eq!(task(db, second, "failures"), "0");
        stop(worker);
    }

    #[ignore = "long tier"]
    fn worker_follows_the_writable_host(shared) {
        let kind = shared.kind;
        let servers = [OwnServer::start(kind), OwnServer::start(kind)];
        let first = &Database::on(kind, Some(servers[0].url_file()));
        let second = &Database::on(kind, Some(servers[1].url_file())).named_as(first);
        for db in [first, second] {
            db.create_tables();
            make_plain_user(db);
        }
        let place = |db: &Database| db.url().rsplit_once('@').unwrap().1.split_once('/').unwrap().0.to_owned();
        let mut worker =
            worker_at(&format!("mysql://plain:right@{},{}/{}", place(first), place(second), first.name), "", &[]);
        first.wait_for_state(insert_task(first, "echo", "1"), "succeeded");
        // A switch-over: the server that was writable becomes read-only.
        first.execute(&["SET GLOBAL read_only = ON"]);
        worker.wait_for("looking for a writable host");
        second.wait_for_state(insert_task(second, "echo", "2"), "succeeded");
        // For a while, neither server is writable.
        second.execute(&["SET GLOBAL read_only = ON"]);
        let waiting = insert_task(second, "echo", "3");
        worker.wait_for("none of the hosts is writable");
        second.execute(&["SET GLOBAL read_only = OFF"]);
        second.wait_for_state(waiting, "succeeded");
        // At last the writable server dies.
        first.execute(&["SET GLOBAL read_only = OFF"]);
        servers[1].kill();
        first.wait_for_state(insert_task(first, "echo", "4"), "succeeded");
        stop(worker);
    }

    fn worker_waits_while_the_server_is_read_only(shared) {
        let server = OwnServer::start(shared.kind);
        let db = &Database::on(shared.kind, Some(server.url_file()));
        db.create_tables();
        make_plain_user(db);
        let (_, place) = db.url().split_once('@').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
        let mut worker = worker_at(&format!("mysql://plain:right@{place}"), "", &[]);
        db.wait_for_state(insert_task(db, "echo", "1"), "succeeded");
        db.execute(&["SET GLOBAL read_only = ON"]);
        let id = insert_task(db, "echo", "2");
        worker.wait_for("lost the connection to the database: 1290 ");
        db.execute(&["SET GLOBAL read_only = OFF"]);
        db.wait_for_state(id, "succeeded");
        stop(worker);
        assert_eq!(task(db, id, "claim_count, failures"), "1|0");
    }

    fn permanent_error_ends_the_worker_immediately(db) {
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
