//! A registered kind of task, independent of its payload's type.

use std::ffi::OsString;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::value::RawValue;

use super::backoff::Backoff;
use super::command::CommandTask;
use super::context::TaskContext;
use super::payload::{Priority, TaskPayload as _};
use super::task::{DatabaseTask, Isolation, outcome_of};
use super::transition::Outcome;
use crate::error::{TaskError, with_causes};

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
    /// Average duration of recent runs in nanoseconds; 0 before the first run.
    average_nanos: AtomicU64,
}

/// The code or the program that runs a task of the kind.
pub enum Work {
    Handler { isolation: Isolation, run: Handler, check: PayloadCheck },
    Command { program: OsString, args: Vec<OsString> },
}

/// Decodes the payload, runs the task and encodes its output.
pub type Handler = Box<dyn Fn(&TaskContext<'_>) -> Outcome + Send + Sync>;
/// Decodes a payload of the given version and drops it.
pub type PayloadCheck = Box<dyn Fn(u16, &str) -> Result<(), TaskError> + Send + Sync>;

impl Kind {
    pub fn of_task<T: DatabaseTask + 'static>(task: T) -> Self {
        let run = move |context: &TaskContext<'_>| {
            let payload = match T::Payload::decode(context.job.version, &context.job.row.payload) {
                Ok(payload) => payload,
                Err(error) => return Outcome::Undecodable(with_causes(&error)),
            };
            let output = task.execute(payload, context).and_then(|output| {
                serde_json::to_string(&output)
                    .map_err(|error| format!("failed to write the output as JSON: {error}").into())
            });
            output.map_or_else(outcome_of, Outcome::Succeeded)
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
            average_nanos: AtomicU64::default(),
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
            average_nanos: AtomicU64::default(),
        }
    }

    /// Checks that this binary can decode `payload`.
    pub fn check(&self, version: u16, payload: &str) -> Result<(), TaskError> {
        match &self.work {
            Work::Handler { check, .. } => check(version, payload),
            Work::Command { .. } => serde_json::from_str::<&RawValue>(payload).map(drop).map_err(Into::into),
        }
    }

    /// Recent average duration of a run; `None` until the first run has ended.
    pub fn average_duration(&self) -> Option<Duration> {
        match self.average_nanos.load(Ordering::Relaxed) {
            0 => None,
            nanos => Some(Duration::from_nanos(nanos)),
        }
    }

    /// Adds a run to the average. A slow run raises it at once, because the next run may be as slow. Quick runs lower it
    /// gradually. If two threads add at the same time, one run may be lost, which doesn't matter for an average.
    pub fn record_duration(&self, duration: Duration) {
        let new = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX).max(1);
        let old = self.average_nanos.load(Ordering::Relaxed);
        let average = if new >= old { new } else { old - (old - new) / 16 };
        self.average_nanos.store(average.max(1), Ordering::Relaxed);
    }
}
