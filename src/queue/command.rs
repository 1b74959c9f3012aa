//! Kinds whose tasks run a program.

use std::ffi::OsString;
use std::time::Duration;

use super::backoff::Backoff;
use super::payload::{DEFAULT_QUEUE, Priority};
use super::task::{DEFAULT_MAX_ATTEMPTS, DEFAULT_TIMEOUT};

/// A kind of database task that runs a program in a process of its own, so that the work needs no Rust.
///
/// The program receives
/// - the payload's JSON on its standard input,
/// - `AIRUN_TASK_ID`, `AIRUN_TASK_KIND`, `AIRUN_TASK_ATTEMPT` (from 1) and `AIRUN_TASK_TIMEOUT_MS` in its environment.
///
/// Exit code 0 means success. The standard output is then stored as the task's result: unchanged if it is JSON, otherwise
/// as a JSON string. Any other exit is a failed attempt, and the end of the standard error is stored as the reason. Exit
/// code 65 (`EX_DATAERR` of `sysexits.h`) makes the task dead at once.
///
/// ```no_run
/// use std::process::ExitCode;
/// use std::time::Duration;
///
/// use airun::Registry;
/// use airun::queue::CommandTask;
///
/// fn main() -> ExitCode {
///     let resize = CommandTask::new("resize", "python3", ["resize.py"]).timeout(Duration::from_secs(300));
///     airun::main(Registry::new().command(resize))
/// }
/// ```
#[derive(Debug, Clone)]
#[must_use]
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
    /// Each task of this kind runs `program`, which is searched in the `PATH`, with `args`.
    pub fn new(
        kind: impl Into<String>,
        program: impl Into<OsString>,
        args: impl IntoIterator<Item = impl Into<OsString>>,
    ) -> Self {
        Self {
            kind: kind.into(),
            program: program.into(),
            args: args.into_iter().map(Into::into).collect(),
            queue: DEFAULT_QUEUE.to_owned(),
            priority: Priority::default(),
            timeout: DEFAULT_TIMEOUT,
            max_attempts: DEFAULT_MAX_ATTEMPTS,
            backoff: Backoff::DEFAULT,
            concurrency: None,
        }
    }

    /// Queue that `airun task enqueue` uses: see [`TaskPayload::QUEUE`](super::TaskPayload::QUEUE).
    pub fn queue(self, queue: impl Into<String>) -> Self {
        Self { queue: queue.into(), ..self }
    }

    /// Priority that `airun task enqueue` uses: see [`TaskPayload::PRIORITY`](super::TaskPayload::PRIORITY).
    pub fn priority(self, priority: Priority) -> Self {
        Self { priority, ..self }
    }

    /// Time limit of one run, 60 s by default: see [`DatabaseTask::TIMEOUT`](super::DatabaseTask::TIMEOUT).
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Number of failed runs after which a task is dead, 10 by default: see
    /// [`DatabaseTask::MAX_ATTEMPTS`](super::DatabaseTask::MAX_ATTEMPTS).
    pub fn max_attempts(self, max_attempts: u32) -> Self {
        Self { max_attempts, ..self }
    }

    /// Wait between attempts: see [`DatabaseTask::BACKOFF`](super::DatabaseTask::BACKOFF).
    pub fn backoff(self, backoff: Backoff) -> Self {
        Self { backoff, ..self }
    }

    /// Maximum number of runs at the same time among all workers of the database: see
    /// [`DatabaseTask::CONCURRENCY`](super::DatabaseTask::CONCURRENCY).
    pub fn concurrency(self, limit: u32) -> Self {
        Self { concurrency: Some(limit), ..self }
    }
}
