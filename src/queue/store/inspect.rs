//! Looking at tasks and workers, as their operators do. Nothing here takes a lock, and nothing but an exact count reads
//! more than it shows.

use mysql::prelude::FromValue;
use mysql::{Conn, Error, Row};
use serde::{Serialize, Serializer};

use super::fleet::LOCK;
use super::group::{Filter, Group, groups};
use super::purge::{Cursor, behind};
use super::{LEASE, interval, rows};
use crate::queue::state::State;

/// A task, without what can be large. Times are UTC, as the server writes them; in JSON as RFC 3339 has it.
#[derive(Debug, Serialize)]
pub struct Summary {
    pub id: u64,
    pub state: State,
    pub kind: String,
    pub payload_version: u16,
    pub queue: String,
    pub priority: u8,
    #[serde(serialize_with = "rfc3339")]
    pub scheduled_at: String,
    /// Pending: starts no earlier; running: end of the lease; final: purged after.
    #[serde(serialize_with = "rfc3339")]
    pub next_action_at: String,
    /// From now until then.
    #[serde(skip)]
    pub due_in_micros: i64,
    #[serde(serialize_with = "rfc3339")]
    pub created_at: String,
    #[serde(serialize_with = "rfc3339_if_any")]
    pub started_at: Option<String>,
    #[serde(serialize_with = "rfc3339_if_any")]
    pub finished_at: Option<String>,
    /// From the last of these until now.
    #[serde(skip)]
    pub quiet_micros: i64,
    pub claim_count: u32,
    pub failures: u32,
    pub crashes: u32,
    pub isolated_runs: u32,
    /// 0: as its kind has it.
    pub max_attempts: u32,
    /// 0: as its kind has it.
    pub timeout_ms: u32,
    /// The worker that runs it; 0 is none.
    pub worker_id: u64,
    pub cancel_requested: bool,
    pub dedupe_key: Option<String>,
    pub last_error: Option<String>,
}

/// `2026-01-01 00:00:00.000000` becomes `2026-01-01T00:00:00.000000Z`.
fn rfc3339<S: Serializer>(at: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{}Z", at.replacen(' ', "T", 1)))
}

/// As [`rfc3339`].
pub fn rfc3339_if_any<S: Serializer>(at: &Option<String>, serializer: S) -> Result<S::Ok, S::Error> {
    match at {
        Some(at) => rfc3339(at, serializer),
        None => serializer.serialize_none(),
    }
}

/// All of a task.
#[derive(Debug)]
pub struct Details {
    pub summary: Summary,
    pub payload: String,
    pub progress: Option<String>,
    pub result: Option<String>,
    /// Where its owner runs: host and process id.
    pub runs_on: Option<(String, u32)>,
}

const SUMMARY: &str = "t.id, t.state, t.kind, t.payload_version, t.queue, t.priority, CAST(t.scheduled_at AS CHAR) AS scheduled_at, CAST(t.next_action_at AS CHAR) AS next_action_at, \
    TIMESTAMPDIFF(MICROSECOND, UTC_TIMESTAMP(6), t.next_action_at) AS due_in, CAST(t.created_at AS CHAR) AS created_at, \
    IF(t.started_at = '1970-01-01', NULL, CAST(t.started_at AS CHAR)) AS started_at, \
    IF(t.finished_at = '1970-01-01', NULL, CAST(t.finished_at AS CHAR)) AS finished_at, \
    TIMESTAMPDIFF(MICROSECOND, GREATEST(t.created_at, t.started_at, t.finished_at), UTC_TIMESTAMP(6)) AS quiet, \
    t.claim_count, t.failures, t.crashes, t.isolated_runs, t.max_attempts, t.timeout_ms, t.worker_id, t.cancel_requested, t.dedupe_key, \
    t.last_error";

impl Summary {
    fn of(row: &mut Row) -> Result<Self, Error> {
        let state: String = take(row, "state")?;
        Ok(Self {
            id: take(row, "id")?,
            state: State::named(&state).ok_or_else(|| unexpected(&format!("the state `{state}`")))?,
            kind: take(row, "kind")?,
            payload_version: take(row, "payload_version")?,
            queue: take(row, "queue")?,
            priority: take(row, "priority")?,
            scheduled_at: take(row, "scheduled_at")?,
            next_action_at: take(row, "next_action_at")?,
            due_in_micros: take(row, "due_in")?,
            created_at: take(row, "created_at")?,
            started_at: take(row, "started_at")?,
            finished_at: take(row, "finished_at")?,
            quiet_micros: take(row, "quiet")?,
            claim_count: take(row, "claim_count")?,
            failures: take(row, "failures")?,
            crashes: take(row, "crashes")?,
            isolated_runs: take(row, "isolated_runs")?,
            max_attempts: take(row, "max_attempts")?,
            timeout_ms: take(row, "timeout_ms")?,
            worker_id: take(row, "worker_id")?,
            cancel_requested: take(row, "cancel_requested")?,
            dedupe_key: take(row, "dedupe_key")?,
            last_error: take(row, "last_error")?,
        })
    }
}

