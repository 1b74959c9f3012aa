//! Writing the outcomes of runs. Each statement checks that the claim is still valid: a row that was claimed again
//! since stays as it is.

use std::collections::HashMap;
use std::time::Duration;

use mysql::prelude::Queryable;
use mysql::{Conn, Error, Transaction};

use super::lease::release_statement;
use super::literal::Fragment;
use super::{ClaimToken, Retention, execute, id_in, in_transaction, rows};
use crate::error::TaskError;
use crate::fault;
use crate::queue::transition::{Counter, Transition};

/// Maximum size of `last_error`.
const ERROR_BYTES_MAX: usize = 8 << 10;
/// Maximum size of a result or progress. Its literal is twice as long, and MariaDB accepts packets of 16 MiB by
/// default.
const RESULT_BYTES_MAX: usize = 4 << 20;

/// All tasks with the same claim count complete in one statement. Without the hint MariaDB uses the index `by_class`.
const SUCCEED_MANY: &str = "UPDATE ai_server_tasks FORCE INDEX (PRIMARY) \
    SET state = 'succeeded', worker_id = 0, finished_at = UTC_TIMESTAMP(6), \
    next_action_at = UTC_TIMESTAMP(6) + :retention \
    WHERE :id_in AND state = 'running' AND worker_id = :worker_id AND claim_count = :claim_count";

/// Writes the transitions of one worker's tasks and returns the number of rows that changed: successes without a result
/// in one statement for each claim count, all others in one transaction. Doing it again changes nothing.
pub fn write(conn: &mut Conn, transitions: &[(ClaimToken, Transition)], retention: &Retention) -> Result<u64, Error> {
    // Most handlers return `null`, which isn't stored.
    let (mut plain, others): (Vec<_>, Vec<_>) = transitions
        .iter()
        .partition(|(_, transition)| matches!(transition, Transition::Succeeded(result) if result == "null"));
    let others: Vec<String> =
        others.iter().filter_map(|(token, transition)| statement(token, transition, retention)).collect();
    let mut changed = 0;
    plain.sort_unstable_by_key(|(token, _)| (token.claim_count, token.id));
    for claims in plain.chunk_by(|(a, _), (b, _)| a.claim_count == b.claim_count) {
        let [(ClaimToken { worker_id, claim_count, .. }, _), ..] = *claims else { continue };
        let statement = sql!(
            SUCCEED_MANY,
            retention = retention.finished,
            id_in = id_in(claims.iter().map(|(token, _)| token.id).collect()),
            worker_id = *worker_id,
            claim_count = *claim_count,
        );
        changed += execute(conn, &statement)?;
    }
    if !others.is_empty() {
        fault::point("complete-halfway");
        changed += in_transaction(conn, |conn| {
            let changed = others.iter().map(|statement| execute(conn, statement)).sum::<Result<u64, Error>>()?;
            fault::point("complete-locked");
            Ok(changed)
        })?;
    }
    Ok(changed)
}

const RETRY: &str = "UPDATE ai_server_tasks \
    SET state = IF(cancel_requested, 'cancelled', 'pending'), worker_id = 0, \
    finished_at = IF(cancel_requested, UTC_TIMESTAMP(6), finished_at), \
    next_action_at = IF(cancel_requested, UTC_TIMESTAMP(6) + :retention, UTC_TIMESTAMP(6) + :delay), :setback \
    WHERE :claim";
const BURY: &str = "UPDATE ai_server_tasks \
    SET state = 'dead', worker_id = 0, finished_at = UTC_TIMESTAMP(6), \
    next_action_at = UTC_TIMESTAMP(6) + :retention, :setback \
    WHERE :claim";
const SETBACK: &str = ":counter = :counter + 1, isolated_runs = 0, last_error = :error";
const CANCEL: &str = "UPDATE ai_server_tasks \
    SET state = 'cancelled', worker_id = 0, finished_at = UTC_TIMESTAMP(6), \
    next_action_at = UTC_TIMESTAMP(6) + :retention \
    WHERE :claim";

