//! What became of tasks, written down. Every statement is fenced: a row that was claimed anew is left as it is.

use std::collections::HashMap;
use std::time::Duration;

use mysql::prelude::Queryable;
use mysql::{Conn, Error, Transaction};

use super::{ClaimToken, among, execute, in_transaction, interval, rows};
use crate::db::quote_text;
use crate::error::TaskError;
use crate::fault;
use crate::queue::transition::{Counter, Transition};

/// A text that is kept in the row; bytes.
const ERROR_BYTES_MAX: usize = 8 << 10;
/// JSON that is kept in the row; bytes. As a literal it has twice as many, and MariaDB takes 16 MiB by default.
const RESULT_BYTES_MAX: usize = 4 << 20;

const LOST: &str = "the task is no longer this run's: its lease ran out and it was given to another";

/// How long final rows are kept.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Retention {
    /// Those that succeeded or were cancelled.
    pub finished: Duration,
    /// The dead.
    pub dead: Duration,
}

/// Writes the transitions on tasks of one owner: the plain successes in one statement for all of one claim's number, the
/// others in one transaction. A repetition changes nothing more. How many rows were changed.
pub fn write(conn: &mut Conn, transitions: &[(ClaimToken, Transition)], retention: &Retention) -> Result<u64, Error> {
    let mut plain: Vec<&ClaimToken> = Vec::new();
    let mut singles: Vec<String> = Vec::new();
    for (token, transition) in transitions {
        match transition {
            // What most handlers return is not worth a value in the row.
            Transition::Succeeded { result } if result == "null" => plain.push(token),
            Transition::Succeeded { result } => {
                singles.push(single(token, &succeeded(Some(result), retention.finished)))
            }
            Transition::Retry { after, error, counter } => {
                let change = pending_again(&format!("UTC_TIMESTAMP(6) + {}", interval(*after)), retention);
                singles.push(single(token, &format!("{change}, {}", failed(*counter, error))));
            }
            Transition::Dead { error, counter } => {
                let change = finished("dead", retention.dead);
                singles.push(single(token, &format!("{change}, {}", failed(*counter, error))));
            }
            Transition::Cancelled => singles.push(single(token, &finished("cancelled", retention.finished))),
            Transition::Released => singles.push(single(token, &released(retention))),
            // In the run's own transaction.
            Transition::Settled => {}
        }
    }
    let mut changed = 0;
    plain.sort_unstable_by_key(|token| (token.claim_count, token.id));
    for alike in plain.chunk_by(|a, b| a.claim_count == b.claim_count) {
        let Some(first) = alike.first() else { continue };
        // MariaDB takes the index `by_class` where it may choose.
        changed += execute(
            conn,
            &format!(
                "UPDATE ai_server_tasks FORCE INDEX (PRIMARY) SET {} WHERE {} \
                 AND state = 'running' AND worker_id = {} AND claim_count = {}",
                succeeded(None, retention.finished),
                among(alike.iter().map(|token| token.id).collect()),
                first.worker_id,
                first.claim_count
            ),
        )?;
    }
    if !singles.is_empty() {
        fault::point("complete-halfway");
        changed += in_transaction(conn, |conn| {
            let changed = singles.iter().map(|statement| execute(conn, statement)).sum::<Result<u64, Error>>()?;
            fault::point("complete-locked");
            Ok(changed)
        })?;
    }
    Ok(changed)
}

fn single(token: &ClaimToken, change: &str) -> String {
    format!("UPDATE ai_server_tasks SET {change} WHERE {}", token.condition())
}

fn succeeded(result: Option<&str>, retention: Duration) -> String {
    let result = result.map(|json| format!(", result = {}", quote_text(json))).unwrap_or_default();
    format!("{}{result}", finished("succeeded", retention))
}

/// In a final state.
pub fn finished(state: &str, retention: Duration) -> String {
    format!(
        "state = '{state}', worker_id = 0, finished_at = UTC_TIMESTAMP(6), next_action_at = UTC_TIMESTAMP(6) + {}",
        interval(retention)
    )
}

fn failed(counter: Counter, error: &str) -> String {
    let counter = match counter {
        Counter::Failure => "failures = failures + 1",
        Counter::Crash => "crashes = crashes + 1",
    };
    format!("{counter}, isolated_runs = 0, last_error = {}", error_text(error))
}

