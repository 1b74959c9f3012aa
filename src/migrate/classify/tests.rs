use super::*;

fn object(kind: ObjectKind, name: &str) -> Object {
    let (schema, name) = match name.split_once('.') {
        Some((schema, name)) => (Some(schema.to_owned()), name),
        None => (None, name),
    };
    Object { kind, name: ObjectName { schema, name: name.to_owned() } }
}

#[test]
fn ddl_names_the_objects_that_it_changes() {
    use DdlKind::*;
    use ObjectKind::*;
    for (sql, kind, objects) in [
        ("CREATE TABLE IF NOT EXISTS `a b`.t (x INT)", Create, &[(Table, "a b.t")][..]),
        ("create or replace table t as select 1", Create, &[(Table, "t")]),
        (
            "/*!50001 CREATE ALGORITHM=UNDEFINED */ /*!50013 DEFINER=`table`@`%` SQL SECURITY DEFINER */ /*!50001 VIEW v AS SELECT 1 */",
            Create,
            &[(Table, "v")],
        ),
        ("CREATE UNIQUE INDEX i ON t (a)", Alter, &[(Table, "t")]),
        ("DROP INDEX i ON s.t", Alter, &[(Table, "s.t")]),
        (
            "CREATE DEFINER=root@localhost TRIGGER tr BEFORE INSERT ON t FOR EACH ROW SET @a=1",
            Create,
            &[(Trigger, "tr")],
        ),
        ("CREATE AGGREGATE FUNCTION f RETURNS STRING SONAME 'x'", Create, &[(Function, "f")]),
        ("CREATE EVENT IF NOT EXISTS e ON SCHEDULE EVERY 1 DAY DO SELECT 1", Create, &[(Event, "e")]),
        ("DROP TABLE IF EXISTS a, `b`.c CASCADE", Drop, &[(Table, "a"), (Table, "b.c")]),
        ("DROP VIEW v", Drop, &[(Table, "v")]),
        ("DROP PROCEDURE IF EXISTS p", Drop, &[(Procedure, "p")]),
        ("ALTER TABLE t ADD COLUMN a INT, RENAME COLUMN b TO c, RENAME INDEX d TO e", Alter, &[(Table, "t")]),
        ("ALTER TABLE t RENAME TO u", Move, &[(Table, "t"), (Table, "u")]),
        ("ALTER TABLE t RENAME u", Move, &[(Table, "t"), (Table, "u")]),
        ("ALTER TABLE t EXCHANGE PARTITION p WITH TABLE u", Move, &[(Table, "u")]),
        ("RENAME TABLE a TO tmp, b TO a, tmp TO b", Move, &[(Table, "a"), (Table, "tmp"), (Table, "b")]),
        ("CREATE DATABASE d", Create, &[(Database, "d")]),
        ("ALTER DATABASE d CHARACTER SET utf8mb4", Alter, &[(Database, "d")]),
        ("CREATE USER IF NOT EXISTS 'u'@'%' IDENTIFIED BY 'x'", Create, &[(Account, "'u'@'%'")]),
    ] {
        let objects = objects.iter().map(|(kind, name)| object(*kind, name)).collect();
        let index = sql.contains("CREATE UNIQUE INDEX").then(|| "i".to_owned());
        assert_eq!(classify(sql), StatementKind::Ddl(Ddl { kind, objects, index }), "{sql}");
    }
}

