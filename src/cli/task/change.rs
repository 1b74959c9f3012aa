//! `airun task retry | cancel | purge | pause | resume`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::queue_conn::QueueConn;
use super::{count_tasks, is_or_are};
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::output::{Output, print_error};
use crate::cli::suggest::hint;
use crate::cli::worker;
use crate::duration;
use crate::error::{Error, Result};
use crate::queue::Kind;
use crate::queue::state::State;
use crate::queue::store::admin::{self, CancelOutcome, Control, RetryOutcome};
use crate::queue::store::group::{TaskFilter, groups};
use crate::queue::store::{inspect, purge as store};

pub fn retry(ids: &[u64], context: &Context, output: &mut Output) -> Result<Exit> {
    let mut conn = QueueConn::connect(context)?;
    let mut exit = Exit::Success;
    for &id in ids {
        let failure = match conn.run(|conn| admin::retry(conn, id))? {
            RetryOutcome::Retried => {
                output.line(&format!("task {id} is pending again"));
                continue;
            }
            RetryOutcome::NotFinished => unexpected_state(&mut conn, id, "dead or cancelled")?,
            RetryOutcome::Duplicate => format!(
                "task {id} can't be retried: a pending or running task has the same dedupe key; cancel that one first"
            ),
        };
        print_error("error", &failure);
        exit = Exit::Failure;
    }
    conn.wake()?;
    Ok(exit)
}

fn unexpected_state(conn: &mut QueueConn<'_>, id: u64, expected: &str) -> Result<String> {
    Ok(match conn.run(|conn| inspect::state(conn, id))? {
        Some(state) => format!("task {id} is {}, not {expected}", state.name()),
        None => no_such_task(conn, id),
    })
}

/// The message about a task that does not exist.
pub fn no_such_task(conn: &QueueConn<'_>, id: u64) -> String {
    format!("no task {id} in `{}`; finished tasks are purged after their retention", conn.database.name)
}

pub fn retry_dead(kind: Option<String>, context: &Context, output: &mut Output) -> Result<Exit> {
    let mut conn = QueueConn::connect(context)?;
    let (mut retried, mut duplicates) = (0, 0);
    let filter = TaskFilter { kind, ..TaskFilter::states(&[State::Dead]) };
    for group in conn.run(|conn| groups(conn, &filter))? {
        let mut cursor = None;
        loop {
            let batch = conn.run(|conn| admin::retry_batch(conn, &group, cursor.as_ref()))?;
            retried += batch.retried;
            duplicates += batch.duplicates;
            conn.wake()?;
            cursor = batch.next;
            if cursor.is_none() {
                break;
            }
            conn.check_interrupted().map_err(|error| error.context(format!("retried {}", count_tasks(retried))))?;
        }
    }
    output.line(&format!("{} {} pending again", count_tasks(retried), is_or_are(retried)));
    if duplicates > 0 {
        let reason = "pending or running tasks have the same dedupe keys";
        print_error("note", &format!("{} stayed dead, because {reason}", count_tasks(duplicates)));
    }
    Ok(Exit::Success)
}

pub fn cancel(ids: &[u64], wait: Option<Option<Duration>>, context: &Context, output: &mut Output) -> Result<Exit> {
    let retention = worker::retention(context)?;
    let mut conn = QueueConn::connect(context)?;
    let mut exit = Exit::Success;
    let mut requested = Vec::new();
    for &id in ids {
        match conn.run(|conn| admin::cancel(conn, id, retention))? {
            CancelOutcome::Cancelled => output.line(&format!("task {id} is cancelled")),
            CancelOutcome::Requested => {
                output.line(&format!("task {id} is running; requested its cancellation"));
                requested.push(id);
            }
            CancelOutcome::Finished => {
                print_error("error", &unexpected_state(&mut conn, id, "pending or running")?);
                exit = Exit::Failure;
            }
        }
    }
    if let Some(limit) = wait {
        let deadline = limit.map(|limit| Instant::now() + limit);
        for id in requested {
            output.line(&wait_until_finished(&mut conn, id, deadline)?);
        }
    }
    Ok(exit)
}

