//! A run in the executor's own thread.

use std::cell::{Cell, RefCell};
use std::time::Instant;

use mysql::Conn;

use super::{Executor, timed_out};
use crate::error::{TaskError, with_causes};
use crate::panics;
use crate::queue::context::TaskContext;
use crate::queue::interrupt::Interrupted;
use crate::queue::job::Job;
use crate::queue::kind::{Handler, HandlerError, Work};
use crate::queue::store::complete::check_size;
use crate::queue::task::Failure;
use crate::queue::transition::{Outcome, Retry};

pub fn run(executor: &Executor, job: &Job, deadline: Instant, conn: &RefCell<Option<Conn>>) -> Outcome {
    let Work::Handler { run, .. } = &job.kind.work else {
        return Outcome::Undecodable("a command has no handler".to_owned());
    };
    let context = TaskContext {
        token: job.token,
        kind: &job.kind.name,
        attempt: job.attempt(),
        max_attempts: job.record.max_attempts,
        deadline,
        retention: executor.shared.retention.finished,
        stop: &executor.shared.shutdown,
        interrupt: &job.interrupt,
        database: &executor.shared.database,
        conn,
        conn_is_tried: Cell::new(false),
        conn_is_marked: false,
        completed: Cell::new(false),
    };
    match handle(run, job.version, &job.payload, &context) {
        // The run's query was killed at the deadline, which is most likely what the error reports.
        Outcome::Failed { error, retry } if job.interrupt.reason() == Some(Interrupted::DeadlinePassed) => {
            Outcome::Failed { error: format!("{}: {error}", timed_out(job.timeout)), retry }
        }
        Outcome::Interrupted(Interrupted::DeadlinePassed) => {
            Outcome::Failed { error: timed_out(job.timeout), retry: Retry::AsUsual }
        }
        outcome => outcome,
    }
}

/// Calls a handler and converts its result, error or panic to an outcome.
pub fn handle(run: &Handler, version: u16, payload: &str, context: &TaskContext<'_>) -> Outcome {
    match panics::catch(|| run(version, payload, context)) {
        Ok(Ok(_)) if context.completed.get() => Outcome::CompletedInside,
        Ok(Ok(output)) => match check_size(&output) {
            Ok(()) => Outcome::Succeeded(output),
            Err(error) => failed(error),
        },
        Ok(Err(HandlerError::Undecodable(error))) => Outcome::Undecodable(with_causes(&error)),
        Ok(Err(HandlerError::Failed(error))) => failed(error),
        Err(panic) => Outcome::Failed { error: panic.to_string(), retry: Retry::AsUsual },
    }
}

fn failed(error: TaskError) -> Outcome {
    if let Some(reason) = error.downcast_ref::<Interrupted>() {
        return Outcome::Interrupted(*reason);
    }
    match error.downcast::<Failure>() {
        Ok(failure) => Outcome::Failed { error: with_causes(&failure.error), retry: failure.retry },
        Err(error) => Outcome::Failed { error: with_causes(&error), retry: Retry::AsUsual },
    }
}
