use std::io::Read;

use proptest::prelude::ProptestConfig;
use proptest::test_runner::RngSeed;

use super::*;

/// A reader that returns a few bytes at a time.
struct Trickle<'a>(&'a [u8], usize);

impl Read for Trickle<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let length = self.1.min(self.0.len()).min(buffer.len());
        buffer[..length].copy_from_slice(&self.0[..length]);
        self.0 = &self.0[length..];
        Ok(length)
    }
}

fn split_by(script: &[u8], chunk: usize) -> Result<Vec<(String, Position)>, SplitError> {
    let mut splitter = Splitter::new(Trickle(script, chunk));
    let mut found = Vec::new();
    while let Some(statement) = splitter.next()? {
        found.push((statement.text.to_owned(), statement.at));
    }
    Ok(found)
}

fn split(script: &str) -> Vec<String> {
    split_by(script.as_bytes(), usize::MAX).unwrap().into_iter().map(|(text, _)| text).collect()
}

fn error(script: &str) -> String {
    split_by(script.as_bytes(), usize::MAX).unwrap_err().to_string()
}

#[test]
fn delimiters_in_quotes_and_comments_do_not_split() {
    for (script, expected) in [
        ("a;b", &["a", "b"][..]),
        ("a;\n;; b ;", &["a", "b"]),
        ("", &[]),
        ("-- only; a comment\n# another;\n/* and; another */", &[]),
        ("a ';' \";\" `;` ;b", &["a ';' \";\" `;`", "b"]),
        (r"a 'it''s; \';' ;b", &[r"a 'it''s; \';'", "b"]),
        (r"a `\`;b", &[r"a `\`", "b"]),
        ("a -- x; y\n;b", &["a -- x; y", "b"]),
        ("a --1;b", &["a --1", "b"]),
        ("---- a\n--b; c\nd; --e\nf", &["d", "f"]),
        ("a # x; '\n;b", &["a # x; '", "b"]),
        ("a /* ; ' /* */;b", &["a /* ; ' /* */", "b"]),
        ("/* it's */ a; -- it's\nb", &["a", "b"]),
        ("/*!40101 SET a=1 */;/*!50003 CREATE x; y */;b", &["/*!40101 SET a=1 */", "/*!50003 CREATE x; y */", "b"]),
        ("/*M!999999\\- enable the sandbox mode */ \na;", &["a"]),
        ("\u{feff}a;\r\nb;\r\n", &["a", "b"]),
        ("SELECT 1\\G\nSELECT \\N\\g b", &["SELECT 1", "SELECT \\N", "b"]),
    ] {
        assert_eq!(split(script), expected, "{script}");
    }
}

#[test]
fn characters_at_the_end_of_a_read_stay_whole() {
    for filler in ["", "x"] {
        for comment in ["-- ", "# ", "/* "] {
            let script = format!("{comment}{filler}{}\n*/\na", "é".repeat(READ_FIRST));
            let script = if comment == "/* " { script } else { script.replace("*/", "") };
            assert_eq!(split(&script), ["a"], "{comment}{filler}");
        }
    }
}

#[test]
fn delimiter_command_works_as_in_the_client() {
    assert_eq!(split("DELIMITER //\na; b//\n  delimiter ;\nc; d"), ["a; b", "c", "d"]);
    assert_eq!(split("delimiter $$\r\na;$$\r\nDELIMITER ;\r\nb;"), ["a;", "b"]);
    assert_eq!(split("DELIMITER '|' and words\na|b|"), ["a", "b"]);
    assert_eq!(split("DELIMITER end_it\nbegin a; end_itb end_it"), ["begin a;", "b"]);
    assert_eq!(split("select\ndelimiter //\n;b"), ["select\ndelimiter //", "b"]);
    assert!(error("DELIMITER\na").contains("DELIMITER needs an argument"));
    assert!(error("DELIMITER a\\b\na").contains("backslash"));
}

#[test]
fn a_body_needs_no_delimiter() {
    for body in [
        "CREATE PROCEDURE p() BEGIN SELECT 1; SELECT 2; END",
        "CREATE DEFINER=root@localhost PROCEDURE p() COMMENT 'x' BEGIN IF a THEN SELECT IF(a, 1, 2); END IF; END",
        "create function f(a INT) RETURNS INT DETERMINISTIC BEGIN RETURN CASE a WHEN 1 THEN IF(a,2,3) ELSE 4 END; END",
        "CREATE TRIGGER t BEFORE INSERT ON x FOR EACH ROW BEGIN SET NEW.a = 1; CASE b WHEN 1 THEN SET c = 1; END CASE; END",
        "CREATE TRIGGER t AFTER UPDATE ON x FOR EACH ROW IF OLD.a THEN SET @a = 1; ELSE SET @a = REPEAT('x', 2); END IF",
        "CREATE EVENT IF NOT EXISTS e ON SCHEDULE EVERY 1 DAY DO BEGIN DELETE FROM t; DELETE FROM u; END",
        "CREATE PROCEDURE p() l: LOOP SET @a = @a + 1; IF @a > 3 THEN LEAVE l; END IF; END LOOP l",
        "CREATE PROCEDURE p() BEGIN WHILE a DO REPEAT SET a = 1; UNTIL b END REPEAT; END WHILE; BEGIN END; END",
        "CREATE PROCEDURE p() BEGIN DECLARE c CURSOR FOR SELECT 1; DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN END; END",
        "BEGIN NOT ATOMIC SELECT 1; SELECT 2; END",
        "CREATE PROCEDURE p() BEGIN FOR i IN 1..3 DO SELECT i; END FOR; END",
        "/*!50003 CREATE*/ /*!50017 DEFINER=`a`@`b`*/ /*!50003 TRIGGER t BEFORE INSERT ON x FOR EACH ROW BEGIN SET @a = 1; END */",
    ] {
        assert_eq!(split(&format!("{body};\nSELECT 3;")), [body, "SELECT 3"]);
    }
}

