//! The leases of running tasks: extended while their worker lives, taken over once it is dead.

use mysql::{Conn, Error};

use super::literal::Fragment;
use super::{ClaimToken, LEASE, Retention, execute, id_in, in_transaction, rows};
use crate::fault;
use crate::queue::interrupt::Interrupted;
use crate::queue::transition::ISOLATED_RUNS_MAX;

/// Maximum number of rows that one statement changes.
const BATCH_MAX: usize = 500;

const LOCK_OWN: &str = "SELECT id, claim_count, cancel_requested FROM ai_server_tasks FORCE INDEX (PRIMARY) \
    WHERE :id_in AND state = 'running' AND worker_id = :worker_id FOR UPDATE SKIP LOCKED";
const EXTEND: &str = "UPDATE ai_server_tasks FORCE INDEX (PRIMARY) \
    SET next_action_at = UTC_TIMESTAMP(6) + :lease WHERE :id_in";

/// Extends the leases of a worker's tasks, and returns the extended ones, each with true if its cancellation was
/// requested. Rows that a handler's transaction has locked are skipped: no other worker can take them over meanwhile.
pub fn extend(conn: &mut Conn, worker_id: u64, ids: &[u64]) -> Result<Vec<(ClaimToken, bool)>, Error> {
    let mut extended = Vec::new();
    for ids in ids.chunks(BATCH_MAX) {
        extended.extend(in_transaction(conn, |conn| {
            let lock = sql!(LOCK_OWN, id_in = id_in(ids.to_vec()), worker_id = worker_id);
            let found = rows::<(u64, u32, bool)>(conn, &lock)?;
            if !found.is_empty() {
                let ids = found.iter().map(|(id, ..)| *id).collect();
                execute(conn, &sql!(EXTEND, lease = LEASE, id_in = id_in(ids)))?;
            }
            fault::point("lease-locked");
            let token = |(id, claim_count, cancel)| (ClaimToken { id, worker_id, claim_count }, cancel);
            Ok(found.into_iter().map(token))
        })?);
    }
    Ok(extended)
}

const READ_CHANGES: &str =
    "SELECT id, claim_count, state = 'pending', cancel_requested FROM ai_server_tasks WHERE :id_in";

/// Finds running tasks that an operator cancelled, or that were taken over because their lease expired.
pub fn find_changes(conn: &mut Conn, tokens: &[ClaimToken]) -> Result<Vec<(ClaimToken, Interrupted)>, Error> {
    let ids = tokens.iter().map(|token| token.id).collect();
    let found = rows::<(u64, u32, bool, bool)>(conn, &sql!(READ_CHANGES, id_in = id_in(ids)))?;
    let change = |token: &ClaimToken| {
        let (_, claim_count, pending, cancelled) = found.iter().find(|(id, ..)| *id == token.id)?;
        if *pending || *claim_count != token.claim_count {
            return Some((*token, Interrupted::LeaseLost));
        }
        cancelled.then_some((*token, Interrupted::Cancelled))
    };
    Ok(tokens.iter().filter_map(change).collect())
}

const SELECT_OWNED: &str = "SELECT id, worker_id, claim_count FROM ai_server_tasks FORCE INDEX (by_class) \
    WHERE state = 'running' AND worker_id = :worker_id";

/// Returns the tasks that a worker runs according to the database.
pub fn owned(conn: &mut Conn, worker_id: u64) -> Result<Vec<ClaimToken>, Error> {
    rows(conn, &sql!(SELECT_OWNED, worker_id = worker_id))
}

const SELECT_ORPHANED: &str = "SELECT t.id, t.worker_id, t.claim_count FROM ai_server_tasks t FORCE INDEX (by_class) \
    LEFT JOIN ai_server_workers w ON w.id = t.worker_id \
    WHERE t.state = 'running' AND (w.id IS NULL OR t.next_action_at < UTC_TIMESTAMP(6))";

/// Running tasks whose lease has expired or whose worker is not registered.
pub fn find_orphaned(conn: &mut Conn) -> Result<Vec<ClaimToken>, Error> {
    rows(conn, SELECT_ORPHANED)
}

/// Number of tasks that were taken over from dead workers.
#[derive(Debug, Default)]
pub struct Rescued {
    /// Pending again, or cancelled if an operator requested that.
    pub pending: u64,
    /// Dead, because too many workers died while they ran the task.
    pub dead: u64,
}

const BURY_LOST: &str = "UPDATE ai_server_tasks FORCE INDEX (PRIMARY) \
    SET state = 'dead', worker_id = 0, finished_at = UTC_TIMESTAMP(6), \
    next_action_at = UTC_TIMESTAMP(6) + :retention, last_error = :error \
    WHERE :id_in AND state = 'running' AND isolated_runs >= :isolated_runs_max AND NOT cancel_requested";
