//! Tests procedures that commit inside, and what airun finds after it died during such a call.

use crate::on_both;
use crate::support::Database;

/// Kills airun while the procedure sleeps.
fn kill_in_call(db: &Database) {
    let up = db.start_sleeping("migrate up", &[]);
    up.signal("KILL");
    assert_eq!(up.finish().code, 137);
}

on_both! {
    fn server_records_the_end_of_a_call_after_airun_died(db) {
        db.create();
        db.migration(
            1,
            "p",
            "CREATE TABLE log (id INT AUTO_INCREMENT PRIMARY KEY, what VARCHAR(20));\n\
             CREATE PROCEDURE p(OUT n INT) BEGIN INSERT INTO log (what) VALUES ('a'); CREATE TABLE made (a INT); DO SLEEP(2); INSERT INTO log (what) VALUES ('b'); SET n = 40; END;\n\
             CALL p(@n);\nINSERT INTO log (what) VALUES (@n + 2);",
            "DROP TABLE log, made;\nDROP PROCEDURE p;",
        );
        kill_in_call(db);
        let on = db.airun("migrate up");
        assert_eq!(on.code, 0, "{on:?}");
        assert_eq!(db.rows("SELECT what FROM log ORDER BY id"), ["a", "b", "42"]);
    }

    fn call_interrupted_after_its_own_commit_needs_resolve(db) {
        db.create();
        // The server ends this procedure because it can't send the selected rows to the killed client.
        db.migration(
            1,
            "p",
            "CREATE TABLE log (id INT AUTO_INCREMENT PRIMARY KEY, what VARCHAR(20));\n\
             CREATE PROCEDURE p() BEGIN DECLARE i INT DEFAULT 0; INSERT INTO log (what) VALUES ('a'); CREATE TABLE made (a INT); DO SLEEP(2);\n\
             WHILE i < 500 DO SELECT REPEAT('x', 100000); SET i = i + 1; END WHILE; INSERT INTO log (what) VALUES ('b'); END;\n\
             CALL p();\nINSERT INTO log (what) VALUES ('c');",
            "DROP TABLE log, made;\nDROP PROCEDURE p;",
        );
        kill_in_call(db);
        let asked = db.airun("migrate up");
        assert_eq!(asked.code, 5, "{asked:?}");
        assert!(asked.stderr.contains("statement 3 of 4 committed something and was interrupted before its end"), "{asked:?}");
        assert_eq!(db.rows("SELECT what FROM log ORDER BY id"), ["a"]);
        assert_eq!(db.airun("migrate status --check").code, 5);
        assert_eq!(db.airun("migrate resolve 20260101000001 --from-statement 4").code, 0);
        let on = db.airun("migrate up");
        assert_eq!(on.code, 0, "{on:?}");
        assert_eq!(db.rows("SELECT what FROM log ORDER BY id"), ["a", "c"]);
    }

    fn call_that_fails_after_its_own_commit_says_so(db) {
        db.migration(
            1,
            "p",
            "CREATE TABLE t (a INT);\nCREATE PROCEDURE p() BEGIN CREATE TABLE made (a INT); INSERT INTO nosuch VALUES (1); END;\nCALL p();",
            "",
        );
        let failed = db.airun("migrate up");
        assert_eq!(failed.code, 1);
        assert!(failed.stderr.contains("statement 3 of 3 failed: 1146"), "{failed:?}");
        assert!(failed.stderr.ends_with("\n  statement 3 committed something before it failed; check what it changed before you fix it and run it again\n"), "{failed:?}");
        // A call that committed nothing can run again.
        db.migration(2, "q", "CREATE TABLE u (a INT PRIMARY KEY);\nCREATE PROCEDURE q() BEGIN INSERT INTO u VALUES (1); INSERT INTO nosuch VALUES (1); END;\nCALL q();", "");
        assert_eq!(db.airun("migrate resolve 20260101000001 --applied").code, 0);
        let failed = db.airun("migrate up");
        assert!(failed.stderr.ends_with("\n  fix statement 3 and run `airun migrate up` again; it resumes there\n"), "{failed:?}");
        assert!(db.rows("SELECT a FROM u").is_empty());
    }

    fn resumed_script_gets_its_temporary_tables_and_prepared_statements_back(db) {
        let script = |third: &str| format!(
            "CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, a INT, b VARCHAR(9));\nCREATE TEMPORARY TABLE tmp (a INT);\nCREATE TEMPORARY TABLE gone AS SELECT 1 AS a FROM t;\n\
             DROP TEMPORARY TABLE gone;\nINSERT INTO tmp VALUES (1), (2);\nUPDATE tmp SET a = a * 10;\nALTER TABLE tmp ADD b VARCHAR(9);\n\
             SET @q = 'INSERT INTO t (a, b) SELECT a, b FROM tmp';\nPREPARE s FROM @q;\nALTER TABLE t ADD c INT;\n{third};\nEXECUTE s;\n");
        db.migration(1, "tmp", &script("INSERT INTO nosuch VALUES (1)"), "DROP TABLE t;");
        assert_eq!(db.airun("migrate up").code, 1);
        db.migration(1, "tmp", &script("UPDATE tmp SET b = 'x'"), "DROP TABLE t;");
        let on = db.airun("migrate up");
        assert_eq!(on.code, 0, "{on:?}");
        assert_eq!(db.rows("SELECT a, b FROM t ORDER BY a"), ["10|x", "20|x"]);
    }

    fn session_that_cannot_be_restored_needs_resolve(db) {
        for (i, lost) in (1..).zip([
            "CREATE TEMPORARY TABLE tmp AS SELECT a FROM t",
            "SET @q = 'DO 1';\nPREPARE s FROM @q;\nSET @q = 'DO 2'",
        ]) {
            let script = format!("CREATE TABLE IF NOT EXISTS t (a INT);\n{lost};\nALTER TABLE t ADD b{i} INT;\nINSERT INTO nosuch VALUES (1);\n");
            db.migration(i, "lost", &script, "");
            assert_eq!(db.airun("migrate up").code, 1);
            db.migration(i, "lost", &script.replace("nosuch VALUES", "t (a) VALUES"), "");
            let asked = db.airun("migrate up");
            assert_eq!(asked.code, 1);
            assert!(asked.stderr.contains("can't be restored for certain"), "{asked:?}");
            assert_eq!(db.airun(&format!("migrate resolve 2026010100000{i} --applied")).code, 0);
        }
    }
}
