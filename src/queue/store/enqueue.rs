//! New rows.

use std::time::Duration;

use mysql::Error;
use mysql::prelude::Queryable;

use super::interval;
use crate::db::quote_text;
use crate::queue::task::Lane;

/// What a row needs but for its payload. Names are plain: letters, digits, `_`, `-`, `.`.
#[derive(Debug, Clone)]
pub struct New {
    pub kind: String,
    pub version: u16,
    pub queue: String,
    pub lane: Lane,
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

const INSERT: &str = "INSERT INTO ai_server_tasks \
    (kind, payload_version, queue, lane, due_at, timeout_ms, max_attempts, dedupe_key, payload) VALUES ";

/// Inserts a row for each payload; how many.
pub fn insert<P: AsRef<str>>(
    conn: &mut impl Queryable,
    new: &New,
    payloads: impl Iterator<Item = P>,
) -> Result<u64, Error> {
    let front = front(new);
    let mut sql = String::from(INSERT);
    let (mut rows, mut all) = (0, 0);
    for payload in payloads {
        let payload = literal(payload.as_ref());
        if rows > 0 && (rows == PACKET_ROWS_MAX || sql.len() + front.len() + payload.len() > PACKET_BYTES_MAX) {
            conn.query_drop(&sql)?;
            sql.truncate(INSERT.len());
            rows = 0;
        }
        if rows > 0 {
            sql.push(',');
        }
        sql.push_str(&front);
        sql.push_str(&payload);
        sql.push(')');
        rows += 1;
        all += 1;
    }
    if rows > 0 {
        conn.query_drop(&sql)?;
    }
    Ok(all)
}

/// What stands before each payload.
fn front(new: &New) -> String {
    let due = if new.delay.is_zero() {
        "UTC_TIMESTAMP(6)".to_owned()
    } else {
        format!("UTC_TIMESTAMP(6) + {}", interval(new.delay))
    };
    format!(
        "('{}', {}, '{}', {}, {due}, {}, {}, {}, ",
        new.kind,
        new.version,
        new.queue,
        new.lane as u8,
        new.timeout.map_or(0, |timeout| u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX).max(1)),
        new.max_attempts.unwrap_or(0),
        new.dedupe_key.as_deref().map_or_else(|| "NULL".to_owned(), quote_text),
    )
}

/// JSON as a literal: short where it can be. Quotes and backslashes mean different things under different `sql_mode`s.
fn literal(json: &str) -> String {
    if json.bytes().any(|byte| matches!(byte, b'\'' | b'\\') || !byte.is_ascii()) {
        quote_text(json)
    } else {
        format!("'{json}'")
    }
}

/// Of the row that this session has inserted last.
pub fn last_id(conn: &mut impl Queryable) -> Result<u64, Error> {
    Ok(conn.query_first("SELECT LAST_INSERT_ID()")?.unwrap_or_default())
}

/// The living task with this key, as far as this session sees it. Takes no lock, so that the task can end meanwhile.
pub fn alive(conn: &mut impl Queryable, key: &str) -> Result<Option<u64>, Error> {
    conn.query_first(format!("SELECT id FROM ai_server_tasks WHERE alive_dedupe_key = {}", quote_text(key)))
}

/// As [`alive`], also behind this session's snapshot.
pub fn alive_now(conn: &mut impl Queryable, key: &str) -> Result<Option<u64>, Error> {
    conn.query_first(format!(
        "SELECT id FROM ai_server_tasks WHERE alive_dedupe_key = {} LOCK IN SHARE MODE",
        quote_text(key)
    ))
}

/// Whether an insert failed because a living task has its key.
pub fn is_duplicate(error: &Error) -> bool {
    matches!(error, Error::MySqlError(error) if error.code == 1062 && error.message.contains("alive_dedupe_key"))
}

/// What tells this database from all others that the host's processes may use.
pub fn identity(conn: &mut impl Queryable) -> Result<String, Error> {
    Ok(conn.query_first("SELECT CONCAT_WS('/', @@hostname, @@port, DATABASE())")?.unwrap_or_default())
}
