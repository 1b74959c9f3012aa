//! A registered kind of task, independent of its payload's type.

use std::ffi::OsString;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::value::RawValue;

use super::backoff::Backoff;
use super::command::CommandTask;
use super::context::TaskContext;
use super::payload::{Priority, TaskPayload as _};
use super::task::{DatabaseTask, Isolation};
use crate::error::TaskError;

/// A kind of task that this binary can run.
pub struct Kind {
    pub name: String,
    /// The newest payload version that it can decode.
    pub version: u16,
    pub queue: String,
    pub priority: Priority,
    pub timeout: Duration,
    pub max_attempts: u32,
    pub backoff: Backoff,
    pub concurrency: Option<u32>,
    pub work: Work,
    duration: AverageDuration,
}

/// The code or the program that runs a task of the kind.
pub enum Work {
    Handler { isolation: Isolation, run: Handler, check: PayloadCheck },
    Command { program: OsString, args: Vec<OsString> },
}

/// Decodes a payload of the given version, runs the task and encodes its output.
pub type Handler = Box<dyn Fn(u16, &str, &TaskContext<'_>) -> Result<String, HandlerError> + Send + Sync>;
/// Decodes a payload of the given version and drops it.
pub type PayloadCheck = Box<dyn Fn(u16, &str) -> Result<(), TaskError> + Send + Sync>;

/// Why a handler has no output.
#[derive(Debug)]
pub enum HandlerError {
    /// The kind can't decode the payload, and no further attempt will change that.
    Undecodable(TaskError),
    Failed(TaskError),
}

impl Kind {
    pub fn of_task<T: DatabaseTask + 'static>(task: T) -> Self {
        let run = move |version: u16, payload: &str, context: &TaskContext<'_>| {
            let payload = T::Payload::decode(version, payload).map_err(HandlerError::Undecodable)?;
            let output = task.execute(payload, context).map_err(HandlerError::Failed)?;
            serde_json::to_string(&output)
                .map_err(|error| HandlerError::Failed(format!("failed to write the output as JSON: {error}").into()))
        };
        let check = |version: u16, payload: &str| T::Payload::decode(version, payload).map(drop);
        Self {
            name: T::Payload::KIND.to_owned(),
            version: T::Payload::VERSION,
            queue: T::Payload::QUEUE.to_owned(),
            priority: T::Payload::PRIORITY,
            timeout: T::TIMEOUT,
            max_attempts: T::MAX_ATTEMPTS,
            backoff: T::BACKOFF,
            concurrency: T::CONCURRENCY,
            work: Work::Handler { isolation: T::ISOLATION, run: Box::new(run), check: Box::new(check) },
            duration: AverageDuration::default(),
        }
    }

    pub fn of_command(task: CommandTask) -> Self {
        Self {
            name: task.kind,
            version: 1,
            queue: task.queue,
            priority: task.priority,
            timeout: task.timeout,
            max_attempts: task.max_attempts,
            backoff: task.backoff,
            concurrency: task.concurrency,
            work: Work::Command { program: task.program, args: task.args },
            duration: AverageDuration::default(),
        }
    }

    /// Checks that this binary can decode `payload`.
    ///
    /// # Errors
    /// The payload is not JSON, or not what the kind accepts.
    pub fn check(&self, version: u16, payload: &str) -> Result<(), TaskError> {
        match &self.work {
            Work::Handler { check, .. } => check(version, payload),
            Work::Command { .. } => serde_json::from_str::<&RawValue>(payload).map(drop).map_err(Into::into),
        }
    }

    /// Recent average duration of a run; `None` until the first run has ended.
    pub fn average_duration(&self) -> Option<Duration> {
        self.duration.get()
    }

    /// Adds a run to the average.
    pub fn record_duration(&self, duration: Duration) {
        self.duration.add(duration);
    }
}

/// A moving average in nanoseconds; 0 before the first run.
#[derive(Debug, Default)]
struct AverageDuration(AtomicU64);

impl AverageDuration {
    fn get(&self) -> Option<Duration> {
        match self.0.load(Ordering::Relaxed) {
            0 => None,
            nanos => Some(Duration::from_nanos(nanos)),
        }
    }

    /// A slow run raises the average at once, because the next run may be as slow. Quick runs lower it gradually. If two
    /// threads add at the same time, one run may be lost, which doesn't matter for an average.
    fn add(&self, duration: Duration) {
        let new = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX).max(1);
        let old = self.0.load(Ordering::Relaxed);
        let average = if new >= old { new } else { old - (old - new) / 16 };
        self.0.store(average.max(1), Ordering::Relaxed);
    }
}
