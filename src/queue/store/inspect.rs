//! Queries about tasks and workers for operators. Nothing here locks a row, and only an exact count reads more rows
//! than it returns.

use mysql::{Conn, Error, Row};
use serde::{Serialize, Serializer};

use super::fleet::lock_is_free;
use super::group::{TaskFilter, TaskGroup, groups};
use super::literal::Fragment;
use super::{Cursor, LEASE, column, from, next_page, row, rows};
use crate::queue::state::State;

/// A task without its payload, progress and result, which can be large. Times are UTC in the server's format; JSON has
/// them in the format of RFC 3339.
#[derive(Debug, Serialize)]
pub struct TaskSummary {
    pub id: u64,
    pub state: State,
    pub kind: String,
    pub payload_version: u16,
    pub queue: String,
    pub priority: u8,
    #[serde(serialize_with = "rfc3339")]
    pub scheduled_at: String,
    /// The earliest start of a pending task, the end of a running task's lease, or the end of a finished task's
    /// retention.
    #[serde(serialize_with = "rfc3339")]
    pub next_action_at: String,
    /// Time until `next_action_at`; negative if it has passed.
    #[serde(skip)]
    pub due_in_micros: i64,
    #[serde(serialize_with = "rfc3339")]
    pub created_at: String,
    #[serde(serialize_with = "rfc3339_if_any")]
    pub started_at: Option<String>,
    #[serde(serialize_with = "rfc3339_if_any")]
    pub finished_at: Option<String>,
    /// Time since the latest of `created_at`, `started_at` and `finished_at`.
    #[serde(skip)]
    pub quiet_micros: i64,
    pub claim_count: u32,
    pub failures: u32,
    pub crashes: u32,
    pub isolated_runs: u32,
    /// 0 is the kind's default.
    pub max_attempts: u32,
    /// 0 is the kind's default.
    pub timeout_ms: u32,
    /// The worker that runs the task; 0 is none.
    pub worker_id: u64,
    pub cancel_requested: bool,
    pub dedupe_key: Option<String>,
    pub last_error: Option<String>,
}

read_columns!(
    TaskSummary: id, state, kind, payload_version, queue, priority, scheduled_at, next_action_at, due_in_micros,
    created_at, started_at, finished_at, quiet_micros, claim_count, failures, crashes, isolated_runs, max_attempts,
    timeout_ms, worker_id, cancel_requested, dedupe_key, last_error,
);

/// The columns of a [`TaskSummary`], in the order of its fields.
const SUMMARY: &str = "t.id, t.state, t.kind, t.payload_version, t.queue, t.priority, \
    CAST(t.scheduled_at AS CHAR), CAST(t.next_action_at AS CHAR), \
    TIMESTAMPDIFF(MICROSECOND, UTC_TIMESTAMP(6), t.next_action_at), \
    CAST(t.created_at AS CHAR), \
    IF(t.started_at = '1970-01-01', NULL, CAST(t.started_at AS CHAR)), \
    IF(t.finished_at = '1970-01-01', NULL, CAST(t.finished_at AS CHAR)), \
    TIMESTAMPDIFF(MICROSECOND, GREATEST(t.created_at, t.started_at, t.finished_at), UTC_TIMESTAMP(6)), \
    t.claim_count, t.failures, t.crashes, t.isolated_runs, t.max_attempts, t.timeout_ms, t.worker_id, \
    t.cancel_requested, t.dedupe_key, t.last_error";

/// Writes `2026-01-01 00:00:00.000000` as `2026-01-01T00:00:00.000000Z`.
fn rfc3339<S: Serializer>(at: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{}Z", at.replacen(' ', "T", 1)))
}

/// Like [`rfc3339`], for a time that may be missing.
pub fn rfc3339_if_any<S: Serializer>(at: &Option<String>, serializer: S) -> Result<S::Ok, S::Error> {
    match at {
        Some(at) => rfc3339(at, serializer),
        None => serializer.serialize_none(),
    }
}

/// All columns of a task, and the process that runs it.
pub struct TaskDetails {
    pub summary: TaskSummary,
    pub payload: String,
    pub progress: Option<String>,
    pub result: Option<String>,
    /// Hostname and pid of the worker that runs the task.
    pub runs_on: Option<(String, u32)>,
}

