//! All SQL on the queue's tables.
//!
//! A statement that changes a task's state names the state that it expects, or runs while it holds the lock of the row.
//!
//! Each statement is a constant with named parameters such as `:worker_id`, which [`sql!`] replaces by literals.
//! Statements aren't prepared, because most contain a different number of ids each time, and because several share a
//! packet; so each costs one round trip. A [`Literal`] quotes every text in a way that means the same under each
//! `sql_mode`, and only a [`Fragment`], a condition that this module wrote, is inserted as it is.

/// Fills the parameters of a statement: `sql!(DELETE, id = 7, limit = BATCH)`.
macro_rules! sql {
    ($statement:expr $(, $name:ident = $value:expr)* $(,)?) => {
        $crate::queue::store::literal::fill(
            $statement,
            &[$((stringify!($name), &$value as &dyn $crate::queue::store::literal::Literal)),*],
        )
    };
}

/// Reads a row into a struct: its fields from the columns in this order.
macro_rules! read_columns {
    ($type:ident: $($field:ident),* $(,)?) => {
        impl $type {
            fn read(row: &mut mysql::Row) -> Option<Self> {
                let mut indexes = 0_usize..;
                Some(Self { $($field: $crate::queue::store::column(row, indexes.next()?)?),* })
            }
        }

        impl mysql::prelude::FromRow for $type {
            fn from_row_opt(mut row: mysql::Row) -> Result<Self, mysql::FromRowError> {
                Self::read(&mut row).ok_or(mysql::FromRowError(row))
            }
        }
    };
}

pub mod admin;
pub mod claim;
pub mod complete;
pub mod enqueue;
pub mod fleet;
pub mod group;
pub mod inspect;
pub mod lease;
mod literal;
pub mod poll;
pub mod purge;
pub mod run_connection;
pub mod verify;

use std::time::Duration;

use mysql::prelude::{ColumnIndex, FromRow, FromValue, Queryable};
use mysql::{Conn, Row, from_row_opt};
use serde::{Deserialize, Serialize};

use literal::Fragment;

/// How long a claimed task belongs to its worker without an extension of the lease. Only a worker that is suspended, or
/// whose liveness lock other nodes can't see, keeps tasks that long; a worker that died is detected at once.
pub const LEASE: Duration = Duration::from_secs(30);

/// How long a worker's liveness lock must be free before the worker counts as dead: it may only have lost its
/// connection.
pub const SUSPICION_PERIOD: Duration = Duration::from_secs(2);

/// How long finished tasks are kept.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Retention {
    /// Tasks that succeeded or were cancelled.
    pub finished: Duration,
    pub dead: Duration,
}

/// The right to complete a task: the row is running, and this worker made its latest claim. A later claim has another
/// number, so a worker that finishes too late can't overwrite what happened since.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ClaimToken {
    pub id: u64,
    pub worker_id: u64,
    pub claim_count: u32,
}

read_columns!(ClaimToken: id, worker_id, claim_count);

impl ClaimToken {
    /// True for the task's row as long as the claim is valid.
    fn condition(&self) -> Fragment {
        let Self { id, worker_id, claim_count } = self;
        Fragment(format!("id = {id} AND state = 'running' AND worker_id = {worker_id} AND claim_count = {claim_count}"))
    }
}

/// A position within a class or group of tasks, in the order of the index `by_class`. Tasks that were enqueued together
/// have the same time, so the id is part of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    /// In the server's format.
    pub next_action_at: String,
    pub id: u64,
}

impl Cursor {
    /// Returns the position after this one.
    pub fn next(&self) -> Self {
        Self { id: self.id + 1, ..self.clone() }
    }

    /// True for the rows from here on. With exactly this condition both servers start reading at the row itself; with
    /// one more bound on `next_action_at` they read all rows that have that time.
    fn condition(&self) -> Fragment {
        let Self { next_action_at: at, id } = self;
        Fragment(format!("(next_action_at > '{at}' OR (next_action_at = '{at}' AND id >= {id}))"))
    }
}

