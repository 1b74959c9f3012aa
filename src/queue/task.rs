//! What a database task is.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::backoff::Backoff;
use super::context::TaskContext;
use crate::error::TaskError;

/// Work that a row in `ai_server_tasks` makes due.
///
/// It runs at least once: after a crash it may run again, so it should bear that, or commit what it writes together
/// with its completion by [`TaskContext::complete_in`].
///
/// One value serves all runs, on several threads at once.
pub trait DatabaseTask: Send + Sync {
    /// What it is told, as JSON in the row.
    type Payload: Serialize + DeserializeOwned;
    /// What it returns, as JSON in the row; `()` where that is nothing.
    type Output: Serialize;

    /// Names it in the row: letters, digits, `_`, `-`, `.`; unique.
    const KIND: &'static str;
    /// Of the payload. A worker leaves newer ones than its own for a newer worker, and decodes older ones.
    const VERSION: u16 = 1;
    /// Where it is put if nobody says otherwise.
    const QUEUE: &'static str = "default";
    /// Its priority if nobody says otherwise.
    const PRIORITY: Priority = Priority::Normal;
    /// Of one run, where the row has none of its own.
    const TIMEOUT: Duration = Duration::from_secs(60);
    /// Failed runs until it is dead, where the row has no number of its own.
    const MAX_ATTEMPTS: u32 = 10;
    /// From a failed run to the next.
    const BACKOFF: Backoff = Backoff::DEFAULT;
    /// So many at once, at most, among all workers of the database.
    const CONCURRENCY: Option<u32> = None;
    /// What keeps a run apart from the others.
    const ISOLATION: Isolation = Isolation::Thread;

    /// Makes a payload of the row's JSON. Override it where an older version looks otherwise than serde can bridge.
    ///
    /// # Errors
    /// What can't be decoded is dead at once, with this reason.
    fn decode(version: u16, payload: &str) -> Result<Self::Payload, TaskError> {
        let _ = version;
        serde_json::from_str(payload).map_err(Into::into)
    }

    /// One run. What is logged in it carries the task's kind and id by itself.
    ///
    /// # Errors
    /// An error or a panic is a failed attempt: it is tried again after the backoff, or is dead. [`Failure`] says
    /// otherwise where that is known, and [`Interrupted`](super::Interrupted) gives it back.
    fn execute(&self, payload: Self::Payload, context: &TaskContext<'_>) -> Result<Self::Output, TaskError>;
}

/// What keeps a run apart from the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Isolation {
    /// A thread of the worker: quick to start. One that doesn't return at its deadline can't be ended.
    #[default]
    Thread,
    /// A process of its own, killed at its deadline with everything that it started; its crash costs one task.
    Process,
}

/// A priority. All that is due in one is claimed before anything of the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(u8)]
pub enum Priority {
    /// Before everything else.
    Urgent = 0,
    /// As a rule.
    #[default]
    Normal = 1,
    /// When there is nothing else to do.
    Bulk = 2,
}

impl Priority {
    /// From the first to be served to the last.
    pub const ALL: [Self; 3] = [Self::Urgent, Self::Normal, Self::Bulk];

    /// `urgent`, `normal`, `bulk`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Urgent => "urgent",
            Self::Normal => "normal",
            Self::Bulk => "bulk",
        }
    }
}

/// An error that knows what is to become of its task.
#[derive(Debug)]
pub struct Failure {
    pub(super) error: TaskError,
    pub(super) retry: Retry,
}

/// What is to become of a task that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Retry {
    /// By the backoff of its kind.
    AsUsual,
    /// After this long.
    After(Duration),
    /// Trying again is of no use.
    Never,
}

impl Failure {
    /// Trying again is of no use: the task is dead at once.
    pub fn fatal(error: impl Into<TaskError>) -> Self {
        Self { error: error.into(), retry: Retry::Never }
    }

    /// Try again after `wait`, not by the backoff; as a service asks for with `Retry-After`.
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
