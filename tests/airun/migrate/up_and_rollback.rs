//! Tests `airun migrate up` and `airun migrate rollback`.

use crate::on_both;
use crate::support::{Database, User, timeless};

/// Writes three migrations: a table, rows, and a column with a procedure.
pub fn three(db: &Database) {
    db.migration(1, "users", "CREATE TABLE users (id INT PRIMARY KEY, name TEXT);", "DROP TABLE users;");
    db.migration(
        2,
        "people",
        "INSERT INTO users VALUES (1, 'Ada;');\nINSERT INTO users VALUES (2, 'Bob');",
        "DELETE FROM users;",
    );
    db.migration(
        3,
        "greeting",
        "ALTER TABLE users ADD greeting TEXT;\nCREATE PROCEDURE greet() BEGIN UPDATE users SET greeting = 'hi'; SELECT 1; END;\nCALL greet();",
        "DROP PROCEDURE greet;\nALTER TABLE users DROP greeting;",
    );
}

on_both! {
    fn up_applies_pending_migrations_once(db) {
        three(db);
        let first = db.airun("migrate up");
        assert_eq!((first.code, first.stderr.as_str()), (0, ""), "{first:?}");
        assert_eq!(
            timeless(&first.stdout),
            format!(
                "applied 20260101000001_users: 1 statement in …\napplied 20260101000002_people: 2 statements in …\n\
                 applied 20260101000003_greeting: 3 statements in …\napplied 3 migrations to `{}`\n",
                db.name
            )
        );
        assert_eq!(db.rows("SELECT * FROM users"), ["1|Ada;|hi", "2|Bob|hi"]);
        let second = db.airun("migrate up");
        assert_eq!((second.code, second.stdout), (0, format!("no migration is pending in `{}`\n", db.name)));
    }

    fn rollback_restores_the_schema(db) {
        db.migration(1, "before", "CREATE TABLE t (a INT);", "DROP TABLE t;");
        assert_eq!(db.airun("migrate up").code, 0);
        let before = db.contents();
        db.migration(2, "view", "CREATE VIEW v AS SELECT a FROM t;", "DROP VIEW v;");
        db.migration(3, "key", "ALTER TABLE t ADD KEY (a);", "ALTER TABLE t DROP KEY a;");
        db.migration(4, "rows", "INSERT INTO t VALUES (1);", "DELETE FROM t;");
        assert_eq!(db.airun("migrate up").code, 0);
        let undone = db.airun("migrate rollback -n 3");
        assert_eq!(undone.code, 0, "{undone:?}");
        assert!(undone.stdout.ends_with(&format!("rolled back 3 migrations in `{}`\n", db.name)), "{undone:?}");
        assert_eq!(db.contents(), before);
        let status = db.airun("migrate status").stdout;
        assert!(status.ends_with(&format!("`{}`: 1 applied, 3 pending\n", db.name)), "{status}");
    }

    fn rollback_runs_the_stored_down_even_if_the_files_were_deleted_or_edited(db) {
        three(db);
        assert_eq!(db.airun("migrate up").code, 0);
        db.write("20260101000003_greeting_DOWN.sql", "this is not SQL;");
        for name in ["20260101000001_users_UP.sql", "20260101000001_users_DOWN.sql"] {
            std::fs::remove_file(db.folder().join(name)).unwrap();
        }
        let undone = db.airun("migrate rollback -n 3");
        assert_eq!(undone.code, 0, "{undone:?}");
        assert!(undone.stderr.contains("20260101000003_greeting_DOWN.sql: the DOWN file was edited since; running the stored DOWN"), "{undone:?}");
        assert!(db.tables().is_empty());
    }

    fn rollback_needs_no_file(db) {
        three(db);
        assert_eq!(db.airun("migrate up").code, 0);
        for file in std::fs::read_dir(db.folder()).unwrap() {
            std::fs::remove_file(file.unwrap().path()).unwrap();
        }
        let status = db.airun("migrate status --check");
        assert_eq!(status.code, 4);
        assert!(status.stdout.ends_with("3 missing\n"), "{status:?}");
        let undone = db.airun("migrate rollback -n 3");
        assert_eq!(undone.code, 0, "{undone:?}");
        assert!(undone.stderr.contains("20260101000003_greeting_DOWN.sql: the files were deleted; running the stored DOWN"), "{undone:?}");
        assert!(db.tables().is_empty());
        assert_eq!(db.rows("SELECT COUNT(*) FROM ai_migrations"), ["0"]);
    }

    fn strict_refuses_out_of_order_migrations_before_running_any(db) {
        for i in [1, 3] {
            db.migration(i, "m", &format!("CREATE TABLE m{i} (a INT);"), "");
        }
        assert_eq!(db.airun("migrate up --strict").code, 0);
        for i in [2, 4] {
            db.migration(i, "m", &format!("CREATE TABLE m{i} (a INT);"), "");
        }
        let refused = db.airun("migrate up --strict");
        assert_eq!(
            (refused.code, refused.stderr.as_str()),
            (1, "airun: error: 20260101000002_m is older than an applied migration; give it a newer version or omit `--strict`\n")
        );
        assert_eq!(db.tables(), ["m1", "m3"]);
        assert_eq!(db.airun("migrate up").code, 0);
        assert_eq!(db.rows("SELECT version FROM ai_migrations ORDER BY applied_order"), ["20260101000001", "20260101000003", "20260101000002", "20260101000004"]);
    }

    fn irreversible_migration_is_refused_before_anything_is_changed(db) {
        db.write("20260101000001_a_UP.sql", "CREATE TABLE a (a INT);");
        db.migration(2, "b", "CREATE TABLE b (b INT);", "DROP TABLE b;");
        assert_eq!(db.airun("migrate up").code, 0);
        let refused = db.airun("migrate rollback -n 2");
        assert_eq!(refused.code, 1);
        assert_eq!(refused.stderr, "airun: error: 20260101000001_a has no DOWN, so it can't be rolled back; nothing was changed\n");
        assert_eq!(db.tables(), ["a", "b"]);
    }

    fn to_and_n_select_migrations(db) {
        three(db);
        assert_eq!(db.airun("migrate up -n 1").code, 0);
        assert_eq!(db.rows("SELECT name FROM ai_migrations"), ["users"]);
        assert_eq!(db.airun("migrate up --to 20260101000002").code, 0);
        assert_eq!(db.rows("SELECT name FROM ai_migrations ORDER BY version"), ["users", "people"]);
        assert_eq!(db.airun("migrate up").code, 0);
        assert_eq!(db.airun("migrate rollback --to 20260101000001").code, 0);
        assert_eq!(db.rows("SELECT name FROM ai_migrations"), ["users"]);
        let unknown = db.airun("migrate up --to 20250101000000");
        assert_eq!((unknown.code, unknown.stderr.as_str()), (2, "airun: error: unknown migration 20250101000000; `airun migrate status` lists all\n"));
    }

    fn dry_run_prints_the_statements_and_changes_nothing(db) {
        three(db);
        let dry = db.airun("migrate up --dry-run -n 2");
        let folder = db.folder().display();
        assert_eq!(dry.code, 0, "{dry:?}");
        assert_eq!(
            dry.stdout,
            format!(
                "-- {folder}/20260101000001_users_UP.sql:1\nCREATE TABLE users (id INT PRIMARY KEY, name TEXT);\n\n\
                 -- {folder}/20260101000002_people_UP.sql:1\nINSERT INTO users VALUES (1, 'Ada;');\n\n\
                 -- {folder}/20260101000002_people_UP.sql:2\nINSERT INTO users VALUES (2, 'Bob');\n\n\
                 -- 2 migrations would be applied; nothing was changed\n"
            )
        );
        let there = db.rows(&format!("SELECT COUNT(*) FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = '{}'", db.name));
        assert_eq!(there, ["0"]);
    }

    fn redo_applies_the_edited_files(db) {
        three(db);
        assert_eq!(db.airun("migrate up").code, 0);
        db.write("20260101000002_people_UP.sql", "INSERT INTO users VALUES (7, 'Eve');");
        let redone = db.airun("migrate redo -n 2");
        assert_eq!(redone.code, 0, "{redone:?}");
        assert_eq!(db.rows("SELECT * FROM users"), ["7|Eve|hi"]);
        assert_eq!(db.rows("SELECT name FROM ai_migrations ORDER BY applied_order"), ["users", "people", "greeting"]);
    }

    fn dml_file_is_one_transaction(db) {
        db.migration(1, "t", "CREATE TABLE t (a INT PRIMARY KEY);", "DROP TABLE t;");
        db.migration(2, "rows", "INSERT INTO t VALUES (1);\nINSERT INTO t VALUES (2);\nINSERT INTO t VALUES (1);", "");
        let failed = db.airun("migrate up");
        assert_eq!(failed.code, 1, "{failed:?}");
        let place = format!("airun: error: {}/20260101000002_rows_UP.sql:3:1: statement 3 of 3 failed: 1062 (23000): ", db.folder().display());
        assert!(failed.stderr.starts_with(&place), "{failed:?}");
        assert!(failed.stderr.ends_with("\n  INSERT INTO t VALUES (1)\n  everything was rolled back; fix it and run it again\n"), "{failed:?}");
        assert!(db.rows("SELECT * FROM t").is_empty());
        let status = db.airun("migrate status").stdout;
        assert!(status.contains("20260101000002_rows  pending"), "{status}");
    }

    fn failing_statement_is_named_and_its_predecessors_are_kept(db) {
        db.migration(
            1,
            "five",
            "CREATE TABLE a (a INT);\n\n  INSERT INTO a VALUES (1);\n  INSERT INTO nosuch VALUES (2);\nCREATE TABLE b (b INT);\nINSERT INTO b VALUES (3);\n",
            "",
        );
        let failed = db.airun("migrate up");
        assert_eq!(failed.code, 1);
        let place = format!("airun: error: {}/20260101000001_five_UP.sql:4:3: statement 3 of 5 failed: 1146 (42S02): ", db.folder().display());
        assert!(failed.stderr.starts_with(&place), "{failed:?}");
        assert!(failed.stderr.contains("\n  INSERT INTO nosuch VALUES (2)\n"), "{failed:?}");
        let status = db.airun("migrate status");
        assert!(status.stdout.contains("20260101000001_five  partial"), "{status:?}");
        assert!(status.stdout.contains("\n  2 of 5 statements done\n"), "{status:?}");
        assert!(status.stdout.contains("statement 3 of 5 failed: 1146"), "{status:?}");
        assert_eq!(db.airun("migrate status --check").code, 5);
        assert_eq!(db.rows("SELECT * FROM a"), ["1"]);
    }

    fn error_in_a_later_result_set_is_reported(db) {
        db.migration(
            1,
            "p",
            "CREATE TABLE t (a INT PRIMARY KEY);\nCREATE PROCEDURE p() BEGIN SELECT 1; SELECT 2; INSERT INTO t VALUES (1), (1); END;\nCALL p();",
            "",
        );
        let failed = db.airun("migrate up");
        assert_eq!(failed.code, 1);
        assert!(failed.stderr.contains("statement 3 of 3 failed: 1062"), "{failed:?}");
        // The error names the failing statement even if it was sent in one packet with others.
        db.migration(2, "q", "CREATE TABLE u (a INT PRIMARY KEY);", "");
        db.write("20260101000001_p_UP.sql", "CREATE TABLE t (a INT PRIMARY KEY);\nCREATE PROCEDURE p() BEGIN SELECT 1; SELECT 2; INSERT INTO t VALUES (1), (1); END;\nSELECT 1;\nSELECT 2;\nINSERT INTO t VALUES (7), (7);\nSELECT 3;\n");
        let failed = db.airun("migrate up");
        assert!(failed.stderr.contains("_p_UP.sql:5:1: statement 5 of 6 failed: 1062"), "{failed:?}");
    }

    fn eight_concurrent_ups_apply_each_migration_once(db) {
        three(db);
        for i in 4..12 {
            db.migration(i, "more", &format!("CREATE TABLE m{i} (a INT);\nINSERT INTO m{i} VALUES ({i});"), "");
        }
        let all: Vec<_> = (0..8).map(|_| db.start("migrate up")).collect();
        for one in all {
            let one = one.finish();
            assert_eq!(one.code, 0, "{one:?}");
        }
        assert_eq!(db.rows("SELECT COUNT(*), MAX(applied_order) FROM ai_migrations"), ["11|11"]);
        for i in 4..12 {
            assert_eq!(db.rows(&format!("SELECT * FROM m{i}")), [i.to_string()]);
        }
    }

    fn status_shows_pending_edited_missing_and_out_of_order(db) {
        for i in [1, 2, 4] {
            db.migration(i, "m", &format!("CREATE TABLE m{i} (a INT);"), "");
        }
        assert_eq!(db.airun("migrate status --check").code, 3);
        assert_eq!(db.airun("migrate up").code, 0);
        assert_eq!(db.airun("migrate status --check").code, 0);
        db.write("20260101000001_m_UP.sql", "-- only a comment more\nCREATE  TABLE m1 (a INT) ;");
        assert_eq!(db.airun("migrate status --check").code, 0);
        db.write("20260101000001_m_UP.sql", "CREATE TABLE m1 (a BIGINT);");
        for name in ["20260101000002_m_UP.sql", "20260101000002_m_DOWN.sql"] {
            std::fs::remove_file(db.folder().join(name)).unwrap();
        }
        db.migration(3, "m", "CREATE TABLE m3 (a INT);", "");
        let status = db.airun("migrate status --check");
        assert_eq!(status.code, 4);
        for part in ["000001_m  edited", "000002_m  missing", "000003_m  out of order", "000004_m  applied"] {
            assert!(status.stdout.contains(part), "{part}: {status:?}");
        }
        let refused = db.airun("migrate up");
        assert_eq!(refused.code, 4);
        assert!(refused.stderr.contains("  -CREATE TABLE m1 (a INT);\n  +CREATE TABLE m1 (a BIGINT);\n"), "{refused:?}");
        assert_eq!(db.airun("migrate resolve 20260101000001 --accept-edit").code, 0);
        let strict = db.airun("migrate up --strict");
        assert_eq!((strict.code, strict.stderr.as_str()), (4, "airun: error: 20260101000002_m is applied, but its file is missing\n"));
        let applied = db.airun("migrate up");
        assert_eq!(applied.code, 0);
        assert!(applied.stderr.contains("airun: warning: 20260101000003_m is older than an applied migration\n"), "{applied:?}");
    }

    fn status_json_has_a_format_version(db) {
        three(db);
        assert_eq!(db.airun("migrate up -n 1").code, 0);
        let report: serde_json::Value = serde_json::from_str(&db.airun("migrate status --json").stdout).unwrap();
        assert_eq!(report["format"], 1);
        assert_eq!(report["database"], db.name.as_str());
        let all = report["migrations"].as_array().unwrap();
        let statuses: Vec<_> = all.iter().map(|item| item["status"].as_str().unwrap()).collect();
        assert_eq!(statuses, ["applied", "pending", "pending"]);
        assert_eq!(all[0]["version"], "20260101000001");
        assert!(all[0]["applied_by"].as_str().unwrap().contains('@'));
    }

    fn status_needs_only_the_select_privilege(db) {
        three(db);
        assert_eq!(db.airun("migrate up").code, 0);
        let user = User::new(db, "p/#?@:%", "SELECT");
        let url = db.url();
        let (_, host) = url.rsplit_once('@').unwrap();
        let status =
            db.airun(&format!("migrate status --check --database-url mysql://{}:p/#?@:%@{host}", user.name));
        assert_eq!(status.code, 0, "{status:?}");
        assert!(status.stdout.ends_with("3 applied\n"), "{status:?}");
    }

    fn baseline_adopts_an_existing_schema(db) {
        three(db);
        db.create();
        db.execute(&["CREATE TABLE users (id INT PRIMARY KEY, name TEXT)"]);
        let adopted = db.airun("migrate baseline 20260101000001");
        assert_eq!((adopted.code, adopted.stdout), (0, format!("recorded 1 migration as applied in `{}`\n", db.name)));
        assert_eq!(db.airun("migrate up").code, 0);
        assert_eq!(db.rows("SELECT state FROM ai_migrations ORDER BY version"), ["baseline", "applied", "applied"]);
        let refused = db.airun("migrate rollback -n 3");
        assert_eq!(refused.code, 1);
        assert!(refused.stderr.contains("was recorded by a baseline and never run"), "{refused:?}");
    }

    fn dump_recreates_the_same_schema(db) {
        let other = Database::new(db.kind);
        db.migration(
            1,
            "all",
            "CREATE TABLE b (id INT AUTO_INCREMENT PRIMARY KEY, x TEXT COMMENT 'it''s; \\\\ ');\n\
             CREATE TABLE a (b INT, CONSTRAINT f FOREIGN KEY (b) REFERENCES b (id));\nINSERT INTO b (x) VALUES ('1'), ('2');\n\
             CREATE VIEW w AS SELECT id FROM b;\nCREATE VIEW v AS SELECT id FROM w;\n\
             CREATE TRIGGER t BEFORE INSERT ON b FOR EACH ROW BEGIN SET NEW.x = CONCAT(NEW.x, ';'); END;\n\
             CREATE FUNCTION f() RETURNS INT DETERMINISTIC RETURN 1;\nCREATE PROCEDURE p() BEGIN SELECT ';'; END;\n\
             CREATE EVENT e ON SCHEDULE EVERY 1 YEAR STARTS '2035-01-01' DO SELECT 1;",
            "",
        );
        let applied = db.airun("migrate up");
        assert_eq!(applied.code, 0, "{applied:?}");
        let dump = db.airun("migrate dump");
        assert_eq!(dump.code, 0, "{dump:?}");
        assert!(db.rows("SHOW CREATE VIEW v").concat().contains("DEFINER=") && db.rows("SHOW CREATE TABLE b").concat().contains("AUTO_INCREMENT="));
        assert!(!dump.stdout.contains("DEFINER=") && !dump.stdout.contains(&db.name) && !dump.stdout.contains("AUTO_INCREMENT="), "{}", dump.stdout);
        other.create();
        let (taken, said) = other.client(dump.stdout.as_bytes());
        assert!(taken, "{said}\n{}", dump.stdout);
        assert_eq!(other.airun("migrate dump").stdout, dump.stdout);
    }
}
