//! New rows.

use std::time::Duration;

use mysql::Error;
use mysql::prelude::Queryable;

use super::interval;
use crate::db::quote_text;
use crate::queue::payload::Priority;

/// What a row needs but for its payload. Names are plain: letters, digits, `_`, `-`, `.`.
#[derive(Debug, Clone)]
pub struct New {
    pub kind: String,
    pub version: u16,
    pub queue: String,
    pub priority: Priority,
    pub delay: Duration,
    /// `None`: as its kind has it.
    pub timeout: Option<Duration>,
    /// `None`: as its kind has it.
    pub max_attempts: Option<u32>,
    pub dedupe_key: Option<String>,
}

/// A packet that every server takes: MySQL's `max_allowed_packet` was 4 MB once, MariaDB's is 16 MB.
const PACKET_BYTES_MAX: usize = 1 << 20;
const PACKET_ROWS_MAX: usize = 1000;
/// The column's default.
const QUEUE: &str = "default";

/// Inserts a row for each payload; how many.
pub fn insert<P: AsRef<str>>(
    conn: &mut impl Queryable,
    new: &New,
    payloads: impl Iterator<Item = P>,
) -> Result<u64, Error> {
    let (insert, front) = statement(new);
    let mut sql = insert.clone();
    let (mut rows, mut all) = (0, 0);
    for payload in payloads {
        let payload = payload.as_ref();
        if rows > 0 && (rows == PACKET_ROWS_MAX || sql.len() + front.len() + literal_max(payload) > PACKET_BYTES_MAX) {
            conn.query_drop(&sql)?;
            sql.truncate(insert.len());
            rows = 0;
        }
        if rows > 0 {
            sql.push(',');
        }
        sql.push_str(&front);
        push_literal(&mut sql, payload);
        sql.push(')');
        rows += 1;
        all += 1;
    }
    if rows > 0 {
        conn.query_drop(&sql)?;
    }
    Ok(all)
}

/// The statement up to its values, and what stands before each payload. What is as the table has it by itself is left
/// out: a bulk enqueue is then as quick as the shortest INSERT.
fn statement(new: &New) -> (String, String) {
    let mut columns = vec![("kind", format!("'{}'", new.kind))];
    let mut put = |differs: bool, column, value: String| {
        if differs {
            columns.push((column, value));
        }
    };
    put(new.version != 1, "payload_version", new.version.to_string());
    put(new.queue != QUEUE, "queue", format!("'{}'", new.queue));
    put(new.priority != Priority::Normal, "priority", (new.priority as u8).to_string());
    put(!new.delay.is_zero(), "scheduled_at", format!("UTC_TIMESTAMP(6) + {}", interval(new.delay)));
    if let Some(timeout) = new.timeout {
        put(true, "timeout_ms", u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX).max(1).to_string());
    }
    if let Some(attempts) = new.max_attempts {
        put(true, "max_attempts", attempts.to_string());
    }
    if let Some(key) = &new.dedupe_key {
        put(true, "dedupe_key", quote_text(key));
    }
    let (names, values): (Vec<&str>, Vec<String>) = columns.into_iter().unzip();
    (
        format!("INSERT INTO ai_server_tasks ({}, payload) VALUES ", names.join(", ")),
        format!("({}, ", values.join(", ")),
    )
}

/// JSON as a literal: short where it can be. Quotes and backslashes mean different things under different `sql_mode`s.
fn push_literal(sql: &mut String, json: &str) {
    if json.bytes().any(|byte| matches!(byte, b'\'' | b'\\') || !byte.is_ascii()) {
        sql.push_str(&quote_text(json));
    } else {
        sql.push('\'');
        sql.push_str(json);
        sql.push('\'');
    }
}

/// Bytes of a literal, at most.
fn literal_max(json: &str) -> usize {
    2 * json.len() + 16
}

/// Of the row that this session has inserted last.
pub fn last_id(conn: &mut impl Queryable) -> Result<u64, Error> {
    Ok(conn.query_first("SELECT LAST_INSERT_ID()")?.unwrap_or_default())
}

/// The living task with this key, as far as this session sees it. Takes no lock, so that the task can end meanwhile.
pub fn alive(conn: &mut impl Queryable, key: &str) -> Result<Option<u64>, Error> {
    conn.query_first(format!("SELECT id FROM ai_server_tasks WHERE active_dedupe_key = {}", quote_text(key)))
}

/// As [`alive`], also behind this session's snapshot.
pub fn alive_now(conn: &mut impl Queryable, key: &str) -> Result<Option<u64>, Error> {
    conn.query_first(format!(
        "SELECT id FROM ai_server_tasks WHERE active_dedupe_key = {} LOCK IN SHARE MODE",
        quote_text(key)
    ))
}

/// Whether an insert failed because a living task has its key.
pub fn is_duplicate(error: &Error) -> bool {
    matches!(error, Error::MySqlError(error) if error.code == 1062 && error.message.contains("active_dedupe_key"))
}

/// What tells this database from all others that the host's processes may use.
pub fn identity(conn: &mut impl Queryable) -> Result<String, Error> {
    Ok(conn.query_first("SELECT CONCAT_WS('/', @@hostname, @@port, DATABASE())")?.unwrap_or_default())
}
