//! Tests how a migration resumes after a failure, and `airun migrate resolve`.

use crate::on_both;
use crate::support::Database;

const UP: &str = "CREATE TABLE a (a INT);\nINSERT INTO a VALUES (1);\nSET @x = 41;\nINSERT INTO nosuch VALUES (2);\nINSERT INTO a VALUES (@x + 1);\n";

fn failed(db: &Database) {
    db.migration(1, "five", UP, "DROP TABLE a;");
    assert_eq!(db.airun("migrate up").code, 1);
}

on_both! {
    fn up_resumes_at_the_failed_statement_once_it_is_fixed(db) {
        failed(db);
        db.write("20260101000001_five_UP.sql", UP.replace("INSERT INTO nosuch", "-- fixed\nINSERT INTO a").replace("VALUES (2)", "VALUES (2);\nINSERT INTO a VALUES (3)"));
        let on = db.airun("migrate up");
        assert_eq!(on.code, 0, "{on:?}");
        assert!(on.stderr.contains("airun: note: 20260101000001_five resumes after statement 3 of 6\n"), "{on:?}");
        // The user variable is restored, too.
        assert_eq!(db.rows("SELECT * FROM a"), ["1", "2", "3", "42"]);
        assert_eq!(db.airun("migrate status --check").code, 0);
    }

    fn user_variables_keep_their_values_types_and_character_sets(db) {
        let script = |then: &str| format!(
            "SET @n = -3, @d = 1.50, @f = 2.5e0, @u = 18446744073709551615, @b = UNHEX('ff0027'), @t = 'hé''x', @l = _latin1 x'e9', @none = NULL;\n\
             CREATE TABLE a (s TEXT);\n{then};\n\
             INSERT INTO a SELECT CONCAT_WS(' ', @n + 1, @d, @f, @u, HEX(@b), CHARSET(@b), @t, HEX(@l), CHARSET(@l), @none IS NULL);\n"
        );
        // A statement that the journal classifies, and one that it can't.
        for failing in ["INSERT INTO nosuch VALUES (1)", "CALL nosuch()"] {
            db.execute(&[&format!("DROP DATABASE IF EXISTS `{}`", db.name)]);
            db.migration(1, "a", &script(failing), "");
            assert_eq!(db.airun("migrate up").code, 1);
            db.migration(1, "a", &script("DO 1"), "");
            let resumed = db.airun("migrate up");
            assert_eq!(resumed.code, 0, "{failing}: {resumed:?}");
            assert_eq!(db.rows("SELECT s FROM a"), ["-2 1.50 2.5 18446744073709551615 FF0027 binary hé'x E9 latin1 1"]);
        }
    }

    fn a_failure_keeps_the_ddl_before_it(db) {
        for (i, failing) in (1..).zip(["SET nosuch = 1", "INSERT INTO nosuch VALUES (1)", "DROP TABLE nosuch"]) {
            for before in ["", "SET autocommit = 0;\n", "SET autocommit = 0;\nINSERT INTO t VALUES (1);\nCOMMIT;\n"] {
                db.execute(&[&format!("DROP DATABASE IF EXISTS `{}`", db.name)]);
                let script = |failing: &str| format!("CREATE TABLE t (a INT);\n{before}CREATE TABLE t{i} (a INT);\n{failing};\nCOMMIT;\n");
                db.migration(1, "a", &script(failing), "");
                assert_eq!(db.airun("migrate up").code, 1);
                db.migration(1, "a", &script("DO 1"), "");
                let resumed = db.airun("migrate up");
                assert_eq!(resumed.code, 0, "{failing} after {before}: {resumed:?}");
            }
        }
    }

    fn a_failure_in_a_transaction_of_the_script_undoes_that_transaction(db) {
        for begin in ["START TRANSACTION", "SET autocommit = 0"] {
            db.execute(&[&format!("DROP DATABASE IF EXISTS `{}`", db.name)]);
            let script = |third: &str| format!("CREATE TABLE t (a INT);\n{begin};\nINSERT INTO t VALUES (1);\nINSERT INTO {third} VALUES (2);\nCOMMIT;\n");
            db.migration(1, "a", &script("nosuch"), "");
            assert_eq!(db.airun("migrate up").code, 1);
            assert!(db.rows("SELECT a FROM t").is_empty());
            db.migration(1, "a", &script("t"), "");
            let resumed = db.airun("migrate up");
            assert_eq!(resumed.code, 0, "{begin}: {resumed:?}");
            assert_eq!(db.rows("SELECT a FROM t ORDER BY a"), ["1", "2"], "{begin}");
        }
    }

    fn editing_executed_statements_is_refused_with_a_diff(db) {
        failed(db);
        db.write("20260101000001_five_UP.sql", UP.replace("VALUES (1)", "VALUES (100)").replace("nosuch", "a"));
        let refused = db.airun("migrate up");
        assert_eq!(refused.code, 4, "{refused:?}");
        assert!(refused.stderr.contains("its first 3 statements have run and were edited since"), "{refused:?}");
        assert!(refused.stderr.contains("  -INSERT INTO a VALUES (1);\n  +INSERT INTO a VALUES (100);\n"), "{refused:?}");
        assert_eq!(db.rows("SELECT * FROM a"), ["1"]);
        // An operator can accept the edit.
        let accepted = db.airun("migrate resolve 20260101000001 --accept-edit");
        assert_eq!(accepted.code, 0, "{accepted:?}");
        assert_eq!(db.airun("migrate up").code, 0);
        assert_eq!(db.rows("SELECT * FROM a"), ["1", "2", "42"]);
    }

    fn resolve_from_statement_resumes_there(db) {
        failed(db);
        let dry = db.airun("migrate resolve 20260101000001 --from-statement 5 --dry-run");
        assert_eq!((dry.code, dry.stdout.as_str()), (0, "would be recorded: 4 of 5 statements of 20260101000001_five were applied; `airun migrate up` resumes there\n"), "{dry:?}");
        assert_eq!(db.rows("SELECT statements_done FROM ai_migrations"), ["3"]);
        assert_eq!(db.airun("migrate resolve 20260101000001 --from-statement 5").code, 0);
        assert_eq!(db.airun("migrate up").code, 0);
        assert_eq!(db.rows("SELECT * FROM a"), ["1", "42"]);
        let beyond = db.airun("migrate resolve 20260101000001 --from-statement 5");
        assert_eq!((beyond.code, beyond.stderr.as_str()), (2, "airun: error: 20260101000001_five has not stopped half-way; there is nothing to resolve\n"));
    }

    fn resolve_as_applied_or_pending(db) {
        failed(db);
        let k = db.airun("migrate resolve 20260101000001 --from-statement 7");
        assert_eq!(k.code, 2);
        assert!(k.stderr.contains("has 5 statements; give 1 to 6"), "{k:?}");
        assert_eq!(db.airun("migrate resolve 20260101000001 --applied").code, 0);
        assert_eq!(db.airun("migrate status --check").code, 0);
        let pending = db.airun("migrate resolve 20260101000001 --pending");
        assert_eq!(pending.stdout, "recorded: 20260101000001_five is pending\n");
        assert_eq!(db.airun("migrate status --check").code, 3);
        assert_eq!(db.airun("migrate resolve 20260101000001 --applied").stdout, "recorded: 20260101000001_five is applied\n");
        assert_eq!(db.airun("migrate rollback").code, 0);
        assert!(db.tables().is_empty());
    }

    fn failed_rollback_resumes(db) {
        db.migration(1, "a", "CREATE TABLE a (a INT);\nCREATE TABLE b (a INT);", "DROP TABLE a;\nDROP TABLE nosuch;\nDROP TABLE b;\n");
        assert_eq!(db.airun("migrate up").code, 0);
        let failed = db.airun("migrate rollback");
        assert_eq!(failed.code, 1);
        assert!(failed.stderr.contains("20260101000001_a_DOWN.sql:2:1: statement 2 of 3 failed: 1051"), "{failed:?}");
        assert!(db.airun("migrate status").stdout.contains("partial rollback"));
        db.write("20260101000001_a_DOWN.sql", "DROP TABLE a;\nDROP TABLE IF EXISTS nosuch;\nDROP TABLE b;\n");
        let on = db.airun("migrate rollback");
        assert_eq!(on.code, 0, "{on:?}");
        assert!(db.tables().is_empty());
        assert_eq!(db.rows("SELECT COUNT(*) FROM ai_migrations"), ["0"]);
    }
}
