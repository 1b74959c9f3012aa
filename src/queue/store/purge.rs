//! Deleting final rows, in small batches.

use std::time::Duration;

use mysql::{Conn, Error};

use super::group::{Filter, Group, groups};
use super::{among, execute, interval, rows};
use crate::queue::state::State;

/// Rows of one statement: enough to be quick, few enough to be in nobody's way.
const BATCH: u64 = 1000;

/// Deletes one batch of each sort of final row, as far as their time is up; whether there may be more.
pub fn purge(conn: &mut Conn) -> Result<bool, Error> {
    let mut more = false;
    for group in groups(conn, &Filter::states(&State::FINAL))? {
        more |= purge_due(conn, &group)? == BATCH;
    }
    Ok(more)
}

/// Deletes a batch of those whose time is up; how many.
pub fn purge_due(conn: &mut Conn, group: &Group) -> Result<u64, Error> {
    execute(
        conn,
        &format!(
            "DELETE FROM ai_server_tasks WHERE {} AND next_action_at <= UTC_TIMESTAMP(6) ORDER BY next_action_at LIMIT {BATCH}",
            group.condition()
        ),
    )
}

/// Where a walk through a group has come to: `next_action_at` and id of the last row.
pub type Cursor = (String, u64);

/// Deletes those of the next batch behind `place` that ended longer ago than `age`: how many, and where the batch ended,
/// if there may be more behind it. The index has no `finished_at`, so all rows of the group are looked at in turn.
pub fn purge_older(
    conn: &mut Conn,
    group: &Group,
    age: Duration,
    place: Option<&Cursor>,
) -> Result<(u64, Option<Cursor>), Error> {
    let found = rows::<(u64, String, bool)>(
        conn,
        &format!(
            "SELECT id, CAST(next_action_at AS CHAR), finished_at <= UTC_TIMESTAMP(6) - {} FROM ai_server_tasks \
             FORCE INDEX (by_class) WHERE {}{} ORDER BY next_action_at, id LIMIT {BATCH}",
            interval(age),
            group.condition(),
            behind(place)
        ),
    )?;
    let last = found
        .last()
        .filter(|_| found.len() as u64 == BATCH)
        .map(|(id, next_action_at, _)| (next_action_at.clone(), *id));
    let old: Vec<u64> = found.iter().filter(|(.., is_old)| *is_old).map(|(id, ..)| *id).collect();
    if old.is_empty() {
        return Ok((0, last));
    }
    let deleted = execute(
        conn,
        &format!(
            "DELETE FROM ai_server_tasks WHERE {} AND state = '{}' AND finished_at <= UTC_TIMESTAMP(6) - {}",
            among(old),
            group.state.name(),
            interval(age)
        ),
    )?;
    Ok((deleted, last))
}

/// The condition for rows behind `place`, in the index's order. Many rows may have one `next_action_at`; in just these words both
/// servers begin at the row itself, whereas with one more bound on `next_action_at` they pass all that have it.
pub fn behind(place: Option<&Cursor>) -> String {
    place.map_or_else(String::new, |(next_action_at, id)| {
        format!(" AND (next_action_at > '{next_action_at}' OR (next_action_at = '{next_action_at}' AND id > {id}))")
    })
}

/// Kinds and versions that have pending tasks.
pub fn pending_kinds(conn: &mut Conn) -> Result<Vec<(String, u16)>, Error> {
    let groups = groups(conn, &Filter::states(&[State::Pending]))?;
    let mut pending: Vec<(String, u16)> = groups.into_iter().map(|group| (group.kind, group.version)).collect();
    pending.dedup();
    Ok(pending)
}
