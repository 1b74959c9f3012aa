//! Deleting finished tasks in small batches.

use std::time::Duration;

use mysql::{Conn, Error};

use super::group::{TaskFilter, TaskGroup, groups};
use super::{Cursor, execute, from, id_in, next_page, rows};
use crate::queue::state::State;

/// Maximum number of rows that one statement deletes. Fewer take longer in total; more would block workers.
const BATCH: usize = 1000;

/// Deletes at most one batch of each group of finished tasks whose retention has ended. Returns true if there may be
/// more.
pub fn purge_batches(conn: &mut Conn) -> Result<bool, Error> {
    let mut more = false;
    for group in groups(conn, &TaskFilter::states(&State::FINAL))? {
        more |= purge_due(conn, &group)? == BATCH as u64;
    }
    Ok(more)
}

const DELETE_DUE: &str = "DELETE FROM ai_server_tasks WHERE :group AND next_action_at <= UTC_TIMESTAMP(6) \
    ORDER BY next_action_at LIMIT :limit";

/// Deletes a batch of the tasks whose retention has ended, and returns their number.
pub fn purge_due(conn: &mut Conn, group: &TaskGroup) -> Result<u64, Error> {
    execute(conn, &sql!(DELETE_DUE, group = group.condition(), limit = BATCH))
}

/// The index does not contain `finished_at`, so all rows of the group are read.
const SELECT_BATCH: &str = "SELECT id, CAST(next_action_at AS CHAR), finished_at <= UTC_TIMESTAMP(6) - :age \
    FROM ai_server_tasks FORCE INDEX (by_class) WHERE :group AND :from \
    ORDER BY next_action_at, id LIMIT :limit";
const DELETE_OLDER: &str = "DELETE FROM ai_server_tasks \
    WHERE :id_in AND state = :state AND finished_at <= UTC_TIMESTAMP(6) - :age";

/// Deletes from the next batch the tasks that finished more than `age` ago. Returns their number, and where the next
/// batch starts if there may be one.
pub fn purge_older(
    conn: &mut Conn,
    group: &TaskGroup,
    age: Duration,
    cursor: Option<&Cursor>,
) -> Result<(u64, Option<Cursor>), Error> {
    let select = sql!(SELECT_BATCH, age = age, group = group.condition(), from = from(cursor), limit = BATCH);
    let found = rows::<(u64, String, bool)>(conn, &select)?;
    let next = next_page(&found, BATCH, |(id, at, _)| (at, *id));
    let old: Vec<u64> = found.iter().filter(|(.., is_old)| *is_old).map(|(id, ..)| *id).collect();
    if old.is_empty() {
        return Ok((0, next));
    }
    let deleted = execute(conn, &sql!(DELETE_OLDER, id_in = id_in(old), state = group.state.name(), age = age))?;
    Ok((deleted, next))
}

/// Returns the kinds and versions that have pending tasks.
pub fn pending_kinds(conn: &mut Conn) -> Result<Vec<(String, u16)>, Error> {
    let groups = groups(conn, &TaskFilter::states(&[State::Pending]))?;
    let mut pending: Vec<(String, u16)> = groups.into_iter().map(|group| (group.kind, group.version)).collect();
    pending.dedup();
    Ok(pending)
}