/// Returns the statement for one transition; `None` if the run's own transaction has completed the task.
fn statement(token: &ClaimToken, transition: &Transition, retention: &Retention) -> Option<String> {
    let claim = token.condition();
    let setback = |counter: &Counter, error: &str| {
        let counter = match counter {
            Counter::Failure => "failures",
            Counter::Crash => "crashes",
        };
        let error = &error[..error.floor_char_boundary(ERROR_BYTES_MAX)];
        Fragment(sql!(SETBACK, counter = Fragment(counter.to_owned()), error = error))
    };
    Some(match transition {
        Transition::Succeeded(result) => succeed(token, result, retention.finished),
        Transition::Retry { after, error, counter } => {
            let setback = setback(counter, error);
            sql!(RETRY, retention = retention.finished, delay = *after, setback = setback, claim = claim)
        }
        Transition::Dead { error, counter } => {
            sql!(BURY, retention = retention.dead, setback = setback(counter, error), claim = claim)
        }
        Transition::Cancelled => sql!(CANCEL, retention = retention.finished, claim = claim),
        Transition::Released => release_statement(claim, retention),
        Transition::Settled => return None,
    })
}

const SUCCEED: &str = "UPDATE ai_server_tasks \
    SET state = 'succeeded', worker_id = 0, finished_at = UTC_TIMESTAMP(6), \
    next_action_at = UTC_TIMESTAMP(6) + :retention, result = :result \
    WHERE :claim";

fn succeed(token: &ClaimToken, result: &str, retention: Duration) -> String {
    let result = (result != "null").then_some(result);
    sql!(SUCCEED, retention = retention, result = result, claim = token.condition())
}

/// Checks that a result or progress is small enough to be stored.
pub fn check_size(json: &str) -> Result<(), TaskError> {
    let bytes = json.len();
    if bytes <= RESULT_BYTES_MAX {
        return Ok(());
    }
    let failure = format!("its result has {bytes} bytes, and at most {RESULT_BYTES_MAX} can be stored");
    Err(format!("{failure}; store it elsewhere, and return its location").into())
}

const READ_STATES: &str = "SELECT id, claim_count, CONCAT(state) FROM ai_server_tasks WHERE :id_in";

/// Returns the tasks whose transition was not written, because the row was rescued, claimed again or deleted.
pub fn refused(conn: &mut Conn, transitions: &[(ClaimToken, Transition)]) -> Result<Vec<u64>, Error> {
    let ids = transitions.iter().map(|(token, _)| token.id).collect();
    let found: HashMap<(u64, u32), String> = rows::<(u64, u32, String)>(conn, &sql!(READ_STATES, id_in = id_in(ids)))?
        .into_iter()
        .map(|(id, claim_count, state)| ((id, claim_count), state))
        .collect();
    let is_written = |token: &ClaimToken, transition: &Transition| {
        found.get(&(token.id, token.claim_count)).is_some_and(|state| match transition {
            Transition::Succeeded(_) => state == "succeeded",
            Transition::Dead { .. } => state == "dead",
            Transition::Settled => true,
            Transition::Cancelled | Transition::Retry { .. } | Transition::Released => state != "running",
        })
    };
    let refused = transitions.iter().filter(|(token, transition)| !is_written(token, transition));
    Ok(refused.map(|(token, _)| token.id).collect())
}

const READ_CLAIMS: &str = "SELECT id, worker_id, claim_count FROM ai_server_tasks WHERE :id_in AND state = 'running'";

/// The claims whose tasks are still running: the handler's transaction with their completion was not committed.
pub fn unsettled(conn: &mut Conn, tokens: &[ClaimToken]) -> Result<Vec<ClaimToken>, Error> {
    let ids = tokens.iter().map(|token| token.id).collect();
    let mut running: Vec<ClaimToken> = rows(conn, &sql!(READ_CLAIMS, id_in = id_in(ids)))?;
    running.retain(|token| tokens.contains(token));
    Ok(running)
}

/// Completes a task in its handler's transaction.
pub fn complete_in(
    transaction: &mut Transaction<'_>,
    token: &ClaimToken,
    result: &str,
    retention: Duration,
) -> Result<(), TaskError> {
    check_size(result)?;
    execute_claimed(transaction, &succeed(token, result, retention))
}

const SET_PROGRESS: &str = "UPDATE ai_server_tasks SET progress = :json WHERE :claim";

/// Stores the progress of a running task.
pub fn progress(conn: &mut impl Queryable, token: &ClaimToken, json: &str) -> Result<(), TaskError> {
    check_size(json)?;
    execute_claimed(conn, &sql!(SET_PROGRESS, json = json, claim = token.condition()))
}

/// Executes a statement that changes a row only while its claim is valid.
fn execute_claimed(conn: &mut impl Queryable, statement: &str) -> Result<(), TaskError> {
    match execute(conn, statement) {
        Ok(0) => Err("the lease of this run expired, and the task was given to another run".into()),
        Ok(_) => Ok(()),
        Err(error) => Err(crate::error::Error::from(error).into()),
    }
}
