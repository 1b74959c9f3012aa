//! Tests the commands of `airun migrate` other than `up` and `rollback`.

use serde_json::{Value, json};

use crate::on_both;
use crate::support::{Database, Kind, User};

/// Prepares one applied migration, one that stopped half-way, and one pending.
fn half_way(db: &Database) {
    db.migration(1, "a", "CREATE TABLE a (a INT);", "DROP TABLE a;");
    db.migration(2, "b", "CREATE TABLE b (a INT);\nINSERT INTO nosuch VALUES (1);\nCREATE TABLE c (a INT);", "");
    db.migration(3, "c", "CREATE TABLE d (a INT);", "DROP TABLE d;");
    assert_eq!(db.airun("migrate up").code, 1);
}

fn json_of(db: &Database) -> Value {
    let status = db.airun("migrate status --json");
    assert_eq!((status.code, status.stdout.lines().count()), (0, 1), "{status:?}");
    serde_json::from_str(&status.stdout).unwrap()
}

on_both! {
    fn status_check_exits_with_the_most_severe_code(db) {
        let check = || db.airun("migrate status --check").code;
        assert_eq!(check(), 0);
        half_way(db);
        assert_eq!(check(), 5);
        db.migration(1, "a", "CREATE TABLE a (a BIGINT);", "");
        assert_eq!(check(), 5);
        assert_eq!(db.airun("migrate resolve 20260101000002 --applied").code, 0);
        assert_eq!(check(), 4);
        assert_eq!(db.airun("migrate resolve 20260101000001 --accept-edit").code, 0);
        assert_eq!(check(), 3);
        assert_eq!(db.airun("migrate up").code, 0);
        assert_eq!(check(), 0);
        std::fs::remove_file(db.folder().join("20260101000002_b_UP.sql")).unwrap();
        std::fs::remove_file(db.folder().join("20260101000002_b_DOWN.sql")).unwrap();
        assert_eq!(check(), 4);
        // Without `--check` the status doesn't change the exit code.
        assert_eq!(db.airun("migrate status").code, 0);
    }

    fn status_json_has_exactly_the_documented_fields(db) {
        half_way(db);
        let mut report = json_of(db);
        for item in report["migrations"].as_array_mut().unwrap() {
            let item = item.as_object_mut().unwrap();
            if let Some(at) = item.remove("applied_at") {
                let at = at.as_str().unwrap().to_owned();
                assert!(chrono::DateTime::parse_from_rfc3339(&at).is_ok_and(|_| at.ends_with('Z')), "{at}");
                assert!(item.remove("duration_ms").unwrap().is_u64());
                assert!(item.remove("applied_by").unwrap().as_str().unwrap().contains('@'));
            }
            if let Some(error) = item.remove("error") {
                assert!(error.as_str().unwrap().contains("_b_UP.sql:2:1: statement 2 of 3 failed: 1146"), "{error}");
            }
        }
        assert_eq!(report, json!({"format": 1, "database": db.name, "migrations": [
            {"version": "20260101000001", "name": "a", "status": "applied"},
            {"version": "20260101000002", "name": "b", "status": "partial", "statements_done": 1, "statements_total": 3},
            {"version": "20260101000003", "name": "c", "status": "pending"},
        ]}));
    }

    fn status_creates_nothing_and_needs_no_table(db) {
        db.migration(1, "a", "CREATE TABLE a (a INT);", "");
        let status = db.airun("migrate status");
        assert_eq!((status.code, status.stdout), (0, format!("20260101000001_a  pending\n`{}`: 1 pending\n", db.name)));
        let there = format!("SELECT COUNT(*) FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = '{}'", db.name);
        assert_eq!(db.rows(&there), ["0"]);
        db.create();
        let user = User::new(db, "secret", "SELECT");
        let url = db.url();
        let (_, host) = url.rsplit_once('@').unwrap();
        for args in ["migrate status --check", "migrate up --dry-run"] {
            let told = db.airun(&format!("{args} --database-url mysql://{}:secret@{host}", user.name));
            assert!([0, 3].contains(&told.code), "{told:?}");
        }
        assert!(db.rows("SHOW TABLES").is_empty());
    }

    fn rollback_works_after_all_files_were_deleted(db) {
        for version in 1..4 {
            db.migration(version, "t", &format!("CREATE TABLE t{version} (a INT);"), &format!("DROP TABLE t{version};"));
        }
        assert_eq!(db.airun("migrate up").code, 0);
        for file in std::fs::read_dir(db.folder()).unwrap() {
            std::fs::remove_file(file.unwrap().path()).unwrap();
        }
        let undone = db.airun("migrate rollback -n 3");
        assert_eq!(undone.code, 0, "{undone:?}");
        assert!(undone.stderr.contains("airun: note: 20260101000001_t_DOWN.sql: the files were deleted; running the stored DOWN\n"), "{undone:?}");
        assert!(db.tables().is_empty() && json_of(db)["migrations"].as_array().unwrap().is_empty());
    }

    fn resolve_dry_run_records_nothing(db) {
        half_way(db);
        db.migration(1, "a", "CREATE TABLE a (a BIGINT);", "DROP TABLE a;");
        let before = db.rows("SELECT * FROM ai_migrations ORDER BY version");
        for (args, said) in [
            ("20260101000002 --applied", "20260101000002_b is applied"),
            ("20260101000002 --pending", "20260101000002_b is pending"),
            ("20260101000002 --from-statement 3", "2 of 3 statements of 20260101000002_b were applied; `airun migrate up` resumes there"),
            ("20260101000001 --accept-edit", "20260101000001_a is applied as its file is now"),
            ("20260101000003 --applied", "20260101000003_c is applied"),
        ] {
            let dry = db.airun(&format!("migrate resolve {args} --dry-run"));
            assert_eq!((dry.code, dry.stdout), (0, format!("would be recorded: {said}\n")), "{args}");
            assert_eq!(db.rows("SELECT * FROM ai_migrations ORDER BY version"), before, "{args}");
        }
        for (args, why) in [
            ("20260101000009 --applied", "unknown migration 20260101000009; `airun migrate status` lists all"),
            ("20260101000003 --pending", "20260101000003_c is already pending; there is nothing to resolve"),
            ("20260101000003 --accept-edit", "20260101000003_c is not applied; there is nothing to resolve"),
            ("20260101000001 --from-statement 2", "20260101000001_a has not stopped half-way; there is nothing to resolve"),
            ("20260101000001", "give exactly one of `--applied`, `--pending`, `--from-statement K`, `--accept-edit`"),
            ("20260101000001 --applied --pending", "give exactly one of `--applied`, `--pending`, `--from-statement K`, `--accept-edit`"),
        ] {
            let refused = db.airun(&format!("migrate resolve {args}"));
            assert_eq!((refused.code, refused.stderr), (2, format!("airun: error: {why}\n")), "{args}");
        }
        assert_eq!(db.rows("SELECT * FROM ai_migrations ORDER BY version"), before);
    }

    fn redo_is_all_or_nothing_and_has_a_dry_run(db) {
        db.migration(1, "a", "CREATE TABLE a (a INT);", "DROP TABLE a;");
        db.write("20260101000002_b_UP.sql", "CREATE TABLE b (a INT);");
        db.migration(3, "c", "CREATE TABLE c (a INT);", "DROP TABLE c;");
        assert_eq!(db.airun("migrate up").code, 0);
        let refused = db.airun("migrate redo -n 2");
        assert_eq!((refused.code, refused.stderr.as_str()), (1, "airun: error: 20260101000002_b has no DOWN, so it can't be rolled back; nothing was changed\n"));
        let folder = db.folder().display();
        let dry = db.airun("migrate redo --dry-run");
        assert_eq!(dry.code, 0, "{dry:?}");
        assert_eq!(dry.stdout, format!("-- 20260101000003_c_DOWN.sql:1\nDROP TABLE c;\n\n-- {folder}/20260101000003_c_UP.sql:1\nCREATE TABLE c (a INT);\n\n-- 1 migration would be redone; nothing was changed\n"));
        assert_eq!(db.tables(), ["a", "b", "c"]);
        std::fs::remove_file(db.folder().join("20260101000003_c_UP.sql")).unwrap();
        std::fs::remove_file(db.folder().join("20260101000003_c_DOWN.sql")).unwrap();
        let refused = db.airun("migrate redo");
        assert_eq!((refused.code, refused.stderr.as_str()), (1, "airun: error: the UP file of 20260101000003_c was deleted, so it can't be applied again; nothing was changed\n"));
    }

    fn baseline_is_idempotent_and_needs_an_existing_version(db) {
        half_way(db);
        let refused = db.airun("migrate baseline 20260101000009");
        assert_eq!((refused.code, refused.stderr.as_str()), (2, "airun: error: the folder has no migration 20260101000009\n"));
        assert_eq!(db.airun("migrate resolve 20260101000002 --applied").code, 0);
        for recorded in ["1 migration", "0 migrations"] {
            let adopted = db.airun("migrate baseline 20260101000003");
            assert_eq!((adopted.code, adopted.stdout), (0, format!("recorded {recorded} as applied in `{}`\n", db.name)));
        }
        assert_eq!(db.tables(), ["a", "b"]);
    }

    fn dump_recreates_every_kind_of_object(db) {
        let mut up = "CREATE TABLE z (id INT AUTO_INCREMENT PRIMARY KEY, at DATETIME NOT NULL DEFAULT '2000-01-01 00:00:00',\n\
             c VARCHAR(9) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin DEFAULT 'a''b', m INT, n INT GENERATED ALWAYS AS (m * 2) VIRTUAL, CHECK (m < 1000),\n\
             KEY k (c(3) DESC)) COMMENT ') AUTO_INCREMENT=9';\n\
             CREATE TABLE parts (id INT AUTO_INCREMENT PRIMARY KEY) PARTITION BY RANGE (id) (PARTITION p VALUES LESS THAN (10), PARTITION q VALUES LESS THAN MAXVALUE);\n\
             INSERT INTO parts VALUES (5);\nSET sql_mode = '';\nCREATE TABLE zero (d DATE NOT NULL DEFAULT '0000-00-00');\nSET sql_mode = DEFAULT;\n\
             CREATE TABLE child (id INT, z INT, CONSTRAINT of_z FOREIGN KEY (z) REFERENCES z (id) ON DELETE CASCADE);\n\
             CREATE FUNCTION twice(x INT) RETURNS INT DETERMINISTIC NO SQL RETURN x * 2;\nCREATE VIEW a AS SELECT twice(id) AS t, w.n FROM w;\n\
             SET sql_mode = 'ANSI_QUOTES,PIPES_AS_CONCAT';\nCREATE PROCEDURE p(OUT o TEXT) SQL SECURITY INVOKER BEGIN SELECT \"id\" || ';' INTO o FROM z LIMIT 1; END;\nSET sql_mode = DEFAULT;\n\
             CREATE TRIGGER t9 BEFORE INSERT ON z FOR EACH ROW SET NEW.c = 'x';\nCREATE TRIGGER t2 BEFORE INSERT ON z FOR EACH ROW FOLLOWS t9 SET NEW.c = 'y';\n\
             CREATE EVENT e ON SCHEDULE EVERY 1 DAY STARTS '2035-01-01' DISABLE COMMENT 'it''s' DO DELETE FROM child;"
            .replace("CREATE VIEW a", "CREATE VIEW w AS SELECT id, n FROM z;\nCREATE VIEW a");
        if db.kind == Kind::MariaDb {
            up.push_str("\nCREATE SEQUENCE s START WITH 7 INCREMENT BY 3;\nCREATE TABLE by_sequence (id INT DEFAULT NEXTVAL(s));\nCREATE TABLE history (a INT) WITH SYSTEM VERSIONING;");
        }
        db.migration(1, "all", &up, "");
        let applied = db.airun("migrate up");
        assert_eq!(applied.code, 0, "{applied:?}");
        let dump = db.airun("migrate dump").stdout;
        for part in ["`z`", "`parts`", "`zero`", "`child`", "`twice`", "VIEW `a`", "VIEW `w`", "PROCEDURE", "TRIGGER", "EVENT", "PARTITION", "GENERATED"] {
            assert!(dump.contains(part), "{part}:\n{dump}");
        }
        assert_eq!(dump.contains("CREATE SEQUENCE `s` start with 7"), db.kind == Kind::MariaDb, "{dump}");
        let shown = db.rows("SHOW CREATE TABLE parts") .concat() + &db.rows("SHOW CREATE VIEW a").concat();
        assert!(shown.contains("AUTO_INCREMENT=6") && shown.contains("DEFINER="), "{shown}");
        for noise in ["AUTO_INCREMENT=6", "DEFINER=", db.name.as_str(), "ai_migrations"] {
            assert!(!dump.contains(noise), "{noise}:\n{dump}");
        }
        // The dump runs in the server's own client, and as a migration.
        let by_client = Database::new(db.kind);
        by_client.create();
        let (taken, said) = by_client.client(dump.as_bytes());
        assert!(taken, "{said}\n{dump}");
        assert_eq!(by_client.airun("migrate dump").stdout, dump);
        let by_airun = Database::new(db.kind);
        by_airun.write("20260101000001_dump_UP.sql", &dump);
        let up = by_airun.airun("migrate up");
        assert_eq!(up.code, 0, "{up:?}");
        assert_eq!(by_airun.airun("migrate dump").stdout, dump);
        // Rows don't change the dump.
        by_airun.execute(&["INSERT INTO parts VALUES (NULL), (NULL)"]);
        assert_eq!(by_airun.airun("migrate dump").stdout, dump);
    }
}

