//! A registered kind, whatever its payload's type.

use std::ffi::OsString;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::value::RawValue;

use super::backoff::Backoff;
use super::command::CommandTask;
use super::context::TaskContext;
use super::task::{DatabaseTask, Isolation, Priority};
use crate::error::TaskError;

/// What a worker knows of a kind.
pub struct Kind {
    pub name: String,
    /// The newest payload that it can decode.
    pub version: u16,
    pub queue: String,
    pub priority: Priority,
    pub timeout: Duration,
    pub max_attempts: u32,
    pub backoff: Backoff,
    pub concurrency: Option<u32>,
    pub work: Work,
    pace: Pace,
}

/// What a run does.
pub enum Work {
    Handler { isolation: Isolation, run: Handler, check: Check },
    Command { program: OsString, args: Vec<OsString> },
}

/// Decodes a payload of a version, runs it, and encodes what comes out.
pub type Handler = Box<dyn Fn(u16, &str, &TaskContext<'_>) -> Result<String, Refusal> + Send + Sync>;
/// Whether a payload of a version can be decoded.
pub type Check = Box<dyn Fn(u16, &str) -> Result<(), TaskError> + Send + Sync>;

/// Why a handler has no output.
#[derive(Debug)]
pub enum Refusal {
    /// The payload isn't what the kind takes; no attempt will change that.
    Undecodable(TaskError),
    Failed(TaskError),
}

impl Kind {
    pub fn of_task<T: DatabaseTask + 'static>(task: T) -> Self {
        let run = move |version: u16, payload: &str, context: &TaskContext<'_>| {
            let payload = T::decode(version, payload).map_err(Refusal::Undecodable)?;
            let output = task.execute(payload, context).map_err(Refusal::Failed)?;
            serde_json::to_string(&output)
                .map_err(|error| Refusal::Failed(format!("failed to write the output as JSON: {error}").into()))
        };
        let check = |version: u16, payload: &str| T::decode(version, payload).map(drop);
        Self {
            name: T::KIND.to_owned(),
            version: T::VERSION,
            queue: T::QUEUE.to_owned(),
            priority: T::PRIORITY,
            timeout: T::TIMEOUT,
            max_attempts: T::MAX_ATTEMPTS,
            backoff: T::BACKOFF,
            concurrency: T::CONCURRENCY,
            work: Work::Handler { isolation: T::ISOLATION, run: Box::new(run), check: Box::new(check) },
            pace: Pace::default(),
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
            pace: Pace::default(),
        }
    }

    /// Whether this binary can decode `payload`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self, version: u16, payload: &str) -> Result<(), TaskError> {
        match &self.work {
            Work::Handler { check, .. } => check(version, payload),
            Work::Command { .. } => serde_json::from_str::<&RawValue>(payload).map(drop).map_err(Into::into),
        }
    }

    /// How long a run takes of late; `None` before the first has ended.
    pub fn pace(&self) -> Option<Duration> {
        self.pace.average()
    }

    /// A run has taken so long.
    pub fn took(&self, time: Duration) {
        self.pace.add(time);
    }
}

/// A moving average, in nanoseconds; 0 is none yet.
#[derive(Debug, Default)]
struct Pace(AtomicU64);

impl Pace {
    fn average(&self) -> Option<Duration> {
        match self.0.load(Ordering::Relaxed) {
            0 => None,
            nanos => Some(Duration::from_nanos(nanos)),
        }
    }

    /// A slow run counts at once, since the next may be as slow; quick ones bring the average down by and by. Two
    /// threads at once may lose one's time, which an average can bear.
    fn add(&self, time: Duration) {
        let new = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX).max(1);
        let old = self.0.load(Ordering::Relaxed);
        let average = if new >= old { new } else { old - (old - new) / 16 };
        self.0.store(average.max(1), Ordering::Relaxed);
    }
}
