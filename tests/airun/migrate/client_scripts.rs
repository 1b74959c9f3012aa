//! Checks that a file that the server's own client accepts has the same result when airun applies it.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::on_both;
use crate::support::{Database, tier};

const SHOP: &str = include_str!("../corpus/shop.sql");

/// Runs `script` with the client and with airun, each in its own database, and compares the results.
fn compare_with_client(db: &Database, script: &[u8]) {
    let by_client = Database::new(db.kind);
    by_client.create();
    let (accepted, message) = by_client.client(script);
    assert!(accepted, "the client rejects it: {message}");
    let by_airun = Database::new(db.kind);
    by_airun.write("20260101000001_script_UP.sql", script);
    let up = by_airun.airun("migrate up");
    assert_eq!(up.code, 0, "{up:?}");
    assert_eq!(by_airun.contents(), by_client.contents());
}

on_both! {
    fn script_of_every_feature_has_the_same_result(db) {
        compare_with_client(db, SHOP.as_bytes());
    }

    fn carriage_returns_make_no_difference(db) {
        compare_with_client(db, SHOP.replace('\n', "\r\n").as_bytes());
    }

    fn a_byte_order_mark_makes_no_difference(db) {
        compare_with_client(db, format!("\u{feff}{SHOP}").as_bytes());
    }

    fn mysqldump_output_can_be_applied(db) {
        // The statements that `mysqldump` prints around data.
        compare_with_client(db, b"-- MySQL dump\n/*!40103 SET TIME_ZONE='+00:00' */;\nDROP TABLE IF EXISTS `t`;\n/*!50503 SET character_set_client = utf8mb4 */;\nCREATE TABLE `t` (`a` int, `b` blob);\nLOCK TABLES `t` WRITE;\n/*!40000 ALTER TABLE `t` DISABLE KEYS */;\nset autocommit=0;\nINSERT INTO `t` VALUES (1,'\\0\\'\\\"\\n;'),(2,_binary '\\Z\\\\');\n/*!40000 ALTER TABLE `t` ENABLE KEYS */;\nUNLOCK TABLES;\ncommit;\n");
    }

    fn bodies_work_without_a_delimiter_command(db) {
        db.migration(
            1,
            "bodies",
            "CREATE TABLE t (a INT);\n\
             CREATE PROCEDURE p() BEGIN IF TRUE THEN INSERT INTO t VALUES (1); END IF; CASE WHEN TRUE THEN BEGIN END; END CASE; END;\n\
             CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW SET NEW.a = NEW.a + 1;\n\
             CREATE FUNCTION f(x INT) RETURNS INT DETERMINISTIC BEGIN l: LOOP SET x = x + 1; LEAVE l; END LOOP; RETURN IF(x > 1, x, 0); END;\n\
             CALL p();\nINSERT INTO t VALUES (f(5));",
            "",
        );
        let up = db.airun("migrate up");
        assert_eq!(up.code, 0, "{up:?}");
        assert_eq!(db.rows("SELECT a FROM t"), ["2", "7"]);
    }

    fn random_scripts_have_the_same_result(db) {
        let by_client = Database::new(db.kind);
        let by_airun = Database::new(db.kind);
        for database in [&by_client, &by_airun] {
            database.create();
            database.execute(&["CREATE TABLE log (id INT AUTO_INCREMENT PRIMARY KEY, what LONGBLOB)"]);
        }
        let log = |database: &Database| database.rows("SELECT what FROM log ORDER BY id");
        let mut runner = TestRunner::new(Config { failure_persistence: None, ..tier::slow_property(60) });
        let outcome = runner.run(&script(), |script| {
            for database in [&by_client, &by_airun] {
                database.execute(&["TRUNCATE log", "DROP TABLE IF EXISTS ai_migrations"]);
            }
            let (accepted, message) = by_client.client(script.as_bytes());
            prop_assert!(accepted, "the client rejects it: {}", message);
            by_airun.write("20260101000001_script_UP.sql", &script);
            let up = by_airun.airun("migrate up");
            prop_assert_eq!(up.code, 0, "{:?}", up);
            prop_assert_eq!(log(&by_airun), log(&by_client));
            Ok(())
        });
        outcome.unwrap();
    }
}

/// Returns a script of statements, comments and delimiter commands in random order.
fn script() -> impl Strategy<Value = String> {
    let literal = prop::sample::select(vec![
        "'a;b'",
        "\"x;y\"",
        "'it''s'",
        r"'\'quo\\ted\\'",
        "'# no'",
        "'-- no'",
        "'/* no */'",
        "''",
        "'//'",
        "'$$'",
        "'DELIMITER x'",
        "'two\nlines;'",
        "5--5",
        "1 /* ; */ + 1",
        "'tab\t'",
        "/*!40101 'version' */",
        "'ü😀'",
    ]);
    let between = prop::sample::select(vec![
        "",
        " ",
        "\n",
        "\r\n",
        "-- c ; ' \n",
        "# c \" \n",
        "/* ; ' */",
        "--\n",
        "\n\n  ",
        "/**/",
        "/* a /* b */",
    ]);
    let statement = (between.clone(), literal, between)
        .prop_map(|(before, literal, after)| format!("{before}INSERT INTO log (what){after}VALUES ({literal}){after}"));
    let delimiter = prop::sample::select(vec![";", "//", "$$", ";;", "|", "go"]);
    let step = prop_oneof![
        4 => statement.prop_map(Step::Statement),
        1 => (delimiter, any::<bool>()).prop_map(|(delimiter, upper)| Step::Delimiter { delimiter, upper }),
        1 => Just(Step::Empty),
    ];
    prop::collection::vec(step, 1..12).prop_map(|steps| {
        let mut delimiter = ";";
        let mut text = String::new();
        for step in steps {
            match step {
                Step::Statement(statement) => text.push_str(&format!("{statement}{delimiter}\n")),
                Step::Delimiter { delimiter: new, upper } => {
                    let word = if upper { "DELIMITER" } else { "delimiter" };
                    text.push_str(&format!("{word} {new}\n"));
                    delimiter = new;
                }
                Step::Empty => text.push_str(&format!("{delimiter}\n")),
            }
        }
        text
    })
}

#[derive(Debug, Clone)]
enum Step {
    Statement(String),
    Delimiter { delimiter: &'static str, upper: bool },
    Empty,
}
