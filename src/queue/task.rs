//! Database tasks: the trait of their handlers, and the errors that decide about retries.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::backoff::Backoff;
use super::context::TaskContext;
use super::interrupt::Interrupted;
use super::payload::TaskPayload;
use super::transition::{Outcome, Retry};
use crate::error::{TaskError, with_causes};

pub(super) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);
pub(super) const DEFAULT_MAX_ATTEMPTS: u32 = 10;

/// The handler of one kind of database task: work that a row in `ai_server_tasks` makes due.
///
/// A task runs **at least once**: after a crash of its worker it runs again. Make that harmless, or write the effect in a
/// transaction that [`TaskContext::complete_in`] completes the task in; then it happens exactly once.
///
/// One value handles all runs, on several threads at once.
///
/// ```no_run
/// use std::process::ExitCode;
/// use std::time::Duration;
///
/// use airun::queue::{DatabaseTask, Failure, TaskContext, TaskPayload};
/// use airun::{Registry, TaskError};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct SendWelcome {
///     user_id: u64,
/// }
///
/// impl TaskPayload for SendWelcome {
///     const KIND: &'static str = "send_welcome";
/// }
///
/// struct WelcomeSender {
///     mail_server: String,
/// }
///
/// impl DatabaseTask for WelcomeSender {
///     type Payload = SendWelcome;
///     type Output = ();
///     const TIMEOUT: Duration = Duration::from_secs(10);
///
///     fn execute(&self, payload: SendWelcome, context: &TaskContext<'_>) -> Result<(), TaskError> {
///         if payload.user_id == 0 {
///             return Err(Failure::fatal("user 0 does not exist").into());
///         }
///         log::info!("attempt {}: mailing through {}", context.attempt(), self.mail_server);
///         Ok(())
///     }
/// }
///
/// fn main() -> ExitCode {
///     airun::main(Registry::new().task(WelcomeSender { mail_server: "mail.example".to_owned() }))
/// }
/// ```
pub trait DatabaseTask: Send + Sync {
    /// The payload that the task receives. Its type also names the kind.
    type Payload: TaskPayload;
    /// The result of a run, stored as JSON in the row. Use `()` if there is nothing to store.
    type Output: Serialize;

    /// Time limit of one run, unless [`Enqueue::timeout`](super::Enqueue::timeout) gave the row another one.
    const TIMEOUT: Duration = DEFAULT_TIMEOUT;
    /// Number of failed runs after which the task is dead, unless
    /// [`Enqueue::max_attempts`](super::Enqueue::max_attempts) gave the row another one.
    const MAX_ATTEMPTS: u32 = DEFAULT_MAX_ATTEMPTS;
    /// Wait between a failed run and the next one.
    const BACKOFF: Backoff = Backoff::DEFAULT;
    /// Maximum number of runs at the same time among all workers of the database; `None` for no limit.
    const CONCURRENCY: Option<u32> = None;
    /// Whether a run gets a process of its own.
    const ISOLATION: Isolation = Isolation::Thread;

    /// Runs the task once. Log lines that it writes carry the task's kind, id and attempt.
    ///
    /// # Errors
    /// An error or a panic is a failed attempt: the task runs again after the backoff, or is dead if it was the last
    /// attempt. Return a [`Failure`] to decide otherwise, and pass on an [`Interrupted`](super::Interrupted) with `?`.
    fn execute(&self, payload: Self::Payload, context: &TaskContext<'_>) -> Result<Self::Output, TaskError>;
}

/// Decides whether runs share the process of their worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Isolation {
    /// In a thread of the worker, which is quick to start. A run that ignores its deadline can't be ended.
    #[default]
    Thread,
    /// In a process of its own. At the deadline it is killed together with all processes that it started, and a crash
    /// costs only this task.
    Process,
}

/// An error that decides whether and when the task runs again.
///
/// ```
/// use std::time::Duration;
///
/// use airun::TaskError;
/// use airun::queue::Failure;
///
/// fn check(status: u16) -> Result<(), TaskError> {
///     match status {
///         200 => Ok(()),
///         404 => Err(Failure::fatal("the page does not exist").into()),
///         429 => Err(Failure::retry_after(Duration::from_secs(30), "too many requests").into()),
///         // Any other error: retried after the task's backoff.
///         status => Err(format!("unexpected status {status}").into()),
///     }
/// }
///
/// assert!(check(404).unwrap_err().is::<Failure>());
/// ```
#[derive(Debug)]
pub struct Failure {
    pub(super) error: TaskError,
    pub(super) retry: Retry,
}

impl Failure {
    /// The task is dead at once: another attempt would fail in the same way.
    pub fn fatal(error: impl Into<TaskError>) -> Self {
        Self { error: error.into(), retry: Retry::Never }
    }

    /// The task runs again after `wait` instead of its backoff, for example as an HTTP server's `Retry-After` says. The
    /// attempt counts as failed.
    pub fn retry_after(wait: Duration, error: impl Into<TaskError>) -> Self {
        Self { error: error.into(), retry: Retry::After(wait) }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl StdError for Failure {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.error.source()
    }
}

/// Returns the outcome of a run that returned this error.
pub(super) fn outcome_of(error: TaskError) -> Outcome {
    if let Some(reason) = error.downcast_ref::<Interrupted>() {
        return Outcome::Interrupted(*reason);
    }
    match error.downcast::<Failure>() {
        Ok(failure) => Outcome::Failed { error: with_causes(&failure.error), retry: failure.retry },
        Err(error) => Outcome::failed(with_causes(&error)),
    }
}
