//! Checks of locks, with two connections.

use mysql::Conn;
use mysql::prelude::Queryable;

use super::{Assessment, Connections, Level};
use crate::db::{describe, locks_are_local};

const ADVICE: &str = "use MySQL 8.0 or newer, or MariaDB 10.6 or newer";

/// Inserts two rows, as finished tasks that no worker claims and every worker would purge. One connection locks the
/// first row as a claim does; the other connection must get only the second row, without waiting.
pub fn skip_locked(connections: &mut Connections<'_>) -> mysql::Result<Assessment> {
    let queue = format!("airun.doctor.{}", connections.conn.connection_id());
    let insert = format!(
        "INSERT INTO ai_server_tasks (kind, queue, payload, state, next_action_at, finished_at) VALUES \
         ('airun.doctor', '{queue}', 'null', 'cancelled', UTC_TIMESTAMP(6) + INTERVAL 1 MINUTE, UTC_TIMESTAMP(6))"
    );
    let assessed = connections
        .conn
        .query_drop(&insert)
        .and_then(|()| connections.conn.query_drop(&insert))
        .and_then(|()| try_claims(connections, &queue));
    let delete = format!("DELETE FROM ai_server_tasks WHERE {}", own_rows(&queue));
    let cleaned = roll_back(connections).and_then(|()| connections.conn.query_drop(delete));
    // The first error explains more than one of the cleanup.
    assessed.and_then(|assessment| cleaned.map(|()| assessment))
}

/// True for the rows of this check.
fn own_rows(queue: &str) -> String {
    format!(
        "state = 'cancelled' AND kind = 'airun.doctor' AND payload_version = 1 AND queue = '{queue}' AND priority = 1"
    )
}

fn roll_back(connections: &mut Connections<'_>) -> mysql::Result<()> {
    connections.other.query_drop("ROLLBACK")?;
    connections.conn.query_drop("ROLLBACK")
}

/// Tries several times, because a worker that purges tasks briefly locks neighbouring rows.
fn try_claims(connections: &mut Connections<'_>, queue: &str) -> mysql::Result<Assessment> {
    const TRIES: u32 = 5;
    for _ in 1..TRIES {
        let assessment = claim_twice(&mut connections.conn, &mut connections.other, queue)?;
        roll_back(connections)?;
        if assessment.level == Level::Ok {
            return Ok(assessment);
        }
    }
    claim_twice(&mut connections.conn, &mut connections.other, queue)
}

fn claim_twice(conn: &mut Conn, other: &mut Conn, queue: &str) -> mysql::Result<Assessment> {
    let claim = |limit| {
        format!(
            "SELECT id FROM ai_server_tasks FORCE INDEX (by_class) WHERE {} ORDER BY next_action_at, id LIMIT {limit} \
             FOR UPDATE SKIP LOCKED",
            own_rows(queue)
        )
    };
    conn.query_drop("START TRANSACTION")?;
    let first: Vec<u64> = conn.query(claim(1))?;
    other.query_drop("SET SESSION innodb_lock_wait_timeout = 1")?;
    other.query_drop("START TRANSACTION")?;
    let second: Vec<u64> = match other.query(claim(10)) {
        Ok(found) => found,
        Err(error @ mysql::Error::MySqlError(_)) => {
            let found = format!("a claim waits for the rows that another has locked: {}", describe(&error));
            return Ok(Assessment::problem(found, ADVICE));
        }
        Err(error) => return Err(error),
    };
    Ok(assess_claims(&first, &second))
}

/// Assesses which of two rows a claim of one row got, and which of them a claim of both got after it.
fn assess_claims(first: &[u64], second: &[u64]) -> Assessment {
    match (first, second) {
        ([a], [b]) if a != b => Assessment::ok("a claim skips the rows that another has locked, and no others"),
        (_, []) => Assessment::problem("a claim locks more rows than it takes, so workers block each other", ADVICE),
        _ => Assessment::problem("two claims get the same row, so two workers would run one task", ADVICE),
    }
}

pub fn named_locks(connections: &mut Connections<'_>) -> mysql::Result<Assessment> {
    let name = format!("airun:doctor:{}", connections.conn.connection_id());
    let taken: Option<Option<i64>> = connections.conn.query_first(format!("SELECT GET_LOCK('{name}', 0)"))?;
    let free: Option<Option<i64>> = connections.other.query_first(format!("SELECT IS_FREE_LOCK('{name}')"))?;
    connections.conn.query_drop(format!("DO RELEASE_LOCK('{name}')"))?;
    if (taken, free) == (Some(Some(1)), Some(Some(0))) {
        return Ok(Assessment::ok("each connection sees the locks of the others"));
    }
    Ok(Assessment::problem(
        "a connection does not see the lock of another, so live workers would be considered dead",
        "connect without a proxy that distributes a user's connections over several servers",
    ))
}

pub fn topology(connections: &mut Connections<'_>) -> mysql::Result<Assessment> {
    if locks_are_local(&mut connections.conn)? {
        return Ok(Assessment::note(
            "a cluster of several writable nodes, each with its own named locks: the tasks of a dead worker run again \
             only when their leases expire",
            "connect all workers to the same node if that takes too long; otherwise nothing is needed",
        ));
    }
    Ok(Assessment::ok("a single writable server"))
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    #[test]
    fn the_second_claim_must_get_the_other_row_only() {
        assert_eq!(assess_claims(&[1], &[2]).level, Level::Ok);
        assert_eq!(
            assess_claims(&[1], &[]).found,
            "a claim locks more rows than it takes, so workers block each other"
        );
        for (first, second) in [(&[1][..], &[1][..]), (&[1], &[1, 2]), (&[], &[1, 2])] {
            assert_eq!(assess_claims(first, second).level, Level::Problem, "{first:?} {second:?}");
        }
    }
}
