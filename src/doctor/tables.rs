//! Checks of the queue's tables.

use std::collections::HashSet;
use std::time::Duration;

use mysql::Row;
use mysql::prelude::Queryable;

use super::{Assessment, Connections};
use crate::duration;
use crate::queue::Priority;
use crate::queue::store::Cursor;
use crate::queue::store::claim::{self, Pick};
use crate::queue::store::poll::TaskClass;

/// The tables with the columns that this binary needs.
const COLUMNS_NEEDED: [(&str, &str); 3] = [
    (
        "ai_server_tasks",
        "id queue priority kind payload_version payload state scheduled_at next_action_at claim_count failures crashes \
         isolated_runs max_attempts timeout_ms \
         worker_id cancel_requested dedupe_key created_at started_at finished_at result progress last_error \
         active_dedupe_key",
    ),
    ("ai_server_workers", "id hostname pid started_at last_heartbeat_at idle suspected_at"),
    ("ai_server_controls", "scope name paused paused_at"),
];

const CLASS_INDEX: &str = "state,kind,payload_version,queue,priority,next_action_at,id";

pub fn schema(connections: &mut Connections<'_>) -> mysql::Result<Assessment> {
    const COLUMNS: &str = "SELECT LOWER(table_name), LOWER(column_name) FROM information_schema.columns \
        WHERE table_schema = DATABASE() \
        AND table_name IN ('ai_server_tasks', 'ai_server_workers', 'ai_server_controls')";
    const ENGINES: &str = "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() \
        AND table_name IN ('ai_server_tasks', 'ai_server_workers', 'ai_server_controls') AND engine <> 'InnoDB'";
    const INDEXES: &str = "SELECT LOWER(index_name), GROUP_CONCAT(LOWER(column_name) ORDER BY seq_in_index), \
        MAX(non_unique) FROM information_schema.statistics WHERE table_schema = DATABASE() \
        AND table_name = 'ai_server_tasks' GROUP BY index_name";
    const ADVICE: &str = "run `airun migrate up` with this binary's migrations";
    let existing: HashSet<(String, String)> = connections.conn.query(COLUMNS)?.into_iter().collect();
    for (table, columns) in COLUMNS_NEEDED {
        if !existing.iter().any(|(name, _)| name == table) {
            return Ok(Assessment::problem(format!("table `{table}` is missing"), ADVICE));
        }
        let missing = columns.split(' ').find(|column| !existing.contains(&(table.to_owned(), (*column).to_owned())));
        if let Some(column) = missing {
            return Ok(Assessment::problem(format!("column `{column}` of `{table}` is missing"), ADVICE));
        }
    }
    if let Some(table) = connections.conn.query_first::<String, _>(ENGINES)? {
        let advice = format!("ALTER TABLE {table} ENGINE = InnoDB");
        return Ok(Assessment::problem(format!("`{table}` does not use InnoDB, so its rows can't be locked"), advice));
    }
    let indexes: Vec<(String, String, i64)> = connections.conn.query(INDEXES)?;
    let has = |name: &str, columns: &str, unique: bool| {
        indexes
            .iter()
            .any(|(index, parts, non_unique)| index == name && parts == columns && (!unique || *non_unique == 0))
    };
    if !has("by_class", CLASS_INDEX, false) {
        let found = format!("`ai_server_tasks` lacks the index `by_class` on ({CLASS_INDEX}), which claims need");
        return Ok(Assessment::problem(found, ADVICE));
    }
    if !has("active_dedupe_key", "active_dedupe_key", true) {
        let advice = "ALTER TABLE ai_server_tasks ADD UNIQUE KEY active_dedupe_key (active_dedupe_key)";
        return Ok(Assessment::problem(
            "`ai_server_tasks` lacks the unique key `active_dedupe_key`, so duplicates can be enqueued",
            advice,
        ));
    }
    Ok(Assessment::ok("the tables have what this binary needs"))
}

/// ER_TABLEACCESS_DENIED_ERROR, ER_COLUMNACCESS_DENIED_ERROR
fn is_denied(error: &mysql::Error) -> bool {
    matches!(error, mysql::Error::MySqlError(error) if matches!(error.code, 1142 | 1143))
}

