//! Tests migrations on a server that other sessions use: locks, signals, lost connections.

use mysql::prelude::Queryable;

use crate::on_both;
use crate::support::{Database, LOCK_WAIT_TIMEOUT, wait_until};

on_both! {
    fn blocked_ddl_names_its_blocker_and_succeeds_after_it(db) {
        db.create();
        db.execute(&["CREATE TABLE t (a INT)"]);
        db.migration(1, "alter", "ALTER TABLE t ADD b INT;", "");
        let mut blocker = db.conn();
        blocker.query_drop("START TRANSACTION").unwrap();
        blocker.query_drop("SELECT * FROM t").unwrap();
        let mut up = db.start("migrate up");
        // On MariaDB the first warning may name sessions of other databases, which began their transactions earlier.
        let line = up.wait_for(&format!("session {} of ", blocker.connection_id()));
        assert!(line.contains("waits for a lock: ") && line.contains("idle in a transaction"), "{line}");
        // Readers queue after the waiting DDL statement. They get through while the blocker still holds its lock, because
        // airun gives up its wait from time to time and lets others go first.
        let mut reader = db.conn();
        reader.query_drop("SET lock_wait_timeout = 10").unwrap();
        for _ in 0..3 {
            reader.query_drop("SELECT * FROM t").unwrap();
            up.wait_for("waits for a lock: ");
        }
        blocker.query_drop("COMMIT").unwrap();
        let up = up.finish();
        assert_eq!(up.code, 0, "{up:?}");
    }

    fn ddl_that_stays_blocked_fails_at_the_lock_timeout(db) {
        db.create();
        db.execute(&["CREATE TABLE t (a INT)"]);
        db.migration(1, "alter", "ALTER TABLE t ADD b INT;", "");
        let mut blocker = db.conn();
        blocker.query_drop("START TRANSACTION").unwrap();
        blocker.query_drop("SELECT * FROM t").unwrap();
        let up = db.airun("migrate up --lock-timeout 1s");
        assert_eq!(up.code, 1, "{up:?}");
        assert!(up.stderr.contains("statement 1 of 1 failed: 1205"), "{up:?}");
        blocker.query_drop("COMMIT").unwrap();
        assert_eq!(db.airun("migrate up").code, 0);
    }

    fn dml_waits_for_a_lock_and_succeeds_after_it(db) {
        db.create();
        db.execute(&["CREATE TABLE t (a INT)", "INSERT INTO t VALUES (1)"]);
        db.migration(1, "part", "CREATE TABLE u (a INT);\nUPDATE t SET a = a + 1;", "");
        db.migration(2, "whole", "UPDATE t SET a = a + 10;", "");
        db.migration(3, "dynamic", "PREPARE s FROM 'ALTER TABLE t ADD b INT';\nEXECUTE s;\nUPDATE t SET a = a + 100;", "");
        for (i, expected) in [(1, "2"), (2, "12"), (3, "112|NULL")] {
            let mut blocker = db.conn();
            if i == 3 {
                blocker.query_drop("START TRANSACTION").unwrap();
                blocker.query_drop("SELECT * FROM t").unwrap();
            } else {
                blocker.query_drop("LOCK TABLES t WRITE").unwrap();
            }
            let mut up = db.start("migrate up -n 1");
            up.wait_for(LOCK_WAIT_TIMEOUT);
            blocker.query_drop("UNLOCK TABLES").unwrap();
            blocker.query_drop("COMMIT").unwrap();
            let up = up.finish();
            assert_eq!(up.code, 0, "{up:?}");
            assert_eq!(db.rows("SELECT * FROM t"), [expected]);
        }
    }

    fn lock_timeout_error_names_the_lock_holder(db) {
        db.create();
        db.migration(1, "slow", "DO SLEEP(60);\nCREATE TABLE t (a INT);", "");
        let mut holder = db.start_sleeping("migrate up", &[]);
        let late = db.airun("migrate up --lock-timeout 1s");
        assert_eq!(late.code, 75, "{late:?}");
        assert!(late.stderr.contains(&format!("airun: note: waiting for the migration lock of `{}`, held by ", db.name)), "{late:?}");
        assert!(late.stderr.contains("try again later or raise `--lock-timeout`"), "{late:?}");
        assert!(holder.is_running());
        db.end_sleep("KILL");
        let killed = holder.finish();
        assert_eq!(killed.code, 1, "{killed:?}");
        assert!(killed.stderr.contains("finds out what was applied"), "{killed:?}");
    }

    fn killed_connection_is_an_error_after_which_up_resumes(db) {
        db.create();
        db.migration(1, "slow", "CREATE TABLE t (a INT);\nINSERT INTO t VALUES (SLEEP(60));\nINSERT INTO t VALUES (2);", "");
        let up = db.start_sleeping("migrate up", &[]);
        db.end_sleep("KILL");
        let killed = up.finish();
        assert_eq!(killed.code, 1, "{killed:?}");
        db.write("20260101000001_slow_UP.sql", "CREATE TABLE t (a INT);\nINSERT INTO t VALUES (1);\nINSERT INTO t VALUES (2);");
        let on = db.airun("migrate up");
        assert_eq!(on.code, 0, "{on:?}");
        assert_eq!(db.rows("SELECT * FROM t"), ["1", "2"]);
    }

    fn signal_lets_the_running_statement_finish(db) {
        db.create();
        db.migration(1, "slow", "CREATE TABLE t (a INT);\nINSERT INTO t VALUES (SLEEP(2));\nCREATE TABLE u (a INT);", "");
        let up = db.start_sleeping("migrate up", &[]);
        up.signal("TERM");
        let stopped = up.finish();
        assert_eq!(stopped.code, 130, "{stopped:?}");
        assert!(stopped.stderr.contains("was stopped by a signal after statement 2 of 3; run `airun migrate up` again to resume"), "{stopped:?}");
        assert_eq!(db.tables(), ["t"]);
        assert_eq!(db.airun("migrate up").code, 0);
        assert_eq!(db.rows("SELECT * FROM t"), ["0"]);
    }

    fn second_signal_ends_airun_immediately(db) {
        db.create();
        db.migration(1, "slow", "DO SLEEP(300);", "");
        let up = db.start_sleeping("migrate up", &[]);
        up.signal("INT");
        // Two identical signals that arrive at the same time count as one.
        up.signal("TERM");
        let mut up = up;
        wait_until(|| { if up.is_running() { up.signal("TERM"); } !up.is_running() });
        let ended = up.finish();
        assert_eq!(ended.code, 130, "{ended:?}");
        db.end_sleep("KILL");
    }

    fn session_state_does_not_leak_into_the_next_file(db) {
        let other = Database::new(db.kind);
        other.create();
        db.migration(1, "leaky", &format!("SET @x = 1, sql_mode = 'ANSI_QUOTES', foreign_key_checks = 0, time_zone = '+05:00';\nCREATE TEMPORARY TABLE tmp (a INT);\nUSE `{}`;\nCREATE TABLE there (a INT);", other.name), "");
        db.migration(2, "clean", "CREATE TABLE here (x INT, m TEXT, f INT, z TEXT, d TEXT);\nINSERT INTO here VALUES (@x, @@sql_mode, @@foreign_key_checks, @@time_zone, DATABASE());", "");
        let up = db.airun("migrate up");
        assert_eq!(up.code, 0, "{up:?}");
        let mode = db.rows("SELECT @@sql_mode, @@time_zone");
        let (mode, zone) = mode[0].split_once('|').unwrap();
        assert_eq!(db.rows("SELECT * FROM here"), [format!("NULL|{mode}|1|{zone}|{}", db.name)]);
        assert_eq!(other.tables(), ["there"]);
    }

    fn two_databases_do_not_share_a_lock(db) {
        let other = Database::new(db.kind);
        db.create();
        db.migration(1, "slow", "DO SLEEP(300);", "");
        other.migration(1, "quick", "CREATE TABLE t (a INT);", "");
        let slow = db.start_sleeping("migrate up", &[]);
        assert_eq!(other.airun("migrate up --lock-timeout 0").code, 0);
        db.end_sleep("KILL");
        assert_eq!(slow.finish().code, 1);
    }

    fn twenty_concurrent_ups_all_succeed(db) {
        for i in 1..6 {
            db.migration(i, "m", &format!("CREATE TABLE m{i} (a INT);\nINSERT INTO m{i} VALUES (1);"), "");
        }
        let all: Vec<_> = (0..20).map(|_| db.start("migrate up")).collect();
        for one in all {
            let one = one.finish();
            assert_eq!(one.code, 0, "{one:?}");
        }
        for i in 1..6 {
            assert_eq!(db.rows(&format!("SELECT * FROM m{i}")), ["1"]);
        }
    }
}