/// The crash is counted once: the next runs are isolated, and show whether the task caused it.
const REQUEUE: &str = "UPDATE ai_server_tasks FORCE INDEX (PRIMARY) \
    SET crashes = GREATEST(crashes, 1), \
    state = IF(cancel_requested, 'cancelled', 'pending'), worker_id = 0, \
    finished_at = IF(cancel_requested, UTC_TIMESTAMP(6), finished_at), \
    next_action_at = IF(cancel_requested, UTC_TIMESTAMP(6) + :retention, LEAST(scheduled_at, UTC_TIMESTAMP(6))) \
    WHERE :id_in AND state = 'running'";

/// Makes the tasks of a dead worker pending again. Their next runs are isolated in a process of their own. A task is
/// dead once [`ISOLATED_RUNS_MAX`] workers died during such runs, for example because a container's memory limit kills
/// them together.
pub fn rescue(conn: &mut Conn, tokens: &[ClaimToken], retention: &Retention) -> Result<Rescued, Error> {
    let error = format!("worker_lost: {ISOLATED_RUNS_MAX} workers died while they ran the task");
    let mut rescued = Rescued::default();
    change_claimed(conn, tokens, |conn, ids| {
        let bury = sql!(
            BURY_LOST,
            retention = retention.dead,
            error = error,
            id_in = *ids,
            isolated_runs_max = ISOLATED_RUNS_MAX,
        );
        rescued.dead += execute(conn, &bury)?;
        rescued.pending += execute(conn, &sql!(REQUEUE, retention = retention.finished, id_in = *ids))?;
        Ok(())
    })?;
    Ok(rescued)
}

const COUNT_ISOLATED_RUN: &str = "UPDATE ai_server_tasks SET isolated_runs = isolated_runs + 1 WHERE :claim";

/// Counts an isolated run before it starts, because its worker may not live to report the outcome.
pub fn count_isolated_run(conn: &mut Conn, token: &ClaimToken) -> Result<(), Error> {
    execute(conn, &sql!(COUNT_ISOLATED_RUN, claim = token.condition())).map(drop)
}

/// Makes tasks pending again that have not started, as if they had not been claimed. Returns their number.
pub fn release(conn: &mut Conn, tokens: &[ClaimToken], retention: &Retention) -> Result<u64, Error> {
    let mut released = 0;
    change_claimed(conn, tokens, |conn, ids| {
        released += execute(conn, &release_statement(Fragment(format!("{} AND state = 'running'", ids.0)), retention))?;
        Ok(())
    })?;
    Ok(released)
}

/// A released task runs before those that became due since. If its cancellation was requested, it doesn't run again.
const RELEASE: &str = "UPDATE ai_server_tasks FORCE INDEX (PRIMARY) \
    SET state = IF(cancel_requested, 'cancelled', 'pending'), worker_id = 0, \
    finished_at = IF(cancel_requested, UTC_TIMESTAMP(6), finished_at), \
    next_action_at = IF(cancel_requested, UTC_TIMESTAMP(6) + :retention, LEAST(scheduled_at, UTC_TIMESTAMP(6))) \
    WHERE :condition";

pub fn release_statement(condition: Fragment, retention: &Retention) -> String {
    sql!(RELEASE, retention = retention.finished, condition = condition)
}

const LOCK_CLAIMED: &str = "SELECT id FROM ai_server_tasks FORCE INDEX (PRIMARY) \
    WHERE :id_in AND state = 'running' AND worker_id = :worker_id AND claim_count = :claim_count \
    FOR UPDATE SKIP LOCKED";

/// Locks the rows whose claims are still valid, and applies `change` to them in batches, each in a transaction. Rows
/// that a handler's transaction has locked are left for the next time, so that they don't delay the others.
fn change_claimed(
    conn: &mut Conn,
    tokens: &[ClaimToken],
    mut change: impl FnMut(&mut Conn, &Fragment) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut tokens = tokens.to_vec();
    tokens.sort_unstable_by_key(|token| (token.worker_id, token.claim_count, token.id));
    for claims in tokens.chunk_by(|a, b| (a.worker_id, a.claim_count) == (b.worker_id, b.claim_count)) {
        for batch in claims.chunks(BATCH_MAX) {
            let [ClaimToken { worker_id, claim_count, .. }, ..] = *batch else { continue };
            let ids = batch.iter().map(|token| token.id).collect();
            let lock = sql!(LOCK_CLAIMED, id_in = id_in(ids), worker_id = worker_id, claim_count = claim_count);
            in_transaction(conn, |conn| {
                let found = rows::<(u64,)>(conn, &lock)?;
                fault::point("take-back-locked");
                if found.is_empty() {
                    return Ok(());
                }
                change(conn, &id_in(found.into_iter().map(|(id,)| id).collect()))
            })?;
        }
    }
    Ok(())
}
