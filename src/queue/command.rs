//! A kind that is any program: no Rust is needed for its work.

use std::ffi::OsString;
use std::time::Duration;

use super::backoff::Backoff;
use super::task::{DatabaseTask, Priority};

/// A task whose run is a program's run, in a process of its own.
///
/// The payload's JSON is on its standard input; `AIRUN_TASK_ID`, `AIRUN_TASK_KIND`, `AIRUN_TASK_ATTEMPT` and
/// `AIRUN_TASK_TIMEOUT_MS` are in its environment. Exit code 0 is success, and its standard output the result: as it is
/// where that is JSON, else as a text. Any other exit is a failed attempt, with the end of its standard error as the
/// reason; 65 (`EX_DATAERR` of `sysexits.h`) says that trying again is of no use.
#[derive(Debug, Clone)]
pub struct CommandTask {
    pub(super) kind: String,
    pub(super) program: OsString,
    pub(super) args: Vec<OsString>,
    pub(super) queue: String,
    pub(super) priority: Priority,
    pub(super) timeout: Duration,
    pub(super) max_attempts: u32,
    pub(super) backoff: Backoff,
    pub(super) concurrency: Option<u32>,
}

impl CommandTask {
    /// A task of this kind runs `program`, which is looked up in the `PATH`, with `args`.
    pub fn new(
        kind: impl Into<String>,
        program: impl Into<OsString>,
        args: impl IntoIterator<Item = impl Into<OsString>>,
    ) -> Self {
        Self {
            kind: kind.into(),
            program: program.into(),
            args: args.into_iter().map(Into::into).collect(),
            queue: NoTask::QUEUE.to_owned(),
            priority: NoTask::PRIORITY,
            timeout: NoTask::TIMEOUT,
            max_attempts: NoTask::MAX_ATTEMPTS,
            backoff: NoTask::BACKOFF,
            concurrency: NoTask::CONCURRENCY,
        }
    }

    /// See [`DatabaseTask::QUEUE`].
    #[must_use]
    pub fn queue(self, queue: impl Into<String>) -> Self {
        Self { queue: queue.into(), ..self }
    }

    /// See [`DatabaseTask::PRIORITY`].
    #[must_use]
    pub fn priority(self, priority: Priority) -> Self {
        Self { priority, ..self }
    }

    /// See [`DatabaseTask::TIMEOUT`].
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// See [`DatabaseTask::MAX_ATTEMPTS`].
    #[must_use]
    pub fn max_attempts(self, max_attempts: u32) -> Self {
        Self { max_attempts, ..self }
    }

    /// See [`DatabaseTask::BACKOFF`].
    #[must_use]
    pub fn backoff(self, backoff: Backoff) -> Self {
        Self { backoff, ..self }
    }

    /// See [`DatabaseTask::CONCURRENCY`].
    #[must_use]
    pub fn concurrency(self, at_once: u32) -> Self {
        Self { concurrency: Some(at_once), ..self }
    }
}

/// Has the trait's defaults, which are those of a command too.
enum NoTask {}

impl DatabaseTask for NoTask {
    type Payload = ();
    type Output = ();
    const KIND: &'static str = "";

    fn execute(&self, (): (), _: &super::context::TaskContext<'_>) -> Result<(), crate::error::TaskError> {
        match *self {}
    }
}
