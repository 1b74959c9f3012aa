//! A crash at each step of the journal's protocol: a plain `up` afterwards, and every statement has happened once.

use crate::on_both;
use crate::support::Database;

/// Those that `up` passes: within the run of a script, and around each record of the journal.
const UP: [&str; 20] = [
    "begin-before",
    "begin-after",
    "progress-before",
    "progress-after",
    "finish-before",
    "finish-after",
    "rows-sent",
    "rows-recorded",
    "rows-committed",
    "ddl-intended",
    "ddl-done",
    "unclassified-intended",
    "unclassified-run",
    "unclassified-recorded",
    "unclassified-committed",
    "script-recorded",
    "script-committed",
    "script-ended",
    "whole-recorded",
    "deferred-recorded",
];

/// Those that `rollback` passes.
const DOWN: [&str; 13] = [
    "begin-rollback-before",
    "begin-rollback-after",
    "progress-before",
    "progress-after",
    "forget-before",
    "forget-after",
    "rows-sent",
    "rows-recorded",
    "rows-committed",
    "ddl-intended",
    "ddl-done",
    "whole-recorded",
    "finished",
];

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

/// What `args` do to an empty database with all of it applied, where nothing comes in between.
fn expected(like: &Database, args: &[&str]) -> String {
    let straight = Database::new(like.kind);
    mixed(&straight);
    for args in args {
        let ended = straight.airun(args);
        assert_eq!(ended.code, 0, "{ended:?}");
    }
    found(&straight)
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

/// Runs `args` and crashes at the n-th passing of `point`, for each n until it is passed no more. `before` makes the
/// database ready each time, `after` makes it good and looks.
fn crash_everywhere(db: &Database, point: &str, args: &str, before: &dyn Fn(), after: &dyn Fn(&str)) {
    for n in 1.. {
        drop_database(db);
        before();
        let fault = format!("{point}:{n}");
        let crashed = db.start_with(args, &[("AIRUN_FAULT", fault.as_str())]).finish();
        if crashed.code == 0 {
            assert!(n > 1, "`{point}` was never passed");
            return;
        }
        assert_eq!(crashed.code, 128 + 6, "{fault}: {crashed:?}");
        after(&fault);
    }
}

fn succeed(db: &Database, args: &str, fault: &str) {
    let ended = db.airun(args);
    assert_eq!(ended.code, 0, "{fault}: {args}: {ended:?}");
}

on_both! {
    fn a_crash_at_any_step_of_up_is_made_good_by_the_next_up(db) {
        let expected = expected(db, &["migrate up"]);
        mixed(db);
        for point in UP {
            crash_everywhere(db, point, "migrate up", &|| {}, &|fault| {
                succeed(db, "migrate up", fault);
                assert_eq!(found(db), expected, "{fault}");
                assert_eq!(db.airun("migrate status --check").code, 0, "{fault}");
            });
        }
    }

    fn a_crash_at_any_step_of_rollback_is_made_good_by_the_next_rollback(db) {
        let down = "migrate rollback --to 20260101000001";
        let expected = expected(db, &["migrate up", down]);
        mixed(db);
        for point in DOWN {
            crash_everywhere(db, point, down, &|| succeed(db, "migrate up", point), &|fault| {
                succeed(db, down, fault);
                assert_eq!(found(db), expected, "{fault}");
                assert_eq!(db.rows("SELECT version, state FROM ai_migrations"), ["20260101000001|applied"], "{fault}");
            });
        }
    }

    fn a_crash_at_any_step_of_redo_is_made_good_by_up(db) {
        let expected = expected(db, &["migrate up"]);
        mixed(db);
        for point in ["begin-rollback-before", "begin-rollback-after", "forget-before", "forget-after", "begin-before", "begin-after", "finish-before", "finish-after"] {
            crash_everywhere(db, point, "migrate redo -n 2", &|| succeed(db, "migrate up", point), &|fault| {
                succeed(db, "migrate up", fault);
                assert_eq!(found(db), expected, "{fault}");
                assert_eq!(db.airun("migrate status --check").code, 0, "{fault}");
            });
        }
    }

    fn a_crash_of_resolve_or_baseline_leaves_the_row_as_it_was_or_as_it_was_to_be(db) {
        db.migration(1, "a", "CREATE TABLE a (a INT);\nINSERT INTO nosuch VALUES (1);", "DROP TABLE a;");
        let fail = || assert_eq!(db.airun("migrate up").code, 1);
        let state = || db.rows("SELECT CONCAT(state, ' ', statements_done) FROM ai_migrations");
        for (way, to) in [("--applied", vec!["applied 2"]), ("--from-statement 1", vec!["applying 0"]), ("--pending", vec![])] {
            let args = format!("migrate resolve 20260101000001 {way}");
            let step = if to.is_empty() { "forget" } else { "resolve" };
            crash_everywhere(db, &format!("{step}-before"), &args, &fail, &|_| assert_eq!(state(), ["applying 1"]));
            crash_everywhere(db, &format!("{step}-after"), &args, &fail, &|_| assert_eq!(state(), to));
        }
        db.migration(2, "b", "CREATE TABLE b (a INT);", "");
        let adopt = "migrate baseline 20260101000002";
        for (point, recorded) in [("begin-before", 0), ("begin-after", 1)] {
            let passes = std::cell::Cell::new(recorded);
            crash_everywhere(db, point, adopt, &|| db.create(), &|fault| {
                assert_eq!(db.rows("SELECT COUNT(*) FROM ai_migrations"), [passes.get().to_string()], "{fault}");
                passes.set(passes.get() + 1);
                succeed(db, adopt, fault);
                assert_eq!(db.rows("SELECT state FROM ai_migrations"), ["baseline", "baseline"], "{fault}");
            });
        }
    }

    fn a_crash_while_a_failure_is_written_down_loses_only_the_reason(db) {
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

    fn a_crash_while_going_on_is_made_good_too(db) {
        let expected = expected(db, &["migrate up"]);
        mixed(db);
        let crash = || assert_eq!(db.start_with("migrate up", &[("AIRUN_FAULT", "ddl-done:9")]).finish().code, 128 + 6);
        for point in ["progress-before", "progress-after", "replace-before", "replace-after"] {
            crash_everywhere(db, point, "migrate up", &crash, &|fault| {
                succeed(db, "migrate up", fault);
                assert_eq!(found(db), expected, "{fault}");
            });
        }
    }

    fn what_changes_no_definition_is_done_again_without_harm(db) {
        let up = "CREATE TABLE t (a INT PRIMARY KEY, b INT);\nINSERT INTO t VALUES (1, 1), (2, 2);\nALTER TABLE t ENGINE = InnoDB;\n\
                  UPDATE t SET b = b + 1;\nALTER TABLE t FORCE;\nUPDATE t SET b = b + 1;\nOPTIMIZE TABLE t;\nUPDATE t SET b = b + 1;\n\
                  ANALYZE TABLE t;\nUPDATE t SET b = b + 1;\nALTER TABLE t DROP COLUMN b, ADD COLUMN b INT;\nUPDATE t SET b = COALESCE(b, 0) + 1;\n\
                  TRUNCATE TABLE t;\nINSERT INTO t VALUES (3, 3);\nCREATE TABLE IF NOT EXISTS t (c INT);\nUPDATE t SET b = b + 1;\n";
        db.migration(1, "rebuilt", up, "DROP TABLE t;");
        crash_everywhere(db, "ddl-done", "migrate up", &|| {}, &|fault| {
            // The fingerprint is what it was, so each of them is run once more.
            succeed(db, "migrate up", fault);
            assert_eq!(db.rows("SELECT a, b FROM t"), ["3|4"], "{fault}");
        });
    }

    fn a_crash_before_the_commit_of_a_file_of_rows_leaves_nothing(db) {
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