/// Executes statements that change no row: the server checks privileges first.
pub fn privileges(connections: &mut Connections<'_>) -> mysql::Result<Assessment> {
    // Columns without a default, which an INSERT must name.
    const TABLES: [(&str, &str, &str); 3] = [
        ("ai_server_tasks", "kind, payload", "worker_id"),
        ("ai_server_workers", "hostname, pid", "idle"),
        ("ai_server_controls", "scope, name", "paused"),
    ];
    let mut denied = Vec::new();
    for (table, inserted, updated) in TABLES {
        for (privilege, statement) in [
            ("SELECT", format!("SELECT {inserted} FROM {table} WHERE FALSE")),
            ("INSERT", format!("INSERT INTO {table} ({inserted}) SELECT {inserted} FROM {table} WHERE FALSE")),
            ("UPDATE", format!("UPDATE {table} SET {updated} = {updated} WHERE FALSE")),
            ("DELETE", format!("DELETE FROM {table} WHERE FALSE")),
        ] {
            match connections.conn.query_drop(statement) {
                Err(error) if is_denied(&error) => denied.push(format!("{privilege} on `{table}`")),
                tried => tried?,
            }
        }
    }
    if denied.is_empty() {
        return Ok(Assessment::ok("this user has the privileges of a worker"));
    }
    Ok(Assessment::problem(
        format!("this user lacks {}", denied.join(", ")),
        format!("GRANT SELECT, INSERT, UPDATE, DELETE ON `{}`.* to it", connections.database.name),
    ))
}

/// Checks that the index gives the order: with a sort InnoDB would lock every row that it reads.
pub fn claim_plan(connections: &mut Connections<'_>) -> mysql::Result<Assessment> {
    let (kind, queue) = ("airun.doctor".to_owned(), "default".to_owned());
    let class = TaskClass { kind, version: 1, queue, priority: Priority::Normal };
    let pick = Pick::From(Cursor { next_action_at: "2000-01-01".to_owned(), id: 0 });
    let explain = format!("EXPLAIN FORMAT=TRADITIONAL {}", claim::select(&class, &pick, 100));
    let row: Option<Row> = connections.conn.query_first(explain)?;
    let text = |column: &str| -> String {
        row.as_ref()
            .and_then(|row| row.get_opt::<Option<String>, _>(column))
            .and_then(Result::ok)
            .flatten()
            .unwrap_or_default()
    };
    let (key, extra) = (text("key"), text("Extra"));
    if key == "by_class" && !extra.contains("filesort") {
        return Ok(Assessment::ok("claims use the index `by_class`, without a sort"));
    }
    let advice = "please report this with the server's version";
    Ok(Assessment::problem(
        format!("claims use the index `{key}` ({extra}), so they lock rows that they don't take"),
        advice,
    ))
}

/// An older snapshot keeps old row versions, which slow claims down.
const SNAPSHOT_SECONDS_MAX: i64 = 60;

/// Compares the start of the oldest transaction with that of this session's own: both are in the server's time zone.
pub fn oldest_snapshot(connections: &mut Connections<'_>) -> mysql::Result<Assessment> {
    const OLDEST: &str = "SELECT TIMESTAMPDIFF(SECOND, old.trx_started, own.trx_started), old.trx_mysql_thread_id \
        FROM information_schema.innodb_trx old JOIN information_schema.innodb_trx own \
        ON own.trx_mysql_thread_id = CONNECTION_ID() WHERE old.trx_mysql_thread_id <> CONNECTION_ID() \
        ORDER BY old.trx_started LIMIT 1";
    connections.conn.query_drop("START TRANSACTION WITH CONSISTENT SNAPSHOT")?;
    let found = connections.conn.query_first::<(i64, u64), _>(OLDEST);
    connections.conn.query_drop("ROLLBACK")?;
    match found {
        // ER_SPECIFIC_ACCESS_DENIED_ERROR
        Err(mysql::Error::MySqlError(error)) if error.code == 1227 => Ok(Assessment::note(
            "this user lacks the privilege to see other transactions",
            "GRANT PROCESS ON *.* to it",
        )),
        Err(error) => Err(error),
        Ok(oldest) => Ok(assess_oldest(oldest)),
    }
}

/// Assesses the age in seconds and the connection of the oldest other transaction.
fn assess_oldest(oldest: Option<(i64, u64)>) -> Assessment {
    match oldest {
        Some((seconds, connection)) if seconds > SNAPSHOT_SECONDS_MAX => Assessment::note(
            format!(
                "connection {connection} has had a transaction open for {}: the server keeps all old row versions \
                 since, and claims get slower",
                duration::format(Duration::from_secs(seconds.unsigned_abs()))
            ),
            format!("end the transaction, if necessary with `KILL {connection}`"),
        ),
        Some((seconds, _)) => Assessment::ok(format!("the oldest transaction is {} s old", seconds.max(0))),
        None => Assessment::ok("no other transaction is open"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    #[test]
    fn an_old_transaction_is_named_with_its_connection() {
        let old = assess_oldest(Some((200, 17)));
        assert!(old.found.starts_with("connection 17 has had a transaction open for 3m 20s: "), "{}", old.found);
        assert!(old.level == Level::Note && old.advice.is_some_and(|advice| advice.contains("`KILL 17`")));
        assert_eq!(assess_oldest(Some((-1, 17))).found, "the oldest transaction is 0 s old");
    }
}