/// Returns the start of the page after this one, if this one is full: `position` of its last row, plus one.
fn next_page<T>(found: &[T], limit: usize, position: impl Fn(&T) -> (&str, u64)) -> Option<Cursor> {
    let (next_action_at, id) = found.last().filter(|_| found.len() == limit).map(position)?;
    Some(Cursor { next_action_at: next_action_at.to_owned(), id: id + 1 })
}

/// True for the rows from the cursor on, or for all rows if there is none.
fn from(cursor: Option<&Cursor>) -> Fragment {
    cursor.map_or_else(|| Fragment("TRUE".to_owned()), Cursor::condition)
}

/// True for the rows with these ids, of which there is at least one. Consecutive ids become a range, which saves a
/// tenth of the server's time. Tasks that are claimed or finished together mostly have consecutive ids.
fn id_in(mut ids: Vec<u64>) -> Fragment {
    ids.sort_unstable();
    let mut single: Vec<String> = Vec::new();
    let mut parts: Vec<String> = Vec::new();
    for run in ids.chunk_by(|a, b| a + 1 == *b) {
        match run {
            [first, .., last] => parts.push(format!("id BETWEEN {first} AND {last}")),
            [id] => single.push(id.to_string()),
            [] => {}
        }
    }
    if !single.is_empty() {
        parts.push(format!("id IN ({})", single.join(", ")));
    }
    Fragment(format!("({})", parts.join(" OR ")))
}

/// Runs `work` in a transaction, which is rolled back if it fails.
fn in_transaction<T>(conn: &mut Conn, work: impl FnOnce(&mut Conn) -> mysql::Result<T>) -> mysql::Result<T> {
    or_roll_back(conn, |conn| {
        execute(conn, "START TRANSACTION")?;
        let done = work(conn)?;
        execute(conn, "COMMIT").map(|_| done)
    })
}

/// Runs `work`. If it fails, its transaction is ended, so that the next statement doesn't run in it.
fn or_roll_back<T>(conn: &mut Conn, work: impl FnOnce(&mut Conn) -> mysql::Result<T>) -> mysql::Result<T> {
    let done = work(conn);
    if done.is_err()
        && let Err(error) = execute(conn, "ROLLBACK")
    {
        // The transaction ended with the connection, and the first error is reported.
        log::debug!("failed to roll back: {}", crate::db::describe(&error));
    }
    done
}

/// Sends statements in one packet and checks the result of each. Returns how many rows the last one changed.
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

/// Sends statements in one packet and returns their rows.
fn rows<T: FromRow>(conn: &mut impl Queryable, sql: &str) -> mysql::Result<Vec<T>> {
    let mut result = conn.query_iter(sql)?;
    let mut rows = Vec::new();
    while let Some(set) = result.iter() {
        for row in set {
            rows.push(from_row_opt(row?).map_err(|error| mysql::Error::FromRowError(error.0))?);
        }
    }
    Ok(rows)
}

/// Takes the value of a column, if it has this type.
fn column<T: FromValue>(row: &mut Row, index: impl ColumnIndex) -> Option<T> {
    row.take_opt(index)?.ok()
}

/// Returns the only row of a statement that always returns one.
fn row<T: FromRow>(conn: &mut impl Queryable, sql: &str) -> mysql::Result<T> {
    let missing = || mysql::Error::IoError(std::io::Error::other("the server returned no row"));
    rows(conn, sql)?.pop().ok_or_else(missing)
}

#[cfg(test)]
mod tests {
    use super::id_in;

    #[test]
    fn consecutive_ids_become_a_range() {
        let condition = |ids: &[u64]| id_in(ids.to_vec()).0;
        assert_eq!(condition(&[7]), "(id IN (7))");
        assert_eq!(condition(&[3, 1, 2]), "(id BETWEEN 1 AND 3)");
        assert_eq!(condition(&[9, 1, 2, 7, 4, 5]), "(id BETWEEN 1 AND 2 OR id BETWEEN 4 AND 5 OR id IN (7, 9))");
    }
}
