//! A crash at each step of the journal's protocol: a plain `up` afterwards, and every statement has happened once.

use crate::on_both;
use crate::support::Database;

/// The points of `src/migrate/run.rs`.
const POINTS: [&str; 13] = [
    "rows-sent",
    "rows-recorded",
    "rows-committed",
    "definition-intended",
    "definition-done",
    "opaque-intended",
    "opaque-run",
    "script-recorded",
    "script-committed",
    "script-ended",
    "finished",
    "settled",
    "owed-recorded",
];

fn mixed(db: &Database) {
    db.migration(
        1,
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
         CREATE VIEW v AS SELECT what FROM log;\nDROP TABLE made;\nINSERT INTO log (what) VALUES ('last');\n",
        "DROP VIEW v;\nDELETE FROM log WHERE what = 'last';\nDROP PROCEDURE make;\nDROP PROCEDURE bump;\nDELETE FROM log;\nDROP TABLE log;\n",
    );
    for i in [2, 3] {
        db.migration(
            i,
            "new",
            &format!("CREATE TABLE a{i} (a INT, b INT);\nCREATE INDEX a{i}_a ON a{i} (a);\nCREATE UNIQUE INDEX a{i}_b ON a{i} (b);\n\
                      CREATE TABLE b{i} (a INT);\nCREATE VIEW w{i} AS SELECT a FROM b{i};\nCREATE TRIGGER t{i} BEFORE INSERT ON b{i} FOR EACH ROW SET NEW.a = 1;\n"),
            &format!("DROP VIEW w{i};\nDROP TABLE b{i}, a{i};\n"),
        );
    }
    db.migration(4, "rows", "INSERT INTO log (what) VALUES ('whole');", "DELETE FROM log WHERE what = 'whole';");
}

fn expected(db: &Database) -> String {
    let straight = Database::new(db.kind);
    mixed(&straight);
    let up = straight.airun("migrate up");
    assert_eq!(up.code, 0, "{up:?}");
    let rows = straight.rows("SELECT what, extra FROM log ORDER BY id").join("\n");
    rows + &straight.airun("migrate dump").stdout
}

fn found(db: &Database) -> String {
    db.rows("SELECT what, extra FROM log ORDER BY id").join("\n") + &db.airun("migrate dump").stdout
}

/// Crashes at the n-th passing of `point`, for each n until it is passed no more.
fn crash_everywhere(db: &Database, point: &str) -> u32 {
    let expected = expected(db);
    for n in 1.. {
        mixed(db);
        let fault = format!("{point}:{n}");
        let crashed = db.start_with("migrate up", &[("AIRUN_FAULT", fault.as_str())]).finish();
        if crashed.code == 0 {
            assert_eq!(found(db), expected, "{fault}");
            db.execute(&[&format!("DROP DATABASE `{}`", db.name)]);
            return n - 1;
        }
        assert_eq!(crashed.code, 128 + 6, "{fault}: {crashed:?}");
        let on = db.airun("migrate up");
        assert_eq!(on.code, 0, "{fault}: {on:?}");
        assert_eq!(found(db), expected, "{fault}");
        assert_eq!(db.airun("migrate status --check").code, 0, "{fault}");
        let crashed = db.start_with("migrate rollback -n 4", &[("AIRUN_FAULT", fault.as_str())]).finish();
        assert!([0, 128 + 6].contains(&crashed.code), "{fault}: {crashed:?}");
        if crashed.code != 0 {
            let on = db.airun("migrate rollback -n 4");
            assert_eq!(on.code, 0, "{fault}, rollback: {on:?}");
        }
        assert!(db.tables().is_empty(), "{fault}");
        db.execute(&[&format!("DROP DATABASE `{}`", db.name)]);
    }
    0
}

on_both! {
    fn a_crash_at_any_step_is_made_good_by_the_next_up(db) {
        for point in POINTS {
            assert!(crash_everywhere(db, point) > 0, "`{point}` was never passed");
        }
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
