//! The leases of running tasks: extended while their worker lives, taken back when it has gone.

use mysql::{Conn, Error};

use super::complete::{Keep, given_back};
use super::{Fence, among, execute, in_transaction, interval, rows};
use crate::fault;
use crate::queue::LEASE;

/// Rows of one statement, at most.
const BATCH_MAX: usize = 500;

/// Extends the leases of an owner's tasks, but for those that a handler's transaction has locked, which nobody can take
/// meanwhile. Which were extended, and for which of them cancelling was asked for.
pub fn extend(conn: &mut Conn, owner: u64, ids: &[u64]) -> Result<Vec<(u64, bool)>, Error> {
    let mut extended = Vec::new();
    for ids in ids.chunks(BATCH_MAX) {
        extended.extend(in_transaction(conn, |conn| {
            let found = rows::<(u64, bool)>(
                conn,
                &format!(
                    "SELECT id, cancel_requested FROM ai_server_tasks FORCE INDEX (PRIMARY) \
                     WHERE {} AND state = 'running' AND owner = {owner} FOR UPDATE SKIP LOCKED",
                    among(ids.to_vec())
                ),
            )?;
            if !found.is_empty() {
                execute(
                    conn,
                    &format!(
                        "UPDATE ai_server_tasks FORCE INDEX (PRIMARY) SET due_at = UTC_TIMESTAMP(6) + {} \
                         WHERE {}",
                        interval(LEASE),
                        among(found.iter().map(|(id, _)| *id).collect())
                    ),
                )?;
            }
            fault::point("lease-locked");
            Ok(found)
        })?);
    }
    Ok(extended)
}

/// Those of an owner's tasks whose cancelling was asked for.
pub fn cancel_requested(conn: &mut Conn, owner: u64, ids: &[u64]) -> Result<Vec<u64>, Error> {
    let found = rows::<(u64,)>(
        conn,
        &format!(
            "SELECT id FROM ai_server_tasks WHERE {} AND cancel_requested AND owner = {owner}",
            among(ids.to_vec())
        ),
    )?;
    Ok(found.into_iter().map(|(id,)| id).collect())
}

/// Everything that runs for `owner` as the database has it.
pub fn owned(conn: &mut Conn, owner: u64) -> Result<Vec<Fence>, Error> {
    let found = rows::<(u64, u32)>(
        conn,
        &format!(
            "SELECT id, claims FROM ai_server_tasks FORCE INDEX (due) WHERE state = 'running' AND owner = {owner}"
        ),
    )?;
    Ok(found.into_iter().map(|(id, claims)| Fence { id, owner, claims }).collect())
}

/// Running tasks that nobody runs: their lease has run out, or their owner is no worker any more.
pub fn ownerless(conn: &mut Conn) -> Result<Vec<Fence>, Error> {
    let found = rows::<(u64, u64, u32)>(
        conn,
        "SELECT t.id, t.owner, t.claims FROM ai_server_tasks t FORCE INDEX (due) \
         LEFT JOIN ai_server_workers w ON w.id = t.owner \
         WHERE t.state = 'running' AND (w.id IS NULL OR t.due_at < UTC_TIMESTAMP(6))",
    )?;
    Ok(found.into_iter().map(|(id, owner, claims)| Fence { id, owner, claims }).collect())
}

/// Makes tasks pending again whose worker has gone. Each counts as having taken it with it once; from then on it runs
/// in a process of its own, which tells whether it was to blame. How many.
pub fn rescue(conn: &mut Conn, fences: &[Fence], keep: &Keep) -> Result<u64, Error> {
    take_back(conn, fences, &format!("crashes = GREATEST(crashes, 1), {}", given_back(keep)))
}

/// Makes tasks pending again that have not begun, as if they hadn't been claimed. How many.
pub fn give_back(conn: &mut Conn, fences: &[Fence], keep: &Keep) -> Result<u64, Error> {
    take_back(conn, fences, &given_back(keep))
}

/// One that a handler's transaction has locked is left for the next time: it must not keep the others.
fn take_back(conn: &mut Conn, fences: &[Fence], change: &str) -> Result<u64, Error> {
    let mut changed = 0;
    let mut fences = fences.to_vec();
    fences.sort_unstable_by_key(|fence| (fence.owner, fence.claims, fence.id));
    for alike in fences.chunk_by(|a, b| (a.owner, a.claims) == (b.owner, b.claims)) {
        for batch in alike.chunks(BATCH_MAX) {
            let Some(first) = batch.first() else { continue };
            changed += in_transaction(conn, |conn| {
                let found = rows::<(u64,)>(
                    conn,
                    &format!(
                        "SELECT id FROM ai_server_tasks FORCE INDEX (PRIMARY) WHERE {} \
                         AND state = 'running' AND owner = {} AND claims = {} FOR UPDATE SKIP LOCKED",
                        among(batch.iter().map(|fence| fence.id).collect()),
                        first.owner,
                        first.claims
                    ),
                )?;
                fault::point("take-back-locked");
                if found.is_empty() {
                    return Ok(0);
                }
                execute(
                    conn,
                    &format!(
                        "UPDATE ai_server_tasks FORCE INDEX (PRIMARY) SET {change} WHERE {}",
                        among(found.iter().map(|(id,)| *id).collect())
                    ),
                )
            })?;
        }
    }
    Ok(changed)
}