#[test]
fn migrate_check_reports_every_invalid_file() {
    let folder = tempfile::TempDir::new().unwrap();
    let write = |name: &str, text: &[u8]| std::fs::write(folder.path().join(name), text).unwrap();
    write("20260101000001_a_UP.sql", b"SELECT 1;\n  SELECT `open;\n");
    write("20260101000001_a_DOWN.sql", b"SELECT 1;\nsource x.sql\n");
    write("20260101000002_b_UP.sql", b"SELECT '\xff';\n");
    let wrong = crate::support::Running::start(crate::support::airun(&format!(
        "migrate check --dir {}",
        folder.path().display()
    )))
    .finish();
    assert_eq!(wrong.code, 1);
    let places: Vec<&str> = wrong
        .stderr
        .lines()
        .filter_map(|line| line.rsplit_once(".sql:")?.1.split_once(": ").map(|(place, _)| place))
        .collect();
    assert_eq!(places, ["2:10", "2:1", "1:9"], "{wrong:?}");
}

#[test]
fn zero_migrations_is_a_usage_error() {
    for command in ["up", "rollback", "redo"] {
        let refused =
            crate::support::Running::start(crate::support::airun(&format!("migrate {command} -n 0"))).finish();
        assert_eq!(refused.code, 2, "{refused:?}");
        assert!(refused.stderr.starts_with("airun: error: invalid value `0` for `-n`: "), "{refused:?}");
    }
}
