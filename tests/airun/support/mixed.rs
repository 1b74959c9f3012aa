//! Migrations with every kind of statement, for the crash tests. Their effects can be counted.

use super::Database;

/// The first migration, which is not rolled back: the DOWN scripts of the others write to its table.
const TALLY: (&str, &str) = (
    "CREATE TABLE tally (id INT AUTO_INCREMENT PRIMARY KEY, what VARCHAR(60));\n\
     CREATE TABLE counter (id INT PRIMARY KEY, n INT NOT NULL);\nINSERT INTO counter VALUES (1, 0);\n",
    "DROP TABLE counter, tally;",
);

const MIXED: (&str, &str) = (
    "CREATE TABLE log (id INT AUTO_INCREMENT PRIMARY KEY, what VARCHAR(40), extra2 INT);\n\
     CREATE INDEX log_what ON log (what);\nCREATE TABLE second (id INT PRIMARY KEY);\nDROP TABLE second;\n\
     INSERT INTO log (what) VALUES ('one');\nINSERT INTO log (what) VALUES ('two');\n\
     SET @n = 3;\n\
     ALTER TABLE log ADD extra INT NOT NULL DEFAULT 0;\n\
     CREATE PROCEDURE bump() BEGIN INSERT INTO log (what) VALUES ('bumped'); END;\n\
     CALL bump();\n\
     INSERT INTO log (what) VALUES (CONCAT('n', @n));\n\
     START TRANSACTION;\nINSERT INTO log (what) VALUES ('in');\nUPDATE log SET extra = extra + 1;\nCOMMIT;\n\
     LOCK TABLES log WRITE;\nINSERT INTO log (what) VALUES ('locked');\nUPDATE log SET extra = extra + 1;\nUNLOCK TABLES;\n\
     CREATE VIEW v AS SELECT what FROM log;\nINSERT INTO log (what) VALUES ('last');\n",
    "INSERT INTO tally (what) VALUES ('mixed');\nDROP VIEW v;\nUPDATE counter SET n = n + 1;\nDROP PROCEDURE bump;\n\
     INSERT INTO tally (what) SELECT CONCAT('had ', COUNT(*)) FROM log;\nDROP TABLE log;\nUPDATE counter SET n = n + 1;\n",
);

const NEW: (&str, &str) = (
    "CREATE TABLE a_N (a INT, b INT);\nCREATE INDEX a_N_a ON a_N (a);\nCREATE UNIQUE INDEX a_N_b ON a_N (b);\n\
     CREATE TABLE b_N (a INT);\nCREATE VIEW w_N AS SELECT a FROM b_N;\n\
     CREATE TRIGGER t_N BEFORE INSERT ON b_N FOR EACH ROW SET NEW.a = 1;\n",
    "DROP VIEW w_N;\nUPDATE counter SET n = n + 10;\nDROP TABLE b_N, a_N;\n",
);

const ROWS: (&str, &str) = (
    "INSERT INTO log (what) VALUES ('whole');\nUPDATE log SET extra = extra + 100;\n",
    "DELETE FROM log WHERE what = 'whole';\nINSERT INTO tally (what) VALUES ('rows');\n",
);