/// Waits until a task has finished, and returns a message about its state.
fn wait_until_finished(conn: &mut QueueConn<'_>, id: u64, deadline: Option<Instant>) -> Result<String> {
    const POLL_INTERVAL: Duration = Duration::from_millis(100);
    loop {
        match conn.run(|conn| inspect::state(conn, id))? {
            Some(state) if state.is_final() => return Ok(format!("task {id} is {}", state.name())),
            Some(_) if deadline.is_none_or(|deadline| Instant::now() < deadline) => conn.wait(POLL_INTERVAL)?,
            Some(state) => {
                return Err(Error::failure(format!(
                    "task {id} is still {}; its run ends when the handler checks `is_cancelled`, or at its timeout",
                    state.name()
                )));
            }
            None => return Ok(format!("task {id} was purged")),
        }
    }
}

pub fn purge(older_than: Option<Duration>, states: &[State], context: &Context, output: &mut Output) -> Result<Exit> {
    let mut conn = QueueConn::connect(context)?;
    let mut purged = 0;
    for group in conn.run(|conn| groups(conn, &TaskFilter::states(states)))? {
        let mut cursor = None;
        loop {
            let more = match older_than {
                None => {
                    let deleted = conn.run(|conn| store::purge_due(conn, &group))?;
                    purged += deleted;
                    deleted > 0
                }
                Some(age) => {
                    let (deleted, next) = conn.run(|conn| store::purge_older(conn, &group, age, cursor.as_ref()))?;
                    purged += deleted;
                    cursor = next;
                    cursor.is_some()
                }
            };
            if !more {
                break;
            }
            conn.check_interrupted().map_err(|error| error.context(format!("purged {}", count_tasks(purged))))?;
        }
    }
    let which = match older_than {
        None => "whose retention is over".to_owned(),
        Some(age) => format!("that finished more than {} ago", duration::format(age)),
    };
    output.line(&format!("purged {} {which}", count_tasks(purged)));
    Ok(Exit::Success)
}

pub fn pause(control: &Control, kinds: &[Arc<Kind>], context: &Context, output: &mut Output) -> Result<Exit> {
    let mut conn = QueueConn::connect(context)?;
    let (scope, name) = control.parts();
    warn_unknown(control, kinds);
    output.line(&if conn.run(|conn| admin::pause(conn, control))? {
        format!("paused the {scope} `{name}`; tasks that are claimed already still run")
    } else {
        format!("the {scope} `{name}` is already paused")
    });
    Ok(Exit::Success)
}

pub fn resume(control: &Control, kinds: &[Arc<Kind>], context: &Context, output: &mut Output) -> Result<Exit> {
    let mut conn = QueueConn::connect(context)?;
    let (scope, name) = control.parts();
    if conn.run(|conn| admin::resume(conn, control))? {
        output.line(&format!("resumed the {scope} `{name}`"));
    } else {
        warn_unknown(control, kinds);
        output.line(&format!("the {scope} `{name}` is not paused"));
    }
    conn.wake()?;
    Ok(Exit::Success)
}

/// Notes that this binary does not have the kind or queue: the name may be mistyped, or belong to another binary.
fn warn_unknown(control: &Control, kinds: &[Arc<Kind>]) {
    let known: Vec<&str> = match control {
        Control::Kind(_) => kinds.iter().map(|kind| kind.name.as_str()).collect(),
        Control::Queue(_) => kinds.iter().map(|kind| kind.queue.as_str()).collect(),
    };
    let (scope, name) = control.parts();
    if !known.contains(&name) {
        print_error("note", &format!("this binary has no {scope} `{name}`{}", hint(name, known.into_iter(), "")));
    }
}
