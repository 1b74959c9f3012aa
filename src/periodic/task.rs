//! What a periodic task is, and what it is told while it runs.

use std::time::{Duration, Instant};

use crate::error::TaskError;
use crate::shutdown::{Shutdown, Woken};

/// Work that time makes due.
///
/// Each task has a thread of its own, so it may keep state in `self` and may block; runs of one task never overlap.
pub trait PeriodicTask: Send {
    /// Names the task in logs, metrics and on the command line: letters, digits, `_`, `-`, `.`; unique.
    fn name(&self) -> &str;

    /// From one start to the next. The first run is at once. Zero is refused.
    fn interval(&self) -> Duration;

    /// Goes before the task's name in the log.
    fn emoji(&self) -> &str {
        "⏱️"
    }

    /// A run that takes longer is reported as stuck, in every heartbeat. It is not ended: a thread can't be.
    fn time_limit(&self) -> Option<Duration> {
        None
    }

    /// One run. What is logged in it carries the task's name by itself.
    ///
    /// # Errors
    /// An error, or a panic, is logged and counted, and the task goes on with its next tick.
    fn execute(&mut self, context: &PeriodicContext<'_>) -> Result<(), TaskError>;
}

/// What a run is told.
#[derive(Debug)]
pub struct PeriodicContext<'a> {
    tick: u64,
    deadline: Option<Instant>,
    shutdown: &'a Shutdown,
}

impl<'a> PeriodicContext<'a> {
    pub(super) fn new(tick: u64, deadline: Option<Instant>, shutdown: &'a Shutdown) -> Self {
        Self { tick, deadline, shutdown }
    }

    /// The tick's number on the task's grid, from 0; the numbers of skipped ones are missing.
    pub fn tick(&self) -> u64 {
        self.tick
    }

    /// When the run counts as stuck.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Whether the worker wants to stop: a long run should come to an end.
    pub fn is_stopping(&self) -> bool {
        self.shutdown.is_stopping()
    }

    /// Waits for `limit`, or until the worker wants to stop. Use it instead of `thread::sleep`.
    pub fn wait(&self, limit: Duration) -> Woken {
        self.shutdown.wait(limit)
    }
}
