//! Locks, tried by two connections.

use mysql::Conn;
use mysql::prelude::Queryable;

use super::{Connections, Finding, Level};
use crate::db::{describe, locks_are_local};

const CHECK: &str = "skip-locked";
const ADVICE: &str = "use MySQL 8.0 or newer, or MariaDB 10.6 or newer: several workers can't share the queue here";

/// Two rows of its own, final ones that no worker claims and every worker would purge. One connection locks the first as
/// a claim does; the other must get the second, and only that, at once.
pub fn skip_locked(connections: &mut Connections<'_>) -> mysql::Result<Finding> {
    let queue = format!("airun.doctor.{}", connections.conn.connection_id());
    let insert = format!(
        "INSERT INTO ai_server_tasks (kind, queue, payload, state, next_action_at, finished_at) VALUES \
         ('airun.doctor', '{queue}', 'null', 'cancelled', UTC_TIMESTAMP(6) + INTERVAL 1 MINUTE, UTC_TIMESTAMP(6))"
    );
    let tried = connections
        .conn
        .query_drop(&insert)
        .and_then(|()| connections.conn.query_drop(&insert))
        .and_then(|()| claims(connections, &queue));
    let delete = format!("DELETE FROM ai_server_tasks WHERE {}", rows(&queue));
    let cleaned = rollback(connections).and_then(|()| connections.conn.query_drop(delete));
    // What went wrong first says more.
    tried.and_then(|finding| cleaned.map(|()| finding))
}

/// The test's own rows.
fn rows(queue: &str) -> String {
    format!(
        "state = 'cancelled' AND kind = 'airun.doctor' AND payload_version = 1 AND queue = '{queue}' AND priority = 1"
    )
}

fn rollback(connections: &mut Connections<'_>) -> mysql::Result<()> {
    connections.other.query_drop("ROLLBACK")?;
    connections.conn.query_drop("ROLLBACK")
}

/// A worker that purges locks a neighbour's row for a moment, so that one attempt in vain proves nothing.
fn claims(connections: &mut Connections<'_>, queue: &str) -> mysql::Result<Finding> {
    const TRIES: u32 = 5;
    for _ in 1..TRIES {
        let finding = claim_twice(&mut connections.conn, &mut connections.other, queue)?;
        rollback(connections)?;
        if finding.level == Level::Ok {
            return Ok(finding);
        }
    }
    claim_twice(&mut connections.conn, &mut connections.other, queue)
}

fn claim_twice(conn: &mut Conn, other: &mut Conn, queue: &str) -> mysql::Result<Finding> {
    let claim = |limit| {
        format!(
            "SELECT id FROM ai_server_tasks FORCE INDEX (by_class) WHERE {} ORDER BY next_action_at, id LIMIT {limit} \
             FOR UPDATE SKIP LOCKED",
            rows(queue)
        )
    };
    conn.query_drop("START TRANSACTION")?;
    let first: Vec<u64> = conn.query(claim(1))?;
    other.query_drop("SET SESSION innodb_lock_wait_timeout = 1")?;
    other.query_drop("START TRANSACTION")?;
    let second: Vec<u64> = match other.query(claim(10)) {
        Ok(found) => found,
        Err(error @ mysql::Error::MySqlError(_)) => {
            return Ok(Finding::problem(CHECK, format!("it waits instead: {}", describe(&error)), ADVICE));
        }
        Err(error) => return Err(error),
    };
    Ok(judge(&first, &second))
}

/// What a claim of one of two rows got, and what one of both got beside it.
fn judge(first: &[u64], second: &[u64]) -> Finding {
    match (first, second) {
        ([a], [b]) if a != b => Finding::ok(CHECK, "a claim passes the rows that another has locked, and no others"),
        (_, []) => Finding::problem(CHECK, "a claim locks more rows than it takes", ADVICE),
        _ => Finding::problem(CHECK, "two claims get the same row", ADVICE),
    }
}

pub fn named_locks(connections: &mut Connections<'_>) -> mysql::Result<Finding> {
    const CHECK: &str = "named-locks";
    let name = format!("airun:doctor:{}", connections.conn.connection_id());
    let taken: Option<Option<i64>> = connections.conn.query_first(format!("SELECT GET_LOCK('{name}', 0)"))?;
    let free: Option<Option<i64>> = connections.other.query_first(format!("SELECT IS_FREE_LOCK('{name}')"))?;
    connections.conn.query_drop(format!("DO RELEASE_LOCK('{name}')"))?;
    if (taken, free) == (Some(Some(1)), Some(Some(0))) {
        return Ok(Finding::ok(CHECK, "one connection's lock is seen by another"));
    }
    let advice = "connect without a proxy that spreads a user's connections over several servers";
    Ok(Finding::problem(CHECK, "one connection's lock is not seen by another", advice))
}

pub fn topology(connections: &mut Connections<'_>) -> mysql::Result<Finding> {
    const CHECK: &str = "topology";
    if locks_are_local(&mut connections.conn)? {
        return Ok(Finding::note(
            CHECK,
            "a cluster with several nodes that take writes, whose named locks are each node's own",
            "nothing is needed; let all workers write to one node where a dead worker's tasks shall run again at once, \
             not when their lease has run out",
        ));
    }
    Ok(Finding::ok(CHECK, "one server takes the writes"))
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    #[test]
    fn only_the_other_row_will_do() {
        assert_eq!(judge(&[1], &[2]).level, Level::Ok);
        assert_eq!(judge(&[1], &[]).found, "a claim locks more rows than it takes");
        for (first, second) in [(&[1][..], &[1][..]), (&[1], &[1, 2]), (&[], &[1, 2])] {
            assert_eq!(judge(first, second).level, Level::Problem, "{first:?} {second:?}");
        }
    }
}