#[test]
fn statements_without_a_body_end_at_their_delimiter() {
    for plain in [
        "CREATE TRIGGER t BEFORE INSERT ON x FOR EACH ROW SET NEW.a = IF(NEW.b, 1, 2)",
        "CREATE PROCEDURE p() SELECT 1",
        "CREATE TABLE event (`begin` INT, `case` INT)",
        "BEGIN",
        "BEGIN WORK",
        "SELECT CASE a WHEN 1 THEN 2 END",
        "CREATE VIEW v AS SELECT CASE WHEN a THEN 1 ELSE 2 END",
        "CREATE FUNCTION f RETURNS STRING SONAME 'x.so'",
        "DROP PROCEDURE p",
    ] {
        assert_eq!(split(&format!("{plain};SELECT 3;")), [plain, "SELECT 3"]);
    }
}

#[test]
fn sql_mode_no_backslash_escapes_is_tracked() {
    assert_eq!(
        split(r"SET sql_mode = 'NO_BACKSLASH_ESCAPES'; a '\'; b '\';"),
        ["SET sql_mode = 'NO_BACKSLASH_ESCAPES'", r"a '\'", r"b '\'"]
    );
    assert_eq!(split(r"SET SESSION sql_mode='NO_BACKSLASH_ESCAPES'; SET sql_mode=@old; a '\';b';").len(), 3);
}

#[test]
fn client_commands_run_or_are_rejected() {
    assert_eq!(split("use shop\nSELECT 1;"), ["use shop", "SELECT 1"]);
    assert_eq!(split("USE shop;SELECT 1;"), ["USE shop", "SELECT 1"]);
    assert_eq!(split("warnings\nSELECT 1;"), ["SELECT 1"]);
    assert!(error("SELECT 1;\n  source other.sql\n").starts_with("2:3: `source` is a command"));
    assert!(error("\\. other.sql").contains("command of the client"));
}

#[test]
fn unclosed_quotes_comments_and_bodies_are_reported_at_their_start() {
    assert!(error("a;\n b 'c").starts_with("2:4: the quote ' is never closed"));
    assert!(error("a /* b").starts_with("1:3: the comment"));
    assert!(error("/*! b").starts_with("1:1: a version comment"));
    assert!(error(" CREATE PROCEDURE p() BEGIN SELECT 1;").starts_with("1:2: the body"));
}

#[test]
fn positions_count_characters() {
    let found = split_by("é; é'\n';\n  b".as_bytes(), usize::MAX).unwrap();
    let positions: Vec<_> = found.iter().map(|(_, at)| (at.offset, at.line, at.column)).collect();
    assert_eq!(positions, [(0, 1, 1), (4, 1, 4), (13, 3, 3)]);
}

#[test]
fn other_encodings_are_rejected_with_the_byte_offset() {
    let error = split_by(b"SELECT 1;\nSELECT '\xe9';", usize::MAX).unwrap_err().to_string();
    assert_eq!(error, "2:9: not UTF-8 at byte 18; save the file as UTF-8");
}

#[test]
fn delimiter_that_overlaps_the_end_of_a_version_comment_is_rejected() {
    for script in ["DELIMITER //\n/*!40101 x *//* ; ' */", "DELIMITER //\n/*!40101 x *///\n"] {
        assert!(error(script).starts_with("2:12: the delimiter `//` overlaps"), "{script}");
    }
    assert_eq!(split("DELIMITER //\n/*!40101 x */ //\n/* y *///\n"), ["/*!40101 x */"]);
    assert_eq!(split("/*!40101 x *//* ; ' */;"), ["/*!40101 x *//* ; ' */"]);
}

#[test]
fn comment_that_contains_a_version_comment_or_hint_is_rejected() {
    for nested in ["/*! b */", "/*+ b */"] {
        let error = error(&format!("SELECT 1;\n/* a {nested} SELECT 2; */"));
        assert!(error.starts_with("2:6: a comment can't contain `/*!` or `/*+`"), "{error}");
    }
    assert_eq!(split("/* a /* b */ SELECT 1; -- /*! c */"), ["SELECT 1"]);
}

proptest::proptest! {
    #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn sizes_of_reads_do_not_matter(script in "[-aé;'\"`#/*!\\\\\n {}dDelimtrBEGINendcasif+0]{0,80}", chunk in 1usize..9) {
        let whole = split_by(script.as_bytes(), usize::MAX);
        proptest::prop_assert_eq!(split_by(script.as_bytes(), chunk), whole);
    }

    #[test]
    fn any_bytes_are_split_or_rejected(script in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
        if let Ok(found) = split_by(&script, 7) {
            for (text, at) in found {
                let from = at.offset as usize;
                proptest::prop_assert_eq!(&script[from..from + text.len()], text.as_bytes());
            }
        }
    }

    #[test]
    fn generated_statements_are_returned_unchanged(pieces in proptest::collection::vec("(SELECT|x|'(a|;|''|\\\\')*'|`(b|;)*`|/\\*(c|;)*\\*/|1|\\+| |\n){1,8}", 0..6)) {
        let pieces: Vec<String> = pieces.iter().map(|piece| format!("SELECT {piece}").trim_end().to_owned()).collect();
        proptest::prop_assert_eq!(split(&pieces.join(";\n")), pieces);
    }
}
