//! Crashes at each fault point of the journal's protocol. After the next run, every statement has taken effect once.

use std::collections::HashMap;
use std::sync::Mutex;

use crate::at_each_point;
use crate::on_both;
use crate::support::{Database, tier};

fn mixed(db: &Database) {
    db.migration(1, "base", "CREATE TABLE base (a INT);", "DROP TABLE base;");
    db.migration(
        2,
        "mixed",
        "CREATE TABLE log (id INT AUTO_INCREMENT PRIMARY KEY, what VARCHAR(40), extra2 INT);\n\
         CREATE INDEX log_what ON log (what);\nCREATE TABLE second (id INT PRIMARY KEY);\nDROP TABLE second;\n\
         INSERT INTO log (what) VALUES ('one');\nINSERT INTO log (what) VALUES ('two');\n\
         SET @n = 3;\n\
         ALTER TABLE log ADD extra INT NOT NULL DEFAULT 0;\n\
         CREATE PROCEDURE bump() BEGIN INSERT INTO log (what) VALUES ('bumped'); END;\n\
         CALL bump();\n\
         CREATE PROCEDURE make() BEGIN INSERT INTO log (what) VALUES ('made'); CREATE TABLE made (a INT); END;\n\
         CALL make();\n\
         INSERT INTO log (what) VALUES (CONCAT('n', @n));\n\
         START TRANSACTION;\nINSERT INTO log (what) VALUES ('in');\nUPDATE log SET extra = extra + 1;\nCOMMIT;\n\
         LOCK TABLES log WRITE;\nINSERT INTO log (what) VALUES ('locked');\nUNLOCK TABLES;\n\
         /*!40000 INSERT INTO log (what) VALUES ('versioned') */;\n\
         CREATE VIEW v AS SELECT what FROM log;\nDROP TABLE made;\nINSERT INTO log (what) VALUES ('last');\n",
        "DROP VIEW v;\nDELETE FROM log WHERE what = 'last';\nDROP PROCEDURE make;\nDROP PROCEDURE bump;\nDELETE FROM log;\nDROP TABLE log;\n",
    );
    for i in [3, 4] {
        db.migration(
            i,
            "new",
            &format!("CREATE TABLE a{i} (a INT, b INT);\nCREATE INDEX a{i}_a ON a{i} (a);\nCREATE UNIQUE INDEX a{i}_b ON a{i} (b);\n\
                      CREATE TABLE b{i} (a INT);\nCREATE VIEW w{i} AS SELECT a FROM b{i};\nCREATE TRIGGER t{i} BEFORE INSERT ON b{i} FOR EACH ROW SET NEW.a = 1;\n"),
            &format!("DROP VIEW w{i};\nDROP TABLE b{i}, a{i};\n"),
        );
    }
    db.migration(5, "rows", "INSERT INTO log (what) VALUES ('whole');", "DELETE FROM log WHERE what = 'whole';");
}

/// Returns the effects of `args` on an empty database without a crash. They are computed once for each server.
fn expected(like: &Database, args: &[&str]) -> String {
    static KNOWN: Mutex<Option<HashMap<String, String>>> = Mutex::new(None);
    let mut known = KNOWN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let straight = || {
        let straight = Database::new(like.kind);
        mixed(&straight);
        for args in args {
            let ended = straight.airun(args);
            assert_eq!(ended.code, 0, "{ended:?}");
        }
        found(&straight)
    };
    known.get_or_insert_default().entry(format!("{:?} {args:?}", like.kind)).or_insert_with(straight).clone()
}

fn found(db: &Database) -> String {
    let rows = if db.tables().contains(&"log".to_owned()) {
        db.rows("SELECT what, extra FROM log ORDER BY id").join("\n")
    } else {
        String::new()
    };
    rows + &db.airun("migrate dump").stdout
}

fn drop_database(db: &Database) {
    db.execute(&[&format!("DROP DATABASE IF EXISTS `{}`", db.name)]);
}

