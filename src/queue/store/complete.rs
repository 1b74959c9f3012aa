//! What became of tasks, written down. Every statement is fenced: a row that was claimed anew is left as it is.

use std::collections::HashMap;
use std::time::Duration;

use mysql::prelude::Queryable;
use mysql::{Conn, Error, Transaction};

use super::{Fence, among, execute, in_transaction, interval, rows};
use crate::db::quote_text;
use crate::error::TaskError;
use crate::fault;
use crate::queue::settle::{Spent, Verdict};

/// A text that is kept in the row; bytes.
const ERROR_BYTES_MAX: usize = 8 << 10;
/// JSON that is kept in the row; bytes. As a literal it has twice as many, and MariaDB takes 16 MiB by default.
const RESULT_BYTES_MAX: usize = 4 << 20;

const LOST: &str = "the task is no longer this run's: its lease ran out and it was given to another";

/// How long final rows are kept.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Keep {
    /// Those that succeeded or were cancelled.
    pub finished: Duration,
    /// The dead.
    pub dead: Duration,
}

/// Writes the verdicts on tasks of one owner: the plain successes in one statement for all of one claim's number, the
/// others in one transaction. A repetition changes nothing more. How many rows were changed.
pub fn write(conn: &mut Conn, verdicts: &[(Fence, Verdict)], keep: &Keep) -> Result<u64, Error> {
    let mut plain: Vec<&Fence> = Vec::new();
    let mut singles: Vec<String> = Vec::new();
    for (fence, verdict) in verdicts {
        match verdict {
            // What most handlers return is not worth a value in the row.
            Verdict::Succeeded { result } if result == "null" => plain.push(fence),
            Verdict::Succeeded { result } => singles.push(single(fence, &succeeded(Some(result), keep.finished))),
            Verdict::Retry { after, error, spent } => {
                let change = pending_again(&format!("UTC_TIMESTAMP(6) + {}", interval(*after)), keep);
                singles.push(single(fence, &format!("{change}, {}", failed(*spent, error))));
            }
            Verdict::Dead { error, spent } => {
                let change = finished("dead", keep.dead);
                singles.push(single(fence, &format!("{change}, {}", failed(*spent, error))));
            }
            Verdict::Cancelled => singles.push(single(fence, &finished("cancelled", keep.finished))),
            Verdict::GivenBack => singles.push(single(fence, &given_back(keep))),
            // In the run's own transaction.
            Verdict::Settled => {}
        }
    }
    let mut changed = 0;
    plain.sort_unstable_by_key(|fence| (fence.claims, fence.id));
    for alike in plain.chunk_by(|a, b| a.claims == b.claims) {
        let Some(first) = alike.first() else { continue };
        // MariaDB takes the index `due` where it may choose.
        changed += execute(
            conn,
            &format!(
                "UPDATE ai_server_tasks FORCE INDEX (PRIMARY) SET {} WHERE {} \
                 AND state = 'running' AND owner = {} AND claims = {}",
                succeeded(None, keep.finished),
                among(alike.iter().map(|fence| fence.id).collect()),
                first.owner,
                first.claims
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

fn single(fence: &Fence, change: &str) -> String {
    format!("UPDATE ai_server_tasks SET {change} WHERE {}", fence.condition())
}

fn succeeded(result: Option<&str>, keep: Duration) -> String {
    let result = result.map(|json| format!(", result = {}", quote_text(json))).unwrap_or_default();
    format!("{}{result}", finished("succeeded", keep))
}

/// In a final state.
pub fn finished(state: &str, keep: Duration) -> String {
    format!(
        "state = '{state}', owner = 0, finished_at = UTC_TIMESTAMP(6), due_at = UTC_TIMESTAMP(6) + {}",
        interval(keep)
    )
}

fn failed(spent: Spent, error: &str) -> String {
    let spent = match spent {
        Spent::Failure => "failures = failures + 1",
        Spent::Crash => "crashes = crashes + 1",
    };
    format!("{spent}, trials = 0, last_error = {}", error_text(error))
}

/// It was due already, so it goes before what has become due since.
pub fn given_back(keep: &Keep) -> String {
    pending_again("created_at", keep)
}

/// One that somebody wants cancelled has no reason to run again.
fn pending_again(due_at: &str, keep: &Keep) -> String {
    format!(
        "state = IF(cancel_requested, 'cancelled', 'pending'), owner = 0, \
         finished_at = IF(cancel_requested, UTC_TIMESTAMP(6), finished_at), \
         due_at = IF(cancel_requested, UTC_TIMESTAMP(6) + {}, {due_at})",
        interval(keep.finished)
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

/// Those of the verdicts that can't have been written: the row was taken back since, is another run's, or is gone.
pub fn refused(conn: &mut Conn, verdicts: &[(Fence, Verdict)]) -> Result<Vec<u64>, Error> {
    let found = rows::<(u64, u32, String)>(
        conn,
        &format!(
            "SELECT id, claims, CONCAT(state) FROM ai_server_tasks WHERE {}",
            among(verdicts.iter().map(|(fence, _)| fence.id).collect())
        ),
    )?;
    let found: HashMap<(u64, u32), String> =
        found.into_iter().map(|(id, claims, state)| ((id, claims), state)).collect();
    let stands = |fence: &Fence, verdict: &Verdict| {
        found.get(&(fence.id, fence.claims)).is_some_and(|state| match verdict {
            Verdict::Succeeded { .. } => state == "succeeded",
            Verdict::Dead { .. } => state == "dead",
            Verdict::Settled => true,
            Verdict::Cancelled | Verdict::Retry { .. } | Verdict::GivenBack => state != "running",
        })
    };
    Ok(verdicts.iter().filter(|(fence, verdict)| !stands(fence, verdict)).map(|(fence, _)| fence.id).collect())
}

/// Those of `fences` whose tasks still run: the completion inside their handler's transaction was not committed.
pub fn unsettled(conn: &mut Conn, fences: &[Fence]) -> Result<Vec<Fence>, Error> {
    let found = rows::<(u64, u64, u32)>(
        conn,
        &format!(
            "SELECT id, owner, claims FROM ai_server_tasks WHERE {} AND state = 'running'",
            among(fences.iter().map(|fence| fence.id).collect())
        ),
    )?;
    Ok(found
        .into_iter()
        .map(|(id, owner, claims)| Fence { id, owner, claims })
        .filter(|f| fences.contains(f))
        .collect())
}

/// Completes a task in its handler's own transaction.
pub fn complete_in(
    transaction: &mut Transaction<'_>,
    fence: &Fence,
    result: &str,
    keep: Duration,
) -> Result<(), TaskError> {
    fits(result)?;
    let result = (result != "null").then_some(result);
    fenced(transaction, &format!("UPDATE ai_server_tasks SET {} WHERE {}", succeeded(result, keep), fence.condition()))
}

/// Says how far a running task is.
pub fn progress(conn: &mut impl Queryable, fence: &Fence, json: &str) -> Result<(), TaskError> {
    fits(json)?;
    let json = quote_text(json);
    fenced(conn, &format!("UPDATE ai_server_tasks SET progress = {json} WHERE {}", fence.condition()))
}

fn fenced(conn: &mut impl Queryable, statement: &str) -> Result<(), TaskError> {
    match execute(conn, statement) {
        Ok(0) => Err(LOST.into()),
        Ok(_) => Ok(()),
        Err(error) => Err(crate::error::Error::from(error).into()),
    }
}
