//! Claiming tasks.

use mysql::{Conn, Error};

use super::poll::{Cursor, TaskClass};
use super::{LEASE, among, execute, interval, rows};
use crate::fault;

/// Which tasks of a source to claim.
#[derive(Debug)]
pub enum Pick {
    /// The first from here on.
    From(Cursor),
    /// These, as far as nobody else has them by now.
    These(Vec<u64>),
}

/// A row that was claimed.
#[derive(Debug)]
pub struct Claimed {
    pub id: u64,
    pub payload: String,
    /// This claim's number.
    pub claim_count: u32,
    pub failures: u32,
    pub crashes: u32,
    pub max_attempts: u32,
    pub timeout_ms: u32,
    /// As the server writes it.
    pub next_action_at: String,
    /// Since then.
    pub waited_micros: i64,
}

type Row = (u64, String, u32, u32, u32, u32, u32, String, i64);

/// Claims tasks of a source in their order, at most `limit`. They run from the commit on, which has succeeded when this
/// returns. `fleet_limit` is how many of the kind may run among all workers.
///
/// A lost connection leaves it open whether the claim was committed; what it has claimed then is found by its owner.
pub fn claim(
    conn: &mut Conn,
    source: &TaskClass,
    pick: &Pick,
    limit: usize,
    fleet_limit: Option<u32>,
    worker_id: u64,
) -> Result<Vec<Claimed>, Error> {
    let claimed = claim_open(conn, source, pick, limit, fleet_limit, worker_id);
    if claimed.is_err() {
        // The next statement must not find a transaction; a connection that is lost has none.
        drop(execute(conn, "ROLLBACK"));
    }
    claimed
}

fn claim_open(
    conn: &mut Conn,
    source: &TaskClass,
    pick: &Pick,
    limit: usize,
    fleet_limit: Option<u32>,
    worker_id: u64,
) -> Result<Vec<Claimed>, Error> {
    let mut begin = "START TRANSACTION; ";
    let mut limit = limit;
    if let Some(most) = fleet_limit {
        begin = "";
        let room = u64::from(most).saturating_sub(count_behind_gate(conn, &source.kind)?);
        limit = limit.min(usize::try_from(room).unwrap_or(usize::MAX));
    }
    let found: Vec<Row> = if limit == 0 {
        Vec::new()
    } else {
        let select = select(source, pick, limit);
        log::trace!("{select}");
        let mut found: Vec<Row> = rows(conn, &format!("{begin}{select}"))?;
        found.sort_unstable_by(|a, b| (&a.7, a.0).cmp(&(&b.7, b.0)));
        found
    };
    fault::point("claim-locked");
    if found.is_empty() {
        execute(conn, "ROLLBACK")?;
        return Ok(Vec::new());
    }
    execute(
        conn,
        &format!(
            "UPDATE ai_server_tasks FORCE INDEX (PRIMARY) SET state = 'running', worker_id = {worker_id}, claim_count = claim_count + 1, \
             started_at = UTC_TIMESTAMP(6), next_action_at = UTC_TIMESTAMP(6) + {} WHERE {} AND state = 'pending'; COMMIT",
            interval(LEASE),
            among(found.iter().map(|row| row.0).collect())
        ),
    )?;
    fault::point("claim-committed");
    let claimed = found.into_iter().map(
        |(id, payload, claim_count, failures, crashes, max_attempts, timeout_ms, next_action_at, waited_micros)| {
            Claimed {
                id,
                payload,
                claim_count: claim_count + 1,
                failures,
                crashes,
                max_attempts,
                timeout_ms,
                next_action_at,
                waited_micros,
            }
        },
    );
    Ok(claimed.collect())
}

/// The statement that finds and locks what a claim takes. The index gives the order: with a sort InnoDB would lock every
/// row that it looks at.
pub fn select(source: &TaskClass, pick: &Pick, limit: usize) -> String {
    let which = match pick {
        Pick::From(place) => format!(
            "FORCE INDEX (by_class) WHERE state = 'pending' AND {} AND {} AND next_action_at <= UTC_TIMESTAMP(6) \
             ORDER BY next_action_at, id LIMIT {limit}",
            source.condition(),
            place.condition()
        ),
        // They may have been claimed since and be pending again for later, or be other tasks on another server.
        Pick::These(ids) => format!(
            "FORCE INDEX (PRIMARY) WHERE {} AND state = 'pending' AND {} AND next_action_at <= UTC_TIMESTAMP(6)",
            among(ids.iter().copied().take(limit).collect()),
            source.condition()
        ),
    };
    format!(
        "SELECT id, payload, claim_count, failures, crashes, max_attempts, timeout_ms, next_action_at, \
         COALESCE(TIMESTAMPDIFF(MICROSECOND, next_action_at, UTC_TIMESTAMP(6)), 0) FROM ai_server_tasks {which} \
         FOR UPDATE SKIP LOCKED"
    )
}

/// Begins the transaction, lets no other claim of this kind pass until its end, and counts those that run.
fn count_behind_gate(conn: &mut Conn, kind: &str) -> Result<u64, Error> {
    execute(
        conn,
        &format!(
            "START TRANSACTION; SELECT 1 FROM ai_server_controls WHERE scope = 'kind' AND name = '{kind}' FOR UPDATE"
        ),
    )?;
    let counted = rows::<(u64,)>(
        conn,
        &format!(
            "SELECT COUNT(*) FROM ai_server_tasks FORCE INDEX (by_class) WHERE state = 'running' AND kind = '{kind}'"
        ),
    )?;
    Ok(counted.first().map_or(0, |(count,)| *count))
}

/// Makes sure that a kind with a limit has a gate for its claims to pass through.
pub fn ensure_control_row(conn: &mut Conn, kind: &str) -> Result<(), Error> {
    execute(conn, &format!("INSERT IGNORE INTO ai_server_controls (scope, name) VALUES ('kind', '{kind}')")).map(drop)
}