fn take<T: FromValue>(row: &mut Row, column: &str) -> Result<T, Error> {
    row.take_opt(column)
        .ok_or_else(|| unexpected(&format!("no `{column}`")))?
        .map_err(|error| unexpected(&format!("`{column}`: {error}")))
}

fn unexpected(what: &str) -> Error {
    Error::IoError(std::io::Error::other(format!("the server's answer is not as expected: {what}")))
}

/// The newest tasks, at most `limit`: by their ids, or where there is a filter by what happened to them last. Of each
/// group only the `limit` last in the index are looked at: the newest to end, or the last to be due.
pub fn newest(conn: &mut Conn, filter: &Filter, limit: usize) -> Result<Vec<Summary>, Error> {
    let mut found = Vec::new();
    let mut add = |conn: &mut Conn, sql: &str| -> Result<(), Error> {
        for mut row in rows::<Row>(conn, sql)? {
            found.push(Summary::of(&mut row)?);
        }
        Ok(())
    };
    if filter.is_empty() {
        add(conn, &format!("SELECT {SUMMARY} FROM ai_server_tasks t ORDER BY t.id DESC LIMIT {limit}"))?;
        return Ok(found);
    }
    for group in groups(conn, filter)? {
        // By the columns: `next_action_at` alone would be the text of that name, which no index has in order.
        let sql = format!(
            "SELECT {SUMMARY} FROM ai_server_tasks t FORCE INDEX (by_class) WHERE {} ORDER BY t.next_action_at DESC, t.id DESC LIMIT {limit}",
            group.condition()
        );
        add(conn, &sql)?;
    }
    found.sort_by_key(|task| (task.quiet_micros, std::cmp::Reverse(task.id)));
    found.truncate(limit);
    Ok(found)
}

/// All of one task.
pub fn details(conn: &mut Conn, id: u64) -> Result<Option<Details>, Error> {
    let sql = format!(
        "SELECT {SUMMARY}, t.payload, t.progress, t.result, w.hostname, w.pid FROM ai_server_tasks t \
         LEFT JOIN ai_server_workers w ON w.id = t.worker_id WHERE t.id = {id}"
    );
    let Some(mut row) = rows::<Row>(conn, &sql)?.into_iter().next() else { return Ok(None) };
    let hostname: Option<String> = take(&mut row, "hostname")?;
    let pid: Option<u32> = take(&mut row, "pid")?;
    Ok(Some(Details {
        summary: Summary::of(&mut row)?,
        payload: take(&mut row, "payload")?,
        progress: take(&mut row, "progress")?,
        result: take(&mut row, "result")?,
        runs_on: hostname.zip(pid),
    }))
}

/// A task's state, if there is such a task.
pub fn state(conn: &mut Conn, id: u64) -> Result<Option<State>, Error> {
    let found = rows::<(String,)>(conn, &format!("SELECT state FROM ai_server_tasks WHERE id = {id}"))?;
    Ok(found.first().and_then(|(name,)| State::named(name)))
}

/// Tasks of a group, counted up to `limit`; without one all, which reads an index entry for each.
pub fn count(conn: &mut Conn, group: &Group, limit: Option<u64>) -> Result<u64, Error> {
    counted(conn, &group.condition(), limit)
}

/// As [`count`], those only that are due.
pub fn count_due(conn: &mut Conn, group: &Group, limit: Option<u64>) -> Result<u64, Error> {
    counted(conn, &format!("{} AND next_action_at <= UTC_TIMESTAMP(6)", group.condition()), limit)
}

fn counted(conn: &mut Conn, condition: &str, limit: Option<u64>) -> Result<u64, Error> {
    let limit = limit.map(|limit| format!(" LIMIT {limit}")).unwrap_or_default();
    let sql = format!(
        "SELECT COUNT(*) FROM (SELECT 1 FROM ai_server_tasks FORCE INDEX (by_class) WHERE {condition}{limit}) AS found"
    );
    Ok(rows::<(u64,)>(conn, &sql)?.first().map_or(0, |(count,)| *count))
}

