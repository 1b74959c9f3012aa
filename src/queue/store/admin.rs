//! Changes by operators. Each statement names the state that it expects, so it doesn't overwrite what a worker did
//! meanwhile.

use std::time::Duration;

use mysql::{Conn, Error};

use super::claim::ensure_control_row;
use super::enqueue::is_duplicate;
use super::group::TaskGroup;
use super::{Cursor, execute, from, id_in, next_page, row, rows};

/// The result of a retry.
#[derive(Debug, PartialEq, Eq)]
pub enum RetryOutcome {
    Retried,
    /// The task is neither dead nor cancelled.
    NotFinished,
    /// A pending or running task has the same dedupe key.
    Duplicate,
}

const RETRY: &str = "UPDATE ai_server_tasks \
    SET state = 'pending', next_action_at = UTC_TIMESTAMP(6), failures = 0, crashes = 0, isolated_runs = 0, \
    cancel_requested = FALSE, finished_at = '1970-01-01', progress = NULL \
    WHERE id = :id AND state IN ('dead', 'cancelled')";

/// Makes a dead or cancelled task pending again, with all its attempts.
pub fn retry(conn: &mut Conn, id: u64) -> Result<RetryOutcome, Error> {
    match execute(conn, &sql!(RETRY, id = id)) {
        Ok(0) => Ok(RetryOutcome::NotFinished),
        Ok(_) => Ok(RetryOutcome::Retried),
        Err(error) if is_duplicate(&error) => Ok(RetryOutcome::Duplicate),
        Err(error) => Err(error),
    }
}

/// The result of retrying a batch of tasks.
#[derive(Debug, Default)]
pub struct RetriedBatch {
    pub retried: u64,
    /// Tasks that stay as they are, because pending or running tasks have their dedupe keys.
    pub duplicates: u64,
    /// Start of the next batch, if there may be one.
    pub next: Option<Cursor>,
}

/// Maximum number of rows that one statement changes. Fewer take longer in total; more would block workers.
const BATCH: usize = 500;

const SELECT_BATCH: &str = "SELECT id, CAST(next_action_at AS CHAR) FROM ai_server_tasks FORCE INDEX (by_class) \
    WHERE :group AND :from ORDER BY next_action_at, id LIMIT :limit";
/// IGNORE skips tasks whose dedupe key is in use. The server still reports them as changed, so they are counted
/// afterwards.
const RETRY_BATCH: &str = "UPDATE IGNORE ai_server_tasks \
    SET state = 'pending', next_action_at = UTC_TIMESTAMP(6), failures = 0, crashes = 0, isolated_runs = 0, \
    cancel_requested = FALSE, finished_at = '1970-01-01', progress = NULL \
    WHERE :id_in AND state = :state";
const COUNT_LEFT: &str = "SELECT COUNT(*) FROM ai_server_tasks WHERE :id_in AND state = :state";

/// Retries the next batch of a group.
pub fn retry_batch(conn: &mut Conn, group: &TaskGroup, cursor: Option<&Cursor>) -> Result<RetriedBatch, Error> {
    let select = sql!(SELECT_BATCH, group = group.condition(), from = from(cursor), limit = BATCH);
    let found = rows::<(u64, String)>(conn, &select)?;
    if found.is_empty() {
        return Ok(RetriedBatch::default());
    }
    let next = next_page(&found, BATCH, |(id, at)| (at, *id));
    let ids = id_in(found.iter().map(|(id, _)| *id).collect());
    let matched = execute(conn, &sql!(RETRY_BATCH, id_in = ids, state = group.state.name()))?;
    let (duplicates,): (u64,) = row(conn, &sql!(COUNT_LEFT, id_in = ids, state = group.state.name()))?;
    Ok(RetriedBatch { retried: matched.saturating_sub(duplicates), duplicates, next })
}

/// The result of a cancellation.
#[derive(Debug, PartialEq, Eq)]
pub enum CancelOutcome {
    /// The task was pending and never runs.
    Cancelled,
    /// The task is running; its worker will interrupt it.
    Requested,
    /// The task is neither pending nor running.
    Finished,
}

const CANCEL_PENDING: &str = "UPDATE ai_server_tasks \
    SET state = 'cancelled', cancel_requested = TRUE, finished_at = UTC_TIMESTAMP(6), \
    next_action_at = UTC_TIMESTAMP(6) + :retention \
    WHERE id = :id AND state = 'pending'";
const CANCEL_RUNNING: &str = "UPDATE ai_server_tasks SET cancel_requested = TRUE WHERE id = :id AND state = 'running'";

/// Cancels a task. A pending one is kept for `retention`.
pub fn cancel(conn: &mut Conn, id: u64, retention: Duration) -> Result<CancelOutcome, Error> {
    /// The task may change between pending and running during an attempt, but hardly during every one.
    const TRIES: usize = 3;
    for _ in 0..TRIES {
        if execute(conn, &sql!(CANCEL_PENDING, retention = retention, id = id))? > 0 {
            return Ok(CancelOutcome::Cancelled);
        }
        if execute(conn, &sql!(CANCEL_RUNNING, id = id))? > 0 {
            return Ok(CancelOutcome::Requested);
        }
    }
    Ok(CancelOutcome::Finished)
}

/// A kind or queue that an operator can pause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Control {
    Kind(String),
    Queue(String),
}

impl Control {
    /// Returns the columns `scope` and `name`.
    pub fn parts(&self) -> (&'static str, &str) {
        match self {
            Self::Kind(name) => ("kind", name),
            Self::Queue(name) => ("queue", name),
        }
    }
}

const SET_PAUSED: &str = "UPDATE ai_server_controls \
    SET paused = :paused, paused_at = IF(:paused, UTC_TIMESTAMP(6), NULL) \
    WHERE scope = :scope AND name = :name AND paused <> :paused";

/// Pauses or resumes a kind or queue. Returns false if that changed nothing.
pub fn set_paused(conn: &mut Conn, control: &Control, paused: bool) -> Result<bool, Error> {
    let (scope, name) = control.parts();
    if paused {
        ensure_control_row(conn, scope, name)?;
    }
    Ok(execute(conn, &sql!(SET_PAUSED, paused = paused, scope = scope, name = name))? > 0)
}
