//! All the SQL on the queue's tables. Every change of a task's state is one statement that names the
//! state it expects, or one under the row's lock.

pub mod admin;
pub mod claim;
pub mod complete;
pub mod enqueue;
pub mod fleet;
pub mod group;
pub mod inspect;
pub mod lease;
pub mod poll;
pub mod purge;
pub mod run;
pub mod verify;

use std::time::Duration;

use mysql::prelude::{FromRow, Queryable};
use mysql::{Conn, from_row_opt};
use serde::{Deserialize, Serialize};

/// How long a claimed task belongs to its worker without an extension of the lease. Only a worker that is suspended, or
/// whose liveness lock other nodes can't see, keeps tasks that long; a worker that died is detected at once.
pub const LEASE: Duration = Duration::from_secs(30);

/// How long a worker's liveness lock must be free before the worker counts as dead: it may only have lost its connection.
pub const MISSING_FOR: Duration = Duration::from_secs(2);

/// The right to say what becomes of a task: its row is running, and was claimed by this owner for this time. A later
/// claim has another number, so that a late finisher can't overwrite what came after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ClaimToken {
    pub id: u64,
    pub worker_id: u64,
    pub claim_count: u32,
}

impl ClaimToken {
    /// The rows that it is about, in SQL.
    fn condition(&self) -> String {
        format!(
            "id = {} AND state = 'running' AND worker_id = {} AND claim_count = {}",
            self.id, self.worker_id, self.claim_count
        )
    }
}

/// Longer than anything waits, and short enough for every sum of times to be one that the server can write.
const INTERVAL_MAX: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// An interval in SQL.
fn interval(time: Duration) -> String {
    format!("INTERVAL {} MICROSECOND", time.min(INTERVAL_MAX).as_micros())
}

/// Does `work` in a transaction, which is undone where it fails.
fn in_transaction<T>(conn: &mut Conn, work: impl FnOnce(&mut Conn) -> mysql::Result<T>) -> mysql::Result<T> {
    execute(conn, "START TRANSACTION")?;
    let done = work(conn).and_then(|done| execute(conn, "COMMIT").map(|_| done));
    if done.is_err() {
        // The next statement must not find a transaction; a connection that is lost has none.
        drop(execute(conn, "ROLLBACK"));
    }
    done
}

/// The rows with these ids, of which there is at least one. Neighbours are named as a range: that costs the server a
/// tenth less, and those that are claimed or finished together mostly are.
fn among(mut ids: Vec<u64>) -> String {
    ids.sort_unstable();
    let mut alone: Vec<String> = Vec::new();
    let mut parts: Vec<String> = Vec::new();
    for run in ids.chunk_by(|a, b| a + 1 == *b) {
        match run {
            [first, .., last] => parts.push(format!("id BETWEEN {first} AND {last}")),
            [id] => alone.push(id.to_string()),
            [] => {}
        }
    }
    if !alone.is_empty() {
        parts.push(format!("id IN ({})", alone.join(", ")));
    }
    format!("({})", parts.join(" OR "))
}

/// Sends statements in one packet and looks at each one's answer; how many rows the last has changed.
fn execute(conn: &mut impl Queryable, sql: &str) -> mysql::Result<u64> {
    let mut result = conn.query_iter(sql)?;
    let mut changed = result.affected_rows();
    while let Some(set) = result.iter() {
        changed = set.affected_rows();
        for row in set {
            row?;
        }
    }
    Ok(changed)
}

/// The rows of a statement, which may stand behind others in the packet.
fn rows<T: FromRow>(conn: &mut Conn, sql: &str) -> mysql::Result<Vec<T>> {
    let mut result = conn.query_iter(sql)?;
    let mut rows = Vec::new();
    while let Some(set) = result.iter() {
        for row in set {
            rows.push(from_row_opt(row?).map_err(|error| mysql::Error::FromRowError(error.0))?);
        }
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::among;

    #[test]
    fn neighbours_are_a_range() {
        assert_eq!(among(vec![7]), "(id IN (7))");
        assert_eq!(among(vec![3, 1, 2]), "(id BETWEEN 1 AND 3)");
        assert_eq!(among(vec![9, 1, 2, 7, 4, 5]), "(id BETWEEN 1 AND 2 OR id BETWEEN 4 AND 5 OR id IN (7, 9))");
    }
}