const SELECT_NEWEST: &str = "SELECT :summary FROM ai_server_tasks t ORDER BY t.id DESC LIMIT :limit";
const SELECT_NEWEST_OF_GROUP: &str = "SELECT :summary FROM ai_server_tasks t FORCE INDEX (by_class) WHERE :group \
    ORDER BY t.next_action_at DESC, t.id DESC LIMIT :limit";

/// At most `limit` tasks: without a filter those with the largest ids, with a filter those that changed last. Of each
/// group only the last `limit` in the index are read: those that finished last, or that will be due last.
pub fn newest(conn: &mut Conn, filter: &TaskFilter, limit: usize) -> Result<Vec<TaskSummary>, Error> {
    let summary = Fragment(SUMMARY.to_owned());
    if filter.is_empty() {
        return rows(conn, &sql!(SELECT_NEWEST, summary = summary, limit = limit));
    }
    let mut found: Vec<TaskSummary> = Vec::new();
    for group in groups(conn, filter)? {
        let select = sql!(SELECT_NEWEST_OF_GROUP, summary = summary, group = group.condition(), limit = limit);
        found.extend(rows(conn, &select)?);
    }
    found.sort_by_key(|task| (task.quiet_micros, std::cmp::Reverse(task.id)));
    found.truncate(limit);
    Ok(found)
}

const SELECT_DETAILS: &str = "SELECT :summary, t.payload, t.progress, t.result, w.hostname, w.pid \
    FROM ai_server_tasks t LEFT JOIN ai_server_workers w ON w.id = t.worker_id WHERE t.id = :id";

/// Returns all columns of one task.
pub fn details(conn: &mut Conn, id: u64) -> Result<Option<TaskDetails>, Error> {
    let select = sql!(SELECT_DETAILS, summary = Fragment(SUMMARY.to_owned()), id = id);
    let Some(mut row) = rows::<Row>(conn, &select)?.pop() else { return Ok(None) };
    let read = |row: &mut Row| {
        Some(TaskDetails {
            summary: TaskSummary::read(row)?,
            payload: column(row, "payload")?,
            progress: column(row, "progress")?,
            result: column(row, "result")?,
            runs_on: column::<Option<String>>(row, "hostname")?.zip(column(row, "pid")?),
        })
    };
    read(&mut row).map(Some).ok_or(Error::FromRowError(row))
}

const SELECT_STATE: &str = "SELECT state FROM ai_server_tasks WHERE id = :id";

/// Returns the state of a task, if it exists.
pub fn state(conn: &mut Conn, id: u64) -> Result<Option<State>, Error> {
    Ok(rows::<(State,)>(conn, &sql!(SELECT_STATE, id = id))?.pop().map(|(state,)| state))
}

const COUNT: &str = "SELECT COUNT(*) FROM \
    (SELECT 1 FROM ai_server_tasks FORCE INDEX (by_class) WHERE :group:and_due:limit) AS found";

/// Number of tasks of a group, or of its due tasks only; counting stops at `limit`. Each task costs reading an index
/// entry.
pub fn count(conn: &mut Conn, group: &TaskGroup, only_due: bool, limit: Option<u64>) -> Result<u64, Error> {
    let and_due = Fragment(if only_due { " AND next_action_at <= UTC_TIMESTAMP(6)" } else { "" }.to_owned());
    // Without a LIMIT the server counts without building a temporary table.
    let limit = Fragment(limit.map_or_else(String::new, |limit| format!(" LIMIT {limit}")));
    row::<(u64,)>(conn, &sql!(COUNT, group = group.condition(), and_due = and_due, limit = limit)).map(|(count,)| count)
}

const OLDEST_DUE: &str = "SELECT TIMESTAMPDIFF(MICROSECOND, next_action_at, UTC_TIMESTAMP(6)) \
    FROM ai_server_tasks FORCE INDEX (by_class) WHERE :group ORDER BY next_action_at LIMIT 1";

