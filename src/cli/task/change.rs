//! `airun task retry | cancel | purge | pause | resume`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::queue_conn::QueueConn;
use super::{count_tasks, ids, states};
use crate::cli::args::Args;
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::output::print_error;
use crate::cli::suggest::hint;
use crate::duration;
use crate::error::{Error, Result};
use crate::queue::state::State;
use crate::queue::store::admin::{self, CancelOutcome, Control, RetryOutcome};
use crate::queue::store::group::{TaskFilter, groups};
use crate::queue::store::{
    inspect,
    purge::{purge_due, purge_older},
};
use crate::queue::{self, Kind};

pub fn retry(context: &mut Context) -> Result<Exit> {
    let args = &context.args;
    let ids = ids(args)?;
    match (args.has("--dead"), ids.is_empty()) {
        (true, true) => retry_dead(args.owned("--kind"), context),
        (false, false) if args.has("--kind") => Err(Error::usage("`--kind` requires `--dead`")),
        (false, false) => retry_ids(&ids, context),
        _ => Err(Error::usage(format!("give either ids or `--dead`; usage: {}", args.command.usage()))),
    }
}

fn retry_ids(ids: &[u64], context: &mut Context) -> Result<Exit> {
    let mut conn = QueueConn::connect(context)?;
    let mut exit = Exit::Success;
    for &id in ids {
        let failure = match conn.run(|conn| admin::retry(conn, id))? {
            RetryOutcome::Retried => {
                context.output.line(&format!("task {id} is pending again"));
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

fn unexpected_state(conn: &mut QueueConn, id: u64, expected: &str) -> Result<String> {
    Ok(match conn.run(|conn| inspect::state(conn, id))? {
        Some(state) => format!("task {id} is {}, not {expected}", state.name()),
        None => no_such_task(conn, id),
    })
}

/// Returns the message about a task that does not exist.
pub fn no_such_task(conn: &QueueConn, id: u64) -> String {
    format!("no task {id} in `{}`; finished tasks are purged after their retention", conn.database.name)
}

fn retry_dead(kind: Option<String>, context: &mut Context) -> Result<Exit> {
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
    let are = if retried == 1 { "is" } else { "are" };
    context.output.line(&format!("{} {are} pending again", count_tasks(retried)));
    if duplicates > 0 {
        let reason = "pending or running tasks have the same dedupe keys";
        print_error("note", &format!("{} stayed dead, because {reason}", count_tasks(duplicates)));
    }
    Ok(Exit::Success)
}

pub fn cancel(context: &mut Context) -> Result<Exit> {
    let args = &context.args;
    let (ids, limit) = (ids(args)?, args.duration("--wait")?);
    let retention = args.duration("--retention")?.unwrap_or_default();
    let mut conn = QueueConn::connect(context)?;
    let mut exit = Exit::Success;
    let mut requested = Vec::new();
    for id in ids {
        match conn.run(|conn| admin::cancel(conn, id, retention))? {
            CancelOutcome::Cancelled => context.output.line(&format!("task {id} is cancelled")),
            CancelOutcome::Requested => {
                context.output.line(&format!("task {id} is running; requested its cancellation"));
                requested.push(id);
            }
            CancelOutcome::Finished => {
                print_error("error", &unexpected_state(&mut conn, id, "pending or running")?);
                exit = Exit::Failure;
            }
        }
    }
    if context.args.has("--wait") {
        let deadline = limit.map(|limit| Instant::now() + limit);
        for id in requested {
            context.output.line(&wait_until_finished(&mut conn, id, deadline)?);
        }
    }
    Ok(exit)
}

/// Waits until a task has finished, and returns a message about its state.
fn wait_until_finished(conn: &mut QueueConn, id: u64, deadline: Option<Instant>) -> Result<String> {
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

pub fn purge(context: &mut Context) -> Result<Exit> {
    let older_than = context.args.duration("--older-than")?;
    let states = states(&context.args, &State::FINAL)?.unwrap_or_else(|| State::FINAL.to_vec());
    let mut conn = QueueConn::connect(context)?;
    let mut purged = 0;
    for group in conn.run(|conn| groups(conn, &TaskFilter::states(&states)))? {
        let mut cursor = None;
        loop {
            let more = match older_than {
                None => {
                    let deleted = conn.run(|conn| purge_due(conn, &group))?;
                    purged += deleted;
                    deleted > 0
                }
                Some(age) => {
                    let (deleted, next) = conn.run(|conn| purge_older(conn, &group, age, cursor.as_ref()))?;
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
    context.output.line(&format!("purged {} {which}", count_tasks(purged)));
    Ok(Exit::Success)
}

pub fn pause(context: &mut Context) -> Result<Exit> {
    let control = control(&context.args)?;
    let (scope, name) = control.parts();
    let mut conn = QueueConn::connect(context)?;
    warn_unknown(&control, &context.registry.kinds);
    context.output.line(&if conn.run(|conn| admin::set_paused(conn, &control, true))? {
        format!("paused the {scope} `{name}`; tasks that are claimed already still run")
    } else {
        format!("the {scope} `{name}` is already paused")
    });
    Ok(Exit::Success)
}

pub fn resume(context: &mut Context) -> Result<Exit> {
    let control = control(&context.args)?;
    let (scope, name) = control.parts();
    let mut conn = QueueConn::connect(context)?;
    if conn.run(|conn| admin::set_paused(conn, &control, false))? {
        context.output.line(&format!("resumed the {scope} `{name}`"));
    } else {
        warn_unknown(&control, &context.registry.kinds);
        context.output.line(&format!("the {scope} `{name}` is not paused"));
    }
    conn.wake()?;
    Ok(Exit::Success)
}

fn control(args: &Args) -> Result<Control> {
    let control = match (args.owned("--kind"), args.owned("--queue")) {
        (Some(kind), None) => Control::Kind(kind),
        (None, Some(queue)) => Control::Queue(queue),
        _ => return Err(Error::usage(format!("give either a kind or a queue; usage: {}", args.command.usage()))),
    };
    let (what, name) = control.parts();
    queue::check_name(what, name)?;
    Ok(control)
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
