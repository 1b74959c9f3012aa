//! Changes that an operator asks for. Each names the state that it expects, so that a worker's change in between stays.

use std::time::Duration;

use mysql::{Conn, Error};

use super::enqueue::is_duplicate;
use super::group::{Filter, Group};
use super::purge::{Cursor, behind};
use super::{among, execute, interval, rows};
use crate::queue::state::State;

const RETRY: &str = "state = 'pending', next_action_at = UTC_TIMESTAMP(6), failures = 0, crashes = 0, isolated_runs = 0, \
    cancel_requested = FALSE, finished_at = '1970-01-01', progress = NULL";

/// What became of a wish to run a task again.
#[derive(Debug, PartialEq, Eq)]
pub enum Retried {
    Done,
    /// It is not dead, and wasn't cancelled.
    Not,
    /// A living task has the same dedupe key.
    Duplicate,
}

/// Makes a dead or cancelled task pending again; its attempts are counted anew.
pub fn retry(conn: &mut Conn, id: u64) -> Result<Retried, Error> {
    let sql = format!("UPDATE ai_server_tasks SET {RETRY} WHERE id = {id} AND state IN ('dead', 'cancelled')");
    match execute(conn, &sql) {
        Ok(0) => Ok(Retried::Not),
        Ok(_) => Ok(Retried::Done),
        Err(error) if is_duplicate(&error) => Ok(Retried::Duplicate),
        Err(error) => Err(error),
    }
}

/// Rows of one statement: enough to be quick, few enough to be in nobody's way.
const BATCH: usize = 500;

/// What became of a batch.
#[derive(Debug, Default)]
pub struct Batch {
    pub retried: u64,
    /// Left as they are, since living tasks have their dedupe keys.
    pub duplicates: u64,
    /// Where it ended, if there may be more behind it.
    pub last: Option<Cursor>,
}

/// As [`retry`], for the next batch of a group behind `place`.
pub fn retry_batch(conn: &mut Conn, group: &Group, place: Option<&Cursor>) -> Result<Batch, Error> {
    let found = rows::<(u64, String)>(
        conn,
        &format!(
            "SELECT id, CAST(next_action_at AS CHAR) FROM ai_server_tasks FORCE INDEX (by_class) WHERE {}{} \
             ORDER BY next_action_at, id LIMIT {BATCH}",
            group.condition(),
            behind(place)
        ),
    )?;
    let Some((id, next_action_at)) = found.last() else { return Ok(Batch::default()) };
    let last = (found.len() == BATCH).then(|| (next_action_at.clone(), *id));
    let state = group.state.name();
    let ids = among(found.iter().map(|(id, _)| *id).collect());
    // Those whose key is taken are passed over; rows that match are counted, changed or not.
    let matched =
        execute(conn, &format!("UPDATE IGNORE ai_server_tasks SET {RETRY} WHERE {ids} AND state = '{state}'"))?;
    let left =
        rows::<(u64,)>(conn, &format!("SELECT COUNT(*) FROM ai_server_tasks WHERE {ids} AND state = '{state}'"))?;
    let duplicates = left.first().map_or(0, |(count,)| *count);
    Ok(Batch { retried: matched.saturating_sub(duplicates), duplicates, last })
}

/// The tasks that [`retry_batch`] is for.
pub fn dead(kind: Option<String>) -> Filter {
    Filter { kind, ..Filter::states(&[State::Dead]) }
}

/// What became of a wish to cancel a task.
#[derive(Debug, PartialEq, Eq)]
pub enum Cancelled {
    /// It was pending, and never runs.
    AtOnce,
    /// It runs, and its worker will hear of it.
    Asked,
    /// It is neither pending nor running.
    Not,
}

/// Cancels a task; a row that is kept for `keep` then, if it was pending.
pub fn cancel(conn: &mut Conn, id: u64, retention: Duration) -> Result<Cancelled, Error> {
    /// It may go from one state to the other between two statements, but not for ever.
    const TRIES: usize = 3;
    let pending = format!(
        "UPDATE ai_server_tasks SET state = 'cancelled', cancel_requested = TRUE, finished_at = UTC_TIMESTAMP(6), \
         next_action_at = UTC_TIMESTAMP(6) + {} WHERE id = {id} AND state = 'pending'",
        interval(retention)
    );
    let running = format!("UPDATE ai_server_tasks SET cancel_requested = TRUE WHERE id = {id} AND state = 'running'");
    for _ in 0..TRIES {
        if execute(conn, &pending)? > 0 {
            return Ok(Cancelled::AtOnce);
        }
        if execute(conn, &running)? > 0 {
            return Ok(Cancelled::Asked);
        }
    }
    Ok(Cancelled::Not)
}

/// What claims pass through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Control {
    Kind(String),
    Queue(String),
}

impl Control {
    /// As the row has it: scope and name.
    pub fn parts(&self) -> (&'static str, &str) {
        match self {
            Self::Kind(name) => ("kind", name),
            Self::Queue(name) => ("queue", name),
        }
    }
}

/// Shuts a gate; whether it was open.
pub fn pause(conn: &mut Conn, control: &Control) -> Result<bool, Error> {
    let (scope, name) = control.parts();
    execute(conn, &format!("INSERT IGNORE INTO ai_server_controls (scope, name) VALUES ('{scope}', '{name}')"))?;
    let shut = execute(
        conn,
        &format!(
            "UPDATE ai_server_controls SET paused = TRUE, paused_at = UTC_TIMESTAMP(6) \
             WHERE scope = '{scope}' AND name = '{name}' AND NOT paused"
        ),
    )?;
    Ok(shut > 0)
}

/// Opens a gate; whether it was shut.
pub fn resume(conn: &mut Conn, control: &Control) -> Result<bool, Error> {
    let (scope, name) = control.parts();
    let opened = execute(
        conn,
        &format!(
            "UPDATE ai_server_controls SET paused = FALSE, paused_at = NULL \
             WHERE scope = '{scope}' AND name = '{name}' AND paused"
        ),
    )?;
    Ok(opened > 0)
}