/// Returns the microseconds for which the first task of a group has been due; negative if it is not due yet.
pub fn oldest_due(conn: &mut Conn, group: &TaskGroup) -> Result<Option<i64>, Error> {
    let found = rows::<(i64,)>(conn, &sql!(OLDEST_DUE, group = group.condition()))?;
    Ok(found.first().map(|(micros,)| *micros))
}

/// Maximum number of payloads that are read at once. They may be large, and all of them are in memory.
const PAGE: usize = 100;

/// Payloads with the ids of their tasks, and where the next page starts if there may be one.
pub type Payloads = (Vec<(u64, String)>, Option<Cursor>);

const SELECT_PAYLOADS: &str = "SELECT id, CAST(next_action_at AS CHAR), payload \
    FROM ai_server_tasks FORCE INDEX (by_class) WHERE :group AND :from ORDER BY next_action_at, id LIMIT :limit";

/// Returns the next page of the payloads of a group.
pub fn payloads(conn: &mut Conn, group: &TaskGroup, cursor: Option<&Cursor>) -> Result<Payloads, Error> {
    let select = sql!(SELECT_PAYLOADS, group = group.condition(), from = from(cursor), limit = PAGE);
    let found = rows::<(u64, String, String)>(conn, &select)?;
    let next = next_page(&found, PAGE, |(id, at, _)| (at, *id));
    Ok((found.into_iter().map(|(id, _, payload)| (id, payload)).collect(), next))
}

/// A worker, as the others see it.
#[derive(Debug, Serialize)]
pub struct WorkerSummary {
    pub id: u64,
    pub hostname: String,
    pub pid: u32,
    #[serde(serialize_with = "rfc3339")]
    pub started_at: String,
    #[serde(serialize_with = "rfc3339")]
    pub last_heartbeat_at: String,
    /// Time since the last heartbeat.
    #[serde(skip)]
    pub heartbeat_age_micros: i64,
    pub state: WorkerState,
    /// Number of tasks that the worker has claimed and not finished.
    pub running: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkerState {
    /// It polls for tasks.
    Idle,
    Busy,
    /// Its liveness lock is free, or its last heartbeat is too old: other workers will rescue its tasks.
    Dead,
}

impl WorkerState {
    pub fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Busy => "busy",
            Self::Dead => "dead",
        }
    }
}

const SELECT_WORKERS: &str = "SELECT w.id, w.hostname, w.pid, \
    CAST(w.started_at AS CHAR), CAST(w.last_heartbeat_at AS CHAR), \
    TIMESTAMPDIFF(MICROSECOND, w.last_heartbeat_at, UTC_TIMESTAMP(6)), \
    :lock_is_free OR w.last_heartbeat_at < UTC_TIMESTAMP(6) - :lease, w.idle, \
    (SELECT COUNT(*) FROM ai_server_tasks t FORCE INDEX (by_class) WHERE t.state = 'running' AND t.worker_id = w.id) \
    FROM ai_server_workers w ORDER BY w.id";

/// Returns all registered workers. Unless `locks_are_global`, a free lock does not mean that its worker is dead.
pub fn workers(conn: &mut Conn, locks_are_global: bool) -> Result<Vec<WorkerSummary>, Error> {
    let select = sql!(SELECT_WORKERS, lock_is_free = lock_is_free("w.id", locks_are_global), lease = LEASE);
    let found = rows::<(u64, String, u32, String, String, i64, bool, bool, u64)>(conn, &select)?;
    let worker = |(id, hostname, pid, started_at, last_heartbeat_at, heartbeat_age_micros, dead, idle, running)| {
        let state = match (dead, idle) {
            (true, _) => WorkerState::Dead,
            (false, true) => WorkerState::Idle,
            (false, false) => WorkerState::Busy,
        };
        WorkerSummary { id, hostname, pid, started_at, last_heartbeat_at, heartbeat_age_micros, state, running }
    };
    Ok(found.into_iter().map(worker).collect())
}

const SELECT_PAUSED: &str =
    "SELECT scope, name, CAST(paused_at AS CHAR) FROM ai_server_controls WHERE paused ORDER BY scope, name";

/// Returns the paused kinds and queues: scope, name, start of the pause.
pub fn paused(conn: &mut Conn) -> Result<Vec<(String, String, Option<String>)>, Error> {
    rows(conn, SELECT_PAUSED)
}
