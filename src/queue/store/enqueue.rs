//! Inserting tasks.

use std::time::Duration;

use mysql::Error;
use mysql::prelude::Queryable;

use super::literal::{Fragment, Literal, push_text, text_bytes_max};
use super::row;
use crate::queue::payload::Priority;

/// A new task without its payload. Names consist of letters, digits, `_`, `-` and `.`.
#[derive(Debug, Clone)]
pub struct NewTask {
    pub kind: String,
    pub version: u16,
    pub queue: String,
    pub priority: Priority,
    pub delay: Duration,
    /// `None` is the kind's default.
    pub timeout: Option<Duration>,
    /// `None` is the kind's default.
    pub max_attempts: Option<u32>,
    pub dedupe_key: Option<String>,
}

/// Every server accepts packets of this size: the default of `max_allowed_packet` was 4 MB on old MySQL servers.
const PACKET_BYTES_MAX: usize = 1 << 20;
const PACKET_ROWS_MAX: usize = 1000;
/// The default of the column `queue`.
const DEFAULT_QUEUE: &str = "default";

/// Inserts a task for each payload, and returns their number.
pub fn insert<P: AsRef<str>>(
    conn: &mut impl Queryable,
    new: &NewTask,
    payloads: impl Iterator<Item = P>,
) -> Result<u64, Error> {
    let (insert, row_start) = statement_parts(new);
    let mut sql = insert.clone();
    let (mut rows, mut all) = (0, 0);
    for payload in payloads {
        let payload = payload.as_ref();
        let row_bytes_max = row_start.len() + text_bytes_max(payload);
        if rows > 0 && (rows == PACKET_ROWS_MAX || sql.len() + row_bytes_max > PACKET_BYTES_MAX) {
            conn.query_drop(&sql)?;
            sql.truncate(insert.len());
            rows = 0;
        }
        if rows > 0 {
            sql.push(',');
        }
        sql.push_str(&row_start);
        push_text(&mut sql, payload);
        sql.push(')');
        rows += 1;
        all += 1;
    }
    if rows > 0 {
        conn.query_drop(&sql)?;
    }
    Ok(all)
}

const INSERT: &str = "INSERT INTO ai_server_tasks (:columns, payload) VALUES ";
const SCHEDULED_AT: &str = "UTC_TIMESTAMP(6) + :delay";

/// The statement up to `VALUES`, and the part of each row before its payload. Columns that have their default value are
/// left out, which makes a bulk insert as fast as the shortest one.
fn statement_parts(new: &NewTask) -> (String, String) {
    let timeout_ms = new.timeout.map(|timeout| u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX).max(1));
    let scheduled_at = (!new.delay.is_zero()).then(|| Fragment(sql!(SCHEDULED_AT, delay = new.delay)));
    let mut columns = Vec::new();
    let mut row_start = "(".to_owned();
    let mut add = |column: &'static str, value: &dyn Literal| {
        columns.push(column);
        value.write(&mut row_start);
        row_start.push_str(", ");
    };
    add("kind", &new.kind);
    if new.version != 1 {
        add("payload_version", &new.version);
    }
    if new.queue != DEFAULT_QUEUE {
        add("queue", &new.queue);
    }
    if new.priority != Priority::Normal {
        add("priority", &(new.priority as u8));
    }
    if let Some(scheduled_at) = &scheduled_at {
        add("scheduled_at", scheduled_at);
    }
    if let Some(timeout_ms) = &timeout_ms {
        add("timeout_ms", timeout_ms);
    }
    if let Some(max_attempts) = &new.max_attempts {
        add("max_attempts", max_attempts);
    }
    if let Some(key) = &new.dedupe_key {
        add("dedupe_key", key);
    }
    (sql!(INSERT, columns = Fragment(columns.join(", "))), row_start)
}

/// Returns the id of the task that this session inserted last.
pub fn last_id(conn: &mut impl Queryable) -> Result<u64, Error> {
    row(conn, "SELECT LAST_INSERT_ID()").map(|(id,)| id)
}

const SELECT_ACTIVE: &str = "SELECT id FROM ai_server_tasks WHERE active_dedupe_key = :key:lock";

/// The pending or running task with this key: the one that this session's snapshot shows, without locking its row, so
/// that its run can end meanwhile; or, if `is_locking`, even one that is newer than the snapshot.
pub fn active(conn: &mut impl Queryable, key: &str, is_locking: bool) -> Result<Option<u64>, Error> {
    let lock = Fragment(if is_locking { " LOCK IN SHARE MODE" } else { "" }.to_owned());
    conn.query_first(sql!(SELECT_ACTIVE, key = key, lock = lock))
}

/// True if an insert failed because a pending or running task has the same key.
pub fn is_duplicate(error: &Error) -> bool {
    matches!(error, Error::MySqlError(error) if error.code == 1062 && error.message.contains("active_dedupe_key"))
}

/// Identifies this database among all that the processes of this host use.
pub fn identity(conn: &mut impl Queryable) -> Result<String, Error> {
    row(conn, "SELECT CONCAT_WS('/', @@hostname, @@port, DATABASE())").map(|(identity,)| identity)
}