/// Statements of files that were written only for the `mysql` client.
const WILD: (&str, &str) = (
    "CREATE TABLE parent (id INT PRIMARY KEY, what VARCHAR(20));\n\
     CREATE TABLE child (id INT AUTO_INCREMENT PRIMARY KEY, parent INT NOT NULL, CONSTRAINT child_parent FOREIGN KEY (parent) REFERENCES parent (id));\n\
     SET FOREIGN_KEY_CHECKS = 0;\nINSERT INTO child (parent) VALUES (1), (2);\nSET FOREIGN_KEY_CHECKS = 1;\n\
     INSERT INTO parent VALUES (1, 'a'), (2, 'b');\n\
     CREATE TABLE copied (PRIMARY KEY (id)) SELECT id, what FROM parent;\n\
     SET @ddl = 'ALTER TABLE copied ADD extra INT NOT NULL DEFAULT 7';\nPREPARE s FROM @ddl;\nEXECUTE s;\nDEALLOCATE PREPARE s;\n\
     SET @dml = 'UPDATE copied SET extra = extra + 1';\nPREPARE s FROM @dml;\nEXECUTE s;\nEXECUTE s;\nDEALLOCATE PREPARE s;\n\
     CREATE TABLE other (id INT PRIMARY KEY, what VARCHAR(20));\nINSERT INTO other VALUES (9, 'other');\n\
     RENAME TABLE copied TO swap, other TO copied, swap TO other;\n\
     UPDATE other SET extra = extra * 2;\n\
     CREATE TEMPORARY TABLE tmp (a INT);\nINSERT INTO tmp VALUES (4), (5);\n\
     ALTER TABLE parent ADD n INT NOT NULL DEFAULT 0, ADD KEY parent_what (what);\n\
     INSERT INTO child (parent) SELECT 1 FROM tmp;\nDROP TEMPORARY TABLE tmp;\n\
     CREATE TABLE parts (a INT NOT NULL) PARTITION BY RANGE (a) (PARTITION p0 VALUES LESS THAN (10), PARTITION p1 VALUES LESS THAN (20));\n\
     INSERT INTO parts VALUES (1), (11), (12);\n\
     ALTER TABLE parts ADD PARTITION (PARTITION p2 VALUES LESS THAN (30));\nINSERT INTO parts VALUES (21);\n\
     ALTER TABLE parts DROP PARTITION p0;\n\
     CREATE TABLE trash (a INT);\nINSERT INTO trash VALUES (1);\nTRUNCATE trash;\nINSERT INTO trash VALUES (2);\n\
     ALTER TABLE trash ENGINE = InnoDB;\nANALYZE TABLE trash;\nOPTIMIZE TABLE trash;\nINSERT INTO trash VALUES (3);\n\
     SET autocommit = 0;\nINSERT INTO trash VALUES (4);\nCREATE TABLE within (a INT);\nINSERT INTO within VALUES (1);\nUPDATE trash SET a = a + 1;\nCOMMIT;\nSET autocommit = 1;\n\
     START TRANSACTION;\nINSERT INTO within VALUES (2);\nALTER TABLE within ADD b INT;\nINSERT INTO within VALUES (3, 3);\nCOMMIT;\n\
     CREATE PROCEDURE paid() BEGIN START TRANSACTION; INSERT INTO within VALUES (4, 4); UPDATE within SET a = a + 10; COMMIT; END;\n\
     CREATE FUNCTION doubled(x INT) RETURNS INT DETERMINISTIC RETURN 2 * x;\n\
     INSERT INTO within VALUES (doubled(21), 5);\n\
     CREATE EVENT later ON SCHEDULE EVERY 1 YEAR STARTS '2035-01-01' DISABLE DO SELECT 1;\n\
     ALTER EVENT later COMMENT 'never';\nALTER TABLE child DROP FOREIGN KEY child_parent;\n\
     CREATE OR REPLACE VIEW both_of AS SELECT a FROM within;\nCREATE OR REPLACE VIEW both_of AS SELECT a, b FROM within;\n",
    "INSERT INTO tally (what) SELECT CONCAT('within ', COUNT(*), ' ', SUM(a)) FROM within;\n\
     DROP VIEW both_of;\nDROP EVENT later;\nDROP FUNCTION doubled;\nDROP PROCEDURE paid;\n\
     UPDATE counter SET n = n + 1000;\nRENAME TABLE trash TO trash2, within TO within2;\n\
     INSERT INTO tally (what) SELECT CONCAT('trash ', SUM(a)) FROM trash2;\n\
     SET @drop = 'DROP TABLE within2';\nPREPARE s FROM @drop;\nEXECUTE s;\nDEALLOCATE PREPARE s;\n\
     UPDATE counter SET n = n + 1000;\nALTER TABLE parts REMOVE PARTITIONING;\n\
     DROP TABLE child, parent, copied, other;\nDROP TABLE IF EXISTS nosuch, parts, trash2;\nUPDATE counter SET n = n + 1000;\n",
);

/// Procedures that commit inside. If the server dies in one, it is unknown how far the procedure came.
const COMMITTING: (&str, &str) = (
    "CREATE PROCEDURE make() BEGIN INSERT INTO log (what) VALUES ('made'); CREATE TABLE made (a INT); INSERT INTO log (what) VALUES ('after'); END;\n\
     CALL make();\nUPDATE log SET extra = extra + 1;\n\
     CALL paid();\nUPDATE within SET a = a + 1;\n\
     DROP PROCEDURE make;\n",
    "DROP TABLE made;\nUPDATE counter SET n = n + 100;\n",
);

/// The process that a test kills.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Victim {
    /// airun.
    Client,
    /// The server.
    Server,
}

/// Writes the files. A test rolls back all of them except the first.
pub fn write_mixed(db: &Database, victim: Victim) {
    let mut files = vec![TALLY, MIXED, NEW, NEW, ROWS, WILD];
    if victim == Victim::Client {
        files.push(COMMITTING);
    }
    for (i, (up, down)) in (1..).zip(&files) {
        let numbered = |text: &str| text.replace("_N", &format!("_{i}"));
        db.migration(i, "mixed", &numbered(up), &numbered(down));
    }
}

/// Returns all effects of the files as text.
pub fn effects(db: &Database) -> String {
    let mut effects = String::new();
    for table in db.tables() {
        // Generated ids may have gaps, and the other columns have no order of their own.
        let columns = db.rows(&format!(
            "SELECT GROUP_CONCAT(CONCAT('`', COLUMN_NAME, '`') ORDER BY ORDINAL_POSITION) FROM information_schema.COLUMNS \
             WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = '{table}' AND EXTRA NOT LIKE '%auto_increment%'"
        ));
        let mut rows = db.rows(&format!("SELECT {} FROM `{table}`", columns[0]));
        rows.sort();
        effects.push_str(&format!("{table}: {}\n", rows.join(", ")));
    }
    let dump = db.airun("migrate dump");
    assert_eq!(dump.code, 0, "{dump:?}");
    effects + &dump.stdout
}
