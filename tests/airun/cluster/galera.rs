//! Tests airun on two nodes of a Galera cluster. A `GET_LOCK` on one node is not visible on the other.

use std::fs;
use std::process::Command;

use mysql::prelude::Queryable;
use tempfile::TempDir;

use crate::support::{Database, Kind, Running, kill_server};

/// A cluster that runs until the value is dropped.
struct Cluster(TempDir);

impl Cluster {
    fn start() -> Self {
        let cluster = Self(TempDir::new().expect("a temporary folder"));
        let started = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/dev-galera"))
            .arg("start")
            .arg(cluster.0.path())
            .output()
            .expect("scripts/dev-galera");
        assert!(started.status.success(), "{}", String::from_utf8_lossy(&started.stderr));
        cluster
    }

    /// Returns one database of the cluster twice, once for each node, with the same folder of migrations.
    fn database(&self) -> [Database; 2] {
        let file = |node: &str| Some(self.0.path().join(node).join("url"));
        let one = Database::on(Kind::MariaDb, file("1"));
        let two = Database::on(Kind::MariaDb, file("2")).named_as(&one);
        [one, two]
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for node in ["1", "2"] {
            let home = self.0.path().join(node);
            if let Ok(pid) = fs::read_to_string(home.join("pid")) {
                kill_server(pid.trim(), &home);
            }
        }
    }
}

/// Returns the rows of a query that waits until this node has applied everything that the other one committed.
fn rows(db: &Database, query: &str) -> Vec<String> {
    let mut conn = db.conn();
    conn.query_drop("SET wsrep_sync_wait = 15").unwrap();
    crate::support::rows(&mut conn, query)
}

fn slow(one: &Database) {
    one.migration(
        1,
        "slow",
        "CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, a INT);\nINSERT INTO t (a) VALUES (1);\nALTER TABLE t ADD b INT;\n\
         INSERT INTO t (a) VALUES (2);\nDO SLEEP(8);\nINSERT INTO t (a) VALUES (3);\nALTER TABLE t ADD c INT;\nINSERT INTO t (a) VALUES (4);",
        "DROP TABLE t;",
    );
}

#[test]
#[ignore = "long tier"]
fn two_nodes_do_not_migrate_at_the_same_time() {
    let cluster = Cluster::start();
    let [one, two] = cluster.database();
    for i in 1..6 {
        one.migration(
            i,
            "m",
            &format!(
                "CREATE TABLE m{i} (id INT AUTO_INCREMENT PRIMARY KEY, a INT);\nINSERT INTO m{i} (a) VALUES (1);\n\
                 ALTER TABLE m{i} ADD b INT;\nINSERT INTO m{i} (a) VALUES (2);"
            ),
            &format!("DROP TABLE m{i};"),
        );
    }
    let all: Vec<_> = (0..4).flat_map(|_| [one.start("migrate up"), two.start("migrate up")]).collect();
    for up in all {
        let up = up.finish();
        assert_eq!(up.code, 0, "{up:?}");
    }
    for i in 1..6 {
        assert_eq!(rows(&two, &format!("SELECT a FROM m{i} ORDER BY id")), ["1", "2"]);
    }
    assert_eq!(rows(&two, "SELECT DISTINCT token FROM ai_migrations_lock"), [""]);

    let down = two.airun("migrate rollback -n 5");
    assert_eq!(down.code, 0, "{down:?}");
    assert!(one.tables().is_empty());
}

/// Starts an `up` that holds the lock and sleeps in a statement.
fn holder(one: &Database) -> Running {
    slow(one);
    one.create();
    one.start_sleeping("migrate up", &[])
}

#[test]
#[ignore = "long tier"]
fn other_node_resumes_after_the_lock_holder_was_killed() {
    let cluster = Cluster::start();
    let [one, two] = cluster.database();
    let up = holder(&one);
    up.signal("KILL");
    assert_eq!(up.finish().code, 137);
    let on = two.airun("migrate up");
    assert_eq!(on.code, 0, "{on:?}");
    assert!(on.stderr.contains("waiting for the migration lock"), "{on:?}");
    assert_eq!(rows(&two, "SELECT a FROM t ORDER BY id"), ["1", "2", "3", "4"]);
}

#[test]
#[ignore = "long tier"]
fn holder_that_slept_past_its_lease_changes_nothing() {
    let cluster = Cluster::start();
    let [one, two] = cluster.database();
    let up = holder(&one);
    up.signal("STOP");
    let on = two.airun("migrate up");
    assert_eq!(on.code, 0, "{on:?}");
    up.signal("CONT");
    let up = up.finish();
    assert!([1, 75].contains(&up.code), "{up:?}");
    assert_eq!(rows(&two, "SELECT a FROM t ORDER BY id"), ["1", "2", "3", "4"]);
    assert_eq!(rows(&two, "SELECT state, statements_done FROM ai_migrations"), ["applied|8"]);
}
