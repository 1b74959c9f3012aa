//! Claiming tasks.

use mysql::{Conn, Error};
use serde::{Deserialize, Serialize};

use super::literal::Fragment;
use super::poll::TaskClass;
use super::{Cursor, LEASE, execute, id_in, or_roll_back, row, rows};
use crate::fault;

/// Which tasks of a class to claim.
#[derive(Debug)]
pub enum Pick {
    /// The first ones from this position on.
    From(Cursor),
    /// These tasks, except for those that another worker has claimed since.
    These(Vec<u64>),
}

/// A task that was claimed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ClaimedTask {
    pub id: u64,
    pub payload: String,
    /// The number of this claim.
    pub claim_count: u32,
    pub failures: u32,
    pub crashes: u32,
    pub max_attempts: u32,
    pub timeout_ms: u32,
    /// In the server's format.
    pub next_action_at: String,
    /// How long the task has been due.
    pub waited_micros: i64,
}

read_columns!(
    ClaimedTask: id, payload, claim_count, failures, crashes, max_attempts, timeout_ms, next_action_at, waited_micros,
);

const MARK_RUNNING: &str = "UPDATE ai_server_tasks FORCE INDEX (PRIMARY) \
    SET state = 'running', worker_id = :worker_id, claim_count = claim_count + 1, started_at = UTC_TIMESTAMP(6), \
    next_action_at = UTC_TIMESTAMP(6) + :lease \
    WHERE :id_in AND state = 'pending'; \
    COMMIT";

/// Claims at most `limit` tasks of a class in their order. If this succeeds, the claim is committed. At most
/// `fleet_limit` tasks of the kind run on all workers together.
///
/// After a lost connection the claim may or may not be committed; the worker finds such tasks later, by its id.
pub fn claim(
    conn: &mut Conn,
    class: &TaskClass,
    pick: &Pick,
    mut limit: usize,
    fleet_limit: Option<u32>,
    worker_id: u64,
) -> Result<Vec<ClaimedTask>, Error> {
    or_roll_back(conn, |conn| {
        let mut begin = "START TRANSACTION; ";
        if let Some(fleet_limit) = fleet_limit {
            begin = "";
            let free = u64::from(fleet_limit).saturating_sub(count_running_locked(conn, &class.kind)?);
            limit = limit.min(usize::try_from(free).unwrap_or(usize::MAX));
        }
        let mut found: Vec<ClaimedTask> = Vec::new();
        if limit > 0 {
            let select = select(class, pick, limit);
            log::trace!("{select}");
            found = rows(conn, &format!("{begin}{select}"))?;
            found.sort_unstable_by(|a, b| (&a.next_action_at, a.id).cmp(&(&b.next_action_at, b.id)));
        }
        fault::point("claim-locked");
        if found.is_empty() {
            execute(conn, "ROLLBACK")?;
            return Ok(Vec::new());
        }
        let ids = found.iter().map(|task| task.id).collect();
        execute(conn, &sql!(MARK_RUNNING, worker_id = worker_id, lease = LEASE, id_in = id_in(ids)))?;
        fault::point("claim-committed");
        found.iter_mut().for_each(|task| task.claim_count += 1);
        Ok(found)
    })
}

const SELECT: &str = "SELECT id, payload, claim_count, failures, crashes, max_attempts, timeout_ms, next_action_at, \
    COALESCE(TIMESTAMPDIFF(MICROSECOND, next_action_at, UTC_TIMESTAMP(6)), 0) FROM ai_server_tasks :which \
    FOR UPDATE SKIP LOCKED";
/// The index gives the order. With a sort InnoDB would lock every row that it reads.
const WHICH_FROM: &str = "FORCE INDEX (by_class) \
    WHERE state = 'pending' AND :class AND :from AND next_action_at <= UTC_TIMESTAMP(6) \
    ORDER BY next_action_at, id LIMIT :limit";
/// The other conditions are checked again: since the poll read the ids, another worker may have claimed a task and
/// scheduled its retry, and on another server the ids may belong to other tasks.
const WHICH_THESE: &str = "FORCE INDEX (PRIMARY) \
    WHERE :id_in AND state = 'pending' AND :class AND next_action_at <= UTC_TIMESTAMP(6)";

/// Returns the statement that finds and locks the tasks for a claim.
pub fn select(class: &TaskClass, pick: &Pick, limit: usize) -> String {
    let which = match pick {
        Pick::From(cursor) => {
            sql!(WHICH_FROM, class = class.condition(), from = cursor.condition(), limit = limit)
        }
        Pick::These(ids) => {
            let ids = ids.iter().copied().take(limit).collect();
            sql!(WHICH_THESE, class = class.condition(), id_in = id_in(ids))
        }
    };
    sql!(SELECT, which = Fragment(which))
}

const LOCK_KIND: &str =
    "START TRANSACTION; SELECT 1 FROM ai_server_controls WHERE scope = 'kind' AND name = :kind FOR UPDATE";
const COUNT_RUNNING: &str =
    "SELECT COUNT(*) FROM ai_server_tasks FORCE INDEX (by_class) WHERE state = 'running' AND kind = :kind";

/// Begins a transaction that keeps other workers from claiming tasks of this kind, and counts the running ones.
fn count_running_locked(conn: &mut Conn, kind: &str) -> Result<u64, Error> {
    execute(conn, &sql!(LOCK_KIND, kind = kind))?;
    row::<(u64,)>(conn, &sql!(COUNT_RUNNING, kind = kind)).map(|(count,)| count)
}

const INSERT_CONTROL: &str = "INSERT IGNORE INTO ai_server_controls (scope, name) VALUES (:scope, :name)";

/// Inserts the row of a kind or queue in `ai_server_controls`, which pauses it, and which a claim locks if the kind has a
/// concurrency limit.
pub fn ensure_control_row(conn: &mut Conn, scope: &str, name: &str) -> Result<(), Error> {
    execute(conn, &sql!(INSERT_CONTROL, scope = scope, name = name)).map(drop)
}