/// How long the first task of a group has been due; microseconds, negative where it isn't yet.
pub fn oldest_due(conn: &mut Conn, group: &Group) -> Result<Option<i64>, Error> {
    let sql = format!(
        "SELECT TIMESTAMPDIFF(MICROSECOND, next_action_at, UTC_TIMESTAMP(6)) FROM ai_server_tasks FORCE INDEX (by_class) \
         WHERE {} ORDER BY next_action_at LIMIT 1",
        group.condition()
    );
    Ok(rows::<(i64,)>(conn, &sql)?.first().map(|(micros,)| *micros))
}

/// Payloads of one page, at most. They may be large, and all of them are in memory at once.
const PAGE: usize = 100;

/// Payloads with their ids, and where they ended, if there may be more.
pub type Payloads = (Vec<(u64, String)>, Option<Cursor>);

/// The next payloads of a group behind `place`.
pub fn payloads(conn: &mut Conn, group: &Group, place: Option<&Cursor>) -> Result<Payloads, Error> {
    let found = rows::<(u64, String, String)>(
        conn,
        &format!(
            "SELECT id, CAST(next_action_at AS CHAR), payload FROM ai_server_tasks FORCE INDEX (by_class) WHERE {}{} \
             ORDER BY next_action_at, id LIMIT {PAGE}",
            group.condition(),
            behind(place)
        ),
    )?;
    let last =
        found.last().filter(|_| found.len() == PAGE).map(|(id, next_action_at, _)| (next_action_at.clone(), *id));
    Ok((found.into_iter().map(|(id, _, payload)| (id, payload)).collect(), last))
}

/// A worker, as the others see it.
#[derive(Debug, Serialize)]
pub struct Worker {
    pub id: u64,
    pub hostname: String,
    pub pid: u32,
    #[serde(serialize_with = "rfc3339")]
    pub started_at: String,
    #[serde(serialize_with = "rfc3339")]
    pub last_heartbeat_at: String,
    /// From its last sign of life until now.
    #[serde(skip)]
    pub seen_micros: i64,
    pub standing: Standing,
    /// Tasks that it runs, or has claimed.
    pub running: u64,
}

/// How a worker stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It asks for work.
    Idle,
    Busy,
    /// Its lock is free, or it has given no sign of life for too long: the others take its tasks back.
    Gone,
}

/// All workers. `locks_tell` is whether a free lock tells that its worker has gone.
pub fn workers(conn: &mut Conn, locks_tell: bool) -> Result<Vec<Worker>, Error> {
    let free = if locks_tell { format!("IS_FREE_LOCK({LOCK}w.id)) = 1 OR ") } else { String::new() };
    let sql = format!(
        "SELECT w.id, w.hostname, w.pid, CAST(w.started_at AS CHAR), CAST(w.last_heartbeat_at AS CHAR), \
         TIMESTAMPDIFF(MICROSECOND, w.last_heartbeat_at, UTC_TIMESTAMP(6)), \
         IF({free}w.last_heartbeat_at < UTC_TIMESTAMP(6) - {}, 'gone', IF(w.idle, 'idle', 'busy')), \
         (SELECT COUNT(*) FROM ai_server_tasks t FORCE INDEX (by_class) WHERE t.state = 'running' AND t.worker_id = w.id) \
         FROM ai_server_workers w ORDER BY w.id",
        interval(LEASE)
    );
    let found = rows::<(u64, String, u32, String, String, i64, String, u64)>(conn, &sql)?;
    let worker = |(id, hostname, pid, started_at, last_heartbeat_at, seen_micros, standing, running): (
        _,
        _,
        _,
        _,
        _,
        _,
        String,
        _,
    )| {
        let standing = match standing.as_str() {
            "idle" => Standing::Idle,
            "busy" => Standing::Busy,
            _ => Standing::Gone,
        };
        Worker { id, hostname, pid, started_at, last_heartbeat_at, seen_micros, standing, running }
    };
    Ok(found.into_iter().map(worker).collect())
}

/// The gates that are shut: scope, name, since when.
pub fn paused(conn: &mut Conn) -> Result<Vec<(String, String, Option<String>)>, Error> {
    rows(conn, "SELECT scope, name, CAST(paused_at AS CHAR) FROM ai_server_controls WHERE paused ORDER BY scope, name")
}