/// It was due already, so it goes before what has become due since.
pub fn released(retention: &Retention) -> String {
    pending_again("LEAST(scheduled_at, UTC_TIMESTAMP(6))", retention)
}

/// One that somebody wants cancelled has no reason to run again.
fn pending_again(next_action_at: &str, retention: &Retention) -> String {
    format!(
        "state = IF(cancel_requested, 'cancelled', 'pending'), worker_id = 0, \
         finished_at = IF(cancel_requested, UTC_TIMESTAMP(6), finished_at), \
         next_action_at = IF(cancel_requested, UTC_TIMESTAMP(6) + {}, {next_action_at})",
        interval(retention.finished)
    )
}

fn error_text(error: &str) -> String {
    let mut end = ERROR_BYTES_MAX.min(error.len());
    while !error.is_char_boundary(end) {
        end -= 1;
    }
    quote_text(&error[..end])
}

/// Whether a result is small enough for the row.
///
/// # Errors
/// How large it is.
pub fn fits(result: &str) -> Result<(), TaskError> {
    let bytes = result.len();
    if bytes <= RESULT_BYTES_MAX {
        return Ok(());
    }
    let why = format!("its result can't be stored: it has {bytes} bytes, and {RESULT_BYTES_MAX} is the most");
    Err(format!("{why}; store it elsewhere, and return where").into())
}

/// Those of the transitions that can't have been written: the row was taken back since, is another run's, or is gone.
pub fn refused(conn: &mut Conn, transitions: &[(ClaimToken, Transition)]) -> Result<Vec<u64>, Error> {
    let found = rows::<(u64, u32, String)>(
        conn,
        &format!(
            "SELECT id, claim_count, CONCAT(state) FROM ai_server_tasks WHERE {}",
            among(transitions.iter().map(|(token, _)| token.id).collect())
        ),
    )?;
    let found: HashMap<(u64, u32), String> =
        found.into_iter().map(|(id, claim_count, state)| ((id, claim_count), state)).collect();
    let stands = |token: &ClaimToken, transition: &Transition| {
        found.get(&(token.id, token.claim_count)).is_some_and(|state| match transition {
            Transition::Succeeded { .. } => state == "succeeded",
            Transition::Dead { .. } => state == "dead",
            Transition::Settled => true,
            Transition::Cancelled | Transition::Retry { .. } | Transition::Released => state != "running",
        })
    };
    Ok(transitions.iter().filter(|(token, transition)| !stands(token, transition)).map(|(token, _)| token.id).collect())
}

/// Those of `fences` whose tasks still run: the completion inside their handler's transaction was not committed.
pub fn unsettled(conn: &mut Conn, tokens: &[ClaimToken]) -> Result<Vec<ClaimToken>, Error> {
    let found = rows::<(u64, u64, u32)>(
        conn,
        &format!(
            "SELECT id, worker_id, claim_count FROM ai_server_tasks WHERE {} AND state = 'running'",
            among(tokens.iter().map(|token| token.id).collect())
        ),
    )?;
    Ok(found
        .into_iter()
        .map(|(id, worker_id, claim_count)| ClaimToken { id, worker_id, claim_count })
        .filter(|f| tokens.contains(f))
        .collect())
}

/// Completes a task in its handler's own transaction.
pub fn complete_in(
    transaction: &mut Transaction<'_>,
    token: &ClaimToken,
    result: &str,
    retention: Duration,
) -> Result<(), TaskError> {
    fits(result)?;
    let result = (result != "null").then_some(result);
    fenced(
        transaction,
        &format!("UPDATE ai_server_tasks SET {} WHERE {}", succeeded(result, retention), token.condition()),
    )
}

/// Says how far a running task is.
pub fn progress(conn: &mut impl Queryable, token: &ClaimToken, json: &str) -> Result<(), TaskError> {
    fits(json)?;
    let json = quote_text(json);
    fenced(conn, &format!("UPDATE ai_server_tasks SET progress = {json} WHERE {}", token.condition()))
}

fn fenced(conn: &mut impl Queryable, statement: &str) -> Result<(), TaskError> {
    match execute(conn, statement) {
        Ok(0) => Err(LOST.into()),
        Ok(_) => Ok(()),
        Err(error) => Err(crate::error::Error::from(error).into()),
    }
}
