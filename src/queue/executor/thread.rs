//! A run in the executor's own thread.

use std::cell::{Cell, RefCell};
use std::time::Instant;

use mysql::Conn;

use super::{Executor, timed_out};
use crate::panics;
use crate::queue::context::TaskContext;
use crate::queue::interrupt::Interrupted;
use crate::queue::job::Job;
use crate::queue::kind::{Handler, Work};
use crate::queue::shared::Shared;
use crate::queue::store::complete::check_size;
use crate::queue::task::outcome_of;
use crate::queue::transition::Outcome;

pub fn run(executor: &Executor, job: &Job, deadline: Instant, conn: &RefCell<Option<Conn>>) -> Outcome {
    let Work::Handler { run, .. } = &job.kind.work else {
        return Outcome::Undecodable("a command has no handler".to_owned());
    };
    let Shared { shutdown, database, retention, .. } = &*executor.shared;
    let context = TaskContext {
        job,
        deadline,
        retention: retention.finished,
        stop: shutdown,
        database,
        conn,
        conn_is_tried: Cell::new(false),
        conn_is_marked: false,
        completed: Cell::new(false),
    };
    match handle(run, &context) {
        // The run's query was killed at the deadline, which is most likely what the error reports.
        Outcome::Failed { error, retry } if job.interrupt.reason() == Some(Interrupted::DeadlinePassed) => {
            Outcome::Failed { error: format!("{}: {error}", timed_out(job.timeout)), retry }
        }
        Outcome::Interrupted(Interrupted::DeadlinePassed) => Outcome::failed(timed_out(job.timeout)),
        outcome => outcome,
    }
}

/// Calls a handler. A panic is a failure.
pub fn handle(run: &Handler, context: &TaskContext<'_>) -> Outcome {
    match panics::catch(|| run(context)) {
        Ok(Outcome::Succeeded(_)) if context.completed.get() => Outcome::CompletedInside,
        Ok(Outcome::Succeeded(output)) => check_size(&output).map_or_else(outcome_of, |()| Outcome::Succeeded(output)),
        Ok(outcome) => outcome,
        Err(panic) => Outcome::failed(panic),
    }
}