/// Runs `args` and crashes when it reaches `point` the n-th time, for n = 1, 2, 4, 8 … (in the long tier for each n) until
/// it is reached less often. `before` prepares the database each time, `after` recovers and checks it.
fn crash_everywhere(db: &Database, point: &str, args: &str, before: &dyn Fn(), after: &dyn Fn(&str, u32)) {
    let mut n = 1;
    loop {
        drop_database(db);
        before();
        let fault = format!("{point}:{n}");
        let crashed = db.start_with(args, &[("AIRUN_FAULT", fault.as_str())]).finish();
        if crashed.code == 0 {
            assert!(n > 1, "`{point}` was never reached");
            return;
        }
        assert_eq!(crashed.code, 128 + 6, "{fault}: {crashed:?}");
        after(&fault, n);
        n = if tier::is_long() { n + 1 } else { n * 2 };
    }
}

fn succeed(db: &Database, args: &str, fault: &str) {
    let ended = db.airun(args);
    assert_eq!(ended.code, 0, "{fault}: {args}: {ended:?}");
}

const ROLLBACK: &str = "migrate rollback --to 20260101000001";

fn up_recovers(db: &Database, point: &str) {
    let expected = expected(db, &["migrate up"]);
    mixed(db);
    crash_everywhere(db, point, "migrate up", &|| {}, &|fault, _| {
        succeed(db, "migrate up", fault);
        assert_eq!(found(db), expected, "{fault}");
        assert_eq!(db.airun("migrate status --check").code, 0, "{fault}");
    });
}

fn rollback_recovers(db: &Database, point: &str) {
    let expected = expected(db, &["migrate up", ROLLBACK]);
    mixed(db);
    crash_everywhere(db, point, ROLLBACK, &|| succeed(db, "migrate up", point), &|fault, _| {
        succeed(db, ROLLBACK, fault);
        assert_eq!(found(db), expected, "{fault}");
        assert_eq!(db.rows("SELECT version, state FROM ai_migrations"), ["20260101000001|applied"], "{fault}");
    });
}

fn up_recovers_redo(db: &Database, point: &str) {
    let expected = expected(db, &["migrate up"]);
    mixed(db);
    crash_everywhere(db, point, "migrate redo -n 2", &|| succeed(db, "migrate up", point), &|fault, _| {
        succeed(db, "migrate up", fault);
        assert_eq!(found(db), expected, "{fault}");
        assert_eq!(db.airun("migrate status --check").code, 0, "{fault}");
    });
}

fn recovery_recovers(db: &Database, point: &str) {
    let expected = expected(db, &["migrate up"]);
    mixed(db);
    let crash = || {
        let crashed = db.start_with("migrate up", &[("AIRUN_FAULT", "ddl-done:9")]).finish();
        assert_eq!(crashed.code, 128 + 6, "{crashed:?}");
    };
    crash_everywhere(db, point, "migrate up", &crash, &|fault, _| {
        succeed(db, "migrate up", fault);
        assert_eq!(found(db), expected, "{fault}");
    });
}

mod up {
    use super::*;

    at_each_point! {
        up_recovers:
        begin_before
        begin_after
        progress_before
        progress_after
        finish_before
        finish_after
        rows_sent
        rows_recorded
        rows_committed
        ddl_intended
        ddl_done
        unclassified_intended
        unclassified_run
        unclassified_recorded
        unclassified_committed
        script_recorded
        script_committed
        script_ended
        whole_recorded
        deferred_recorded
    }
}

mod rollback {
    use super::*;

    at_each_point! {
        rollback_recovers:
        begin_rollback_before
        begin_rollback_after
        progress_before
        progress_after
        forget_before
        forget_after
        rows_sent
        rows_recorded
        rows_committed
        ddl_intended
        ddl_done
        whole_recorded
        finished
    }
}

mod redo {
    use super::*;

    at_each_point! {
        up_recovers_redo:
        begin_rollback_before
        begin_rollback_after
        forget_before
        forget_after
        begin_before
        begin_after
        finish_before
        finish_after
    }
}

mod recovery {
    use super::*;

    at_each_point! {
        recovery_recovers:
        progress_before
        progress_after
        replace_before
        replace_after
    }
}

