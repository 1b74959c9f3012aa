//! Tests the migration lock's form for clusters on one server: the lock is a row with an expiry, and every journal write
//! updates it in the same transaction.

use mysql::prelude::Queryable;

use crate::on_both;
use crate::support::{Database, Running, wait_until};

const FORCED: [(&str, &str); 1] = [("AIRUN_FORCE", "lease")];

fn start(db: &Database, args: &str) -> Running {
    db.start_with(args, &FORCED)
}

fn slow(db: &Database) -> Running {
    db.create();
    db.migration(
        1,
        "slow",
        "CREATE TABLE t (a INT);\nINSERT INTO t VALUES (1);\nDO SLEEP(60);\nINSERT INTO t VALUES (2);\nCREATE TABLE u (a INT);",
        "DROP TABLE u, t;",
    );
    db.start_sleeping("migrate up", &FORCED)
}

on_both! {
    fn eight_concurrent_ups_apply_each_migration_once(db) {
        for i in 1..5 {
            db.migration(i, "m", &format!("CREATE TABLE m{i} (a INT);\nSET @a = {i};\nINSERT INTO m{i} VALUES (@a);\nLOCK TABLES m{i} WRITE;\nINSERT INTO m{i} VALUES (5);\nUNLOCK TABLES;"), "");
        }
        let all: Vec<_> = (0..8).map(|_| start(db, "migrate up")).collect();
        for one in all {
            let one = one.finish();
            assert_eq!(one.code, 0, "{one:?}");
        }
        for i in 1..5 {
            assert_eq!(db.rows(&format!("SELECT * FROM m{i}")), [i.to_string(), "5".to_owned()]);
        }
        // The lock is free, and a dump leaves out airun's own tables.
        assert_eq!(db.rows("SELECT DISTINCT token FROM ai_migrations_lock"), [""]);
        assert!(!db.airun("migrate dump").stdout.contains("ai_migrations"));
    }

    fn lock_holder_is_named_and_renews_its_lease(db) {
        let up = slow(db);
        let until = "SELECT expires_at FROM ai_migrations_lock WHERE part = 'heartbeat'";
        let first = db.rows(until);
        let late = start(db, "migrate up --lock-timeout 1s").finish();
        assert_eq!(late.code, 75, "{late:?}");
        let holder = db.rows("SELECT CONCAT(held_by, ' (connection ', connection, ' of ') FROM ai_migrations_lock WHERE part = 'holder'");
        assert!(late.stderr.contains(&format!("held by {}", holder[0])), "{late:?}");
        wait_until(|| db.rows(until) > first);
        db.end_sleep("KILL QUERY");
        let up = up.finish();
        assert_ne!(up.code, 137, "{up:?}");
        // The lock is free at once, although a statement failed.
        let on = start(db, "migrate up --lock-timeout 0").finish();
        assert_ne!(on.code, 75, "{on:?}");
    }

    fn holder_that_lost_its_lease_stops_at_the_next_journal_write(db) {
        let up = slow(db);
        db.execute(&["UPDATE ai_migrations_lock SET token = 'somebody else'"]);
        db.end_sleep("KILL QUERY");
        let up = up.finish();
        assert!([1, 75].contains(&up.code), "{up:?}");
        assert_eq!(db.tables(), ["t"]);
        assert!(db.rows("SELECT a FROM t").is_empty());
        assert_eq!(db.rows("SELECT DISTINCT token FROM ai_migrations_lock"), ["somebody else"]);
    }

    fn killed_holder_is_succeeded_after_its_lease_and_its_statement_ended(db) {
        db.create();
        db.execute(&["CREATE TABLE gate (a INT)", "INSERT INTO gate VALUES (1)"]);
        let mut keeper = db.conn();
        keeper.query_drop("START TRANSACTION").unwrap();
        keeper.query_drop("UPDATE gate SET a = 2").unwrap();
        // The server notices only at the end of the second statement that its client died.
        db.migration(1, "slow", "CREATE TABLE t (a INT);\nUPDATE gate SET a = a + 1;\nINSERT INTO t VALUES (1);", "");
        let up = start(db, "migrate up");
        wait_until(|| db.runs("UPDATE gate"));
        up.signal("KILL");
        assert_eq!(up.finish().code, 137);
        let mut next = start(db, "migrate up");
        next.wait_for("waiting for the migration lock");
        wait_until(|| db.rows("SELECT expires_at < UTC_TIMESTAMP(6) FROM ai_migrations_lock WHERE part = 'heartbeat'") == ["1"]);
        let late = start(db, "migrate up --lock-timeout 0").finish();
        assert_eq!(late.code, 75, "{late:?}");
        assert!(late.stderr.contains("whose session has not ended"), "{late:?}");
        keeper.query_drop("COMMIT").unwrap();
        let next = next.finish();
        assert_eq!(next.code, 0, "{next:?}");
        assert_eq!(db.rows("SELECT gate.a, t.a FROM gate, t"), ["3|1"]);
        assert_eq!(db.airun("migrate status --check").code, 0);
    }
}
