//! The trait of periodic tasks, and the context of a run.

use std::time::{Duration, Instant};

use crate::error::TaskError;
use crate::shutdown::{Shutdown, Woken};

/// A task that runs every [`interval`](Self::interval) in each worker.
///
/// Each task has a thread of its own, so it may block and keep state in `self`. Two runs of one task never overlap. A run
/// that takes longer than the interval is followed by one late run; the ticks that it missed are skipped.
///
/// ```no_run
/// use std::process::ExitCode;
/// use std::time::Duration;
///
/// use airun::periodic::{PeriodicContext, PeriodicTask};
/// use airun::{Registry, TaskError};
///
/// struct Cleanup {
///     folder: String,
/// }
///
/// impl PeriodicTask for Cleanup {
///     fn name(&self) -> &str {
///         "cleanup"
///     }
///
///     fn interval(&self) -> Duration {
///         Duration::from_secs(300)
///     }
///
///     fn execute(&mut self, context: &PeriodicContext<'_>) -> Result<(), TaskError> {
///         for file in std::fs::read_dir(&self.folder)? {
///             if context.is_stopping() {
///                 break;
///             }
///             std::fs::remove_file(file?.path())?;
///         }
///         Ok(())
///     }
/// }
///
/// fn main() -> ExitCode {
///     airun::main(Registry::new().periodic(Cleanup { folder: "/tmp/cache".to_owned() }))
/// }
/// ```
pub trait PeriodicTask: Send {
    /// Name of the task in logs, metrics and on the command line: at most 64 letters, digits, `_`, `-` and `.`. It must
    /// be unique in a [`Registry`](crate::Registry).
    fn name(&self) -> &str;

    /// Time from the start of one run to the start of the next, longer than zero. The first run starts at once.
    fn interval(&self) -> Duration;

    /// Precedes the task's name in the log.
    fn emoji(&self) -> &str {
        "⏱️"
    }

    /// A run that takes longer than this is reported as stuck in every heartbeat. It is not ended, because a thread
    /// can't be. `None` for no limit.
    fn time_limit(&self) -> Option<Duration> {
        None
    }

    /// Runs the task once. Log lines that it writes carry the task's name and tick.
    ///
    /// # Errors
    /// An error or a panic is logged and counted, and the task runs again at its next tick.
    fn execute(&mut self, context: &PeriodicContext<'_>) -> Result<(), TaskError>;
}

/// Gives a run of a [`PeriodicTask`] its tick and its deadline, and lets it wait for the worker.
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

    /// Returns the number of the tick, from 0. Skipped ticks are counted, too.
    pub fn tick(&self) -> u64 {
        self.tick
    }

    /// When the run is reported as stuck; `None` if the task has no [`time_limit`](PeriodicTask::time_limit).
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// True if the worker is shutting down, so that a long run should end.
    pub fn is_stopping(&self) -> bool {
        self.shutdown.is_stopping()
    }

    /// Waits for `duration` or until the worker shuts down. Use it instead of `thread::sleep`, which nothing can
    /// interrupt.
    pub fn wait(&self, duration: Duration) -> Woken {
        self.shutdown.wait(duration)
    }
}