#[test]
fn other_statements_are_classified_by_their_effect() {
    let dml = |name: &str| StatementKind::Dml { target: Some(object(ObjectKind::Table, name).name) };
    let temporary = |dropped, names: &[&str]| {
        let names = names.iter().map(|name| object(ObjectKind::Table, name).name).collect();
        StatementKind::TemporaryTable { dropped, names }
    };
    for (sql, kind) in [
        ("INSERT INTO s.t VALUES (1)", dml("s.t")),
        ("replace low_priority into t set a = 1", dml("t")),
        ("DELETE FROM `t` WHERE 1", dml("t")),
        ("(SELECT 1) UNION (SELECT 2)", StatementKind::Dml { target: None }),
        ("WITH a AS (SELECT 1) SELECT * FROM a", StatementKind::Dml { target: None }),
        ("SET NAMES utf8mb4", StatementKind::Session),
        ("/*!40101 SET SQL_MODE='' */", StatementKind::Session),
        ("SET @OLD_AUTOCOMMIT=@@AUTOCOMMIT, AUTOCOMMIT=0", StatementKind::Autocommit(false)),
        ("SET autocommit = ON", StatementKind::Autocommit(true)),
        ("SET GLOBAL max_connections = 5", StatementKind::Idempotent),
        ("SET @@GLOBAL.max_connections = 5", StatementKind::Idempotent),
        ("USE `s`", StatementKind::Use("s".to_owned())),
        ("BEGIN", StatementKind::Begin),
        ("START TRANSACTION READ ONLY", StatementKind::Begin),
        ("START SLAVE", StatementKind::Unclassified),
        ("COMMIT", StatementKind::Commit),
        ("COMMIT AND CHAIN", StatementKind::Begin),
        ("ROLLBACK TO SAVEPOINT a", StatementKind::Savepoint),
        ("ROLLBACK", StatementKind::Rollback),
        ("CREATE TEMPORARY TABLE t (a INT)", temporary(false, &["t"])),
        ("DROP TEMPORARY TABLE IF EXISTS t, u", temporary(true, &["t", "u"])),
        ("LOCK TABLES t WRITE", StatementKind::LockTables),
        ("UNLOCK TABLES", StatementKind::UnlockTables),
        ("TRUNCATE TABLE t", StatementKind::Idempotent),
        ("GRANT SELECT ON *.* TO u", StatementKind::Idempotent),
        ("CALL p()", StatementKind::Unclassified),
        ("EXECUTE s", StatementKind::Unclassified),
        ("BEGIN NOT ATOMIC SELECT 1; END", StatementKind::Unclassified),
        ("XA START 'a'", StatementKind::Unclassified),
    ] {
        assert_eq!(classify(sql), kind, "{sql}");
    }
}

#[test]
fn session_statements_and_variables_are_recognised() {
    assert!(assigns_only_user_variables("SET @a = 1, @b := (SELECT 1, 2)"));
    assert!(!assigns_only_user_variables("SET @a = @@sql_mode, sql_mode = ''"));
    assert_eq!(prepared_name("PREPARE `S` FROM 'SELECT 1'"), Some(("s".to_owned(), true)));
    assert_eq!(prepared_name("DEALLOCATE PREPARE s"), Some(("s".to_owned(), false)));
    assert_eq!(user_variables("SET @a = @B + @`c d`, @@x = @a"), ["a", "b", "c d"]);
    for sql in [
        "INSERT INTO t SELECT 1",
        "CREATE TEMPORARY TABLE t SELECT * FROM u",
        "INSERT INTO t VALUES (@a)",
        "INSERT INTO t VALUES (now())",
    ] {
        assert!(depends_on_state(sql), "{sql}");
    }
    for sql in ["INSERT INTO t VALUES (1, 'now()')", "CREATE TEMPORARY TABLE t (a INT DEFAULT 1)"] {
        assert!(!depends_on_state(sql), "{sql}");
    }
}

#[test]
fn lock_tables_also_locks_the_journal() {
    assert_eq!(
        lock_tables_with("LOCK TABLES a WRITE -- x", "`d`.`j` WRITE"),
        "LOCK TABLES a WRITE -- x\n, `d`.`j` WRITE "
    );
    assert_eq!(lock_tables_with("LOCK TABLES a READ WAIT 5", "`j` WRITE"), "LOCK TABLES a READ \n, `j` WRITE WAIT 5");
}