on_both! {
    fn crashed_resolve_or_baseline_records_all_or_nothing(db) {
        db.migration(1, "a", "CREATE TABLE a (a INT);\nINSERT INTO nosuch VALUES (1);", "DROP TABLE a;");
        let fail = || assert_eq!(db.airun("migrate up").code, 1);
        let state = || db.rows("SELECT CONCAT(state, ' ', statements_done) FROM ai_migrations");
        for (way, to) in [("--applied", vec!["applied 2"]), ("--from-statement 1", vec!["applying 0"]), ("--pending", vec![])] {
            let args = format!("migrate resolve 20260101000001 {way}");
            let step = if to.is_empty() { "forget" } else { "resolve" };
            crash_everywhere(db, &format!("{step}-before"), &args, &fail, &|_, _| assert_eq!(state(), ["applying 1"]));
            crash_everywhere(db, &format!("{step}-after"), &args, &fail, &|_, _| assert_eq!(state(), to));
        }
        db.migration(2, "b", "CREATE TABLE b (a INT);", "");
        let adopt = "migrate baseline 20260101000002";
        for (point, recorded) in [("begin-before", 0), ("begin-after", 1)] {
            crash_everywhere(db, point, adopt, &|| db.create(), &|fault, n| {
                assert_eq!(db.rows("SELECT COUNT(*) FROM ai_migrations"), [(recorded + n - 1).to_string()], "{fault}");
                succeed(db, adopt, fault);
                assert_eq!(db.rows("SELECT state FROM ai_migrations"), ["baseline", "baseline"], "{fault}");
            });
        }
    }

    fn crash_while_recording_a_failure_loses_only_the_reason(db) {
        db.migration(1, "a", "CREATE TABLE a (a INT);\nINSERT INTO a VALUES (1);\nINSERT INTO a VALUES (2, 3);\nINSERT INTO a VALUES (4);", "DROP TABLE a;");
        for point in ["before-failed", "failed", "fail-before", "fail-after"] {
            drop_database(db);
            db.migration(1, "a", "CREATE TABLE a (a INT);\nINSERT INTO a VALUES (1);\nINSERT INTO a VALUES (2, 3);\nINSERT INTO a VALUES (4);", "DROP TABLE a;");
            let crashed = db.start_with("migrate up", &[("AIRUN_FAULT", point)]).finish();
            assert_eq!(crashed.code, 128 + 6, "{point}: {crashed:?}");
            db.migration(1, "a", "CREATE TABLE a (a INT);\nINSERT INTO a VALUES (1);\nINSERT INTO a VALUES (2);\nINSERT INTO a VALUES (4);", "DROP TABLE a;");
            succeed(db, "migrate up", point);
            assert_eq!(db.rows("SELECT a FROM a"), ["1", "2", "4"], "{point}");
        }
    }

    fn ddl_without_visible_effect_is_repeated_safely(db) {
        let up = "CREATE TABLE t (a INT PRIMARY KEY, b INT);\nINSERT INTO t VALUES (1, 1), (2, 2);\nALTER TABLE t ENGINE = InnoDB;\n\
                  UPDATE t SET b = b + 1;\nALTER TABLE t FORCE;\nUPDATE t SET b = b + 1;\nOPTIMIZE TABLE t;\nUPDATE t SET b = b + 1;\n\
                  ANALYZE TABLE t;\nUPDATE t SET b = b + 1;\nALTER TABLE t DROP COLUMN b, ADD COLUMN b INT;\nUPDATE t SET b = COALESCE(b, 0) + 1;\n\
                  TRUNCATE TABLE t;\nINSERT INTO t VALUES (3, 3);\nCREATE TABLE IF NOT EXISTS t (c INT);\nUPDATE t SET b = b + 1;\n";
        db.migration(1, "rebuilt", up, "DROP TABLE t;");
        crash_everywhere(db, "ddl-done", "migrate up", &|| {}, &|fault, _| {
            // The fingerprint is unchanged, so the statement runs again after each crash.
            succeed(db, "migrate up", fault);
            assert_eq!(db.rows("SELECT a, b FROM t"), ["3|4"], "{fault}");
        });
    }

    fn crash_before_the_commit_of_a_dml_file_leaves_nothing(db) {
        db.create();
        db.execute(&["CREATE TABLE t (a INT)"]);
        db.migration(1, "rows", "INSERT INTO t VALUES (1);\nINSERT INTO t VALUES (2);", "");
        let crashed = db.start_with("migrate up", &[("AIRUN_FAULT", "whole-recorded")]).finish();
        assert_eq!(crashed.code, 128 + 6, "{crashed:?}");
        assert!(db.rows("SELECT * FROM t").is_empty());
        assert_eq!(db.airun("migrate up").code, 0);
        assert_eq!(db.rows("SELECT * FROM t"), ["1", "2"]);
    }
}
