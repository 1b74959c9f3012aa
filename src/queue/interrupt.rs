//! Interrupting a run: when the worker stops, at the deadline, when the task is cancelled or its lease was lost.

use std::convert::Infallible;
use std::fmt;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded, select};
use serde::{Deserialize, Serialize};

use crate::shutdown::Shutdown;
use crate::threads::lock;

/// Why a run should end. A task that returns this as its error ends accordingly.
///
/// ```
/// use airun::TaskError;
/// use airun::queue::{Interrupted, TaskContext};
/// use std::time::Duration;
///
/// fn poll(context: &TaskContext<'_>) -> Result<(), TaskError> {
///     for _ in 0..10 {
///         match context.wait(Duration::from_secs(60)) {
///             Ok(()) => log::info!("polling"),
///             Err(Interrupted::Stopping) => {
///                 log::info!("saving the state for the next worker");
///                 return Err(Interrupted::Stopping.into());
///             }
///             Err(reason) => return Err(reason.into()),
///         }
///     }
///     Ok(())
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Interrupted {
    /// The worker is stopping. A task that returns this is released, which costs no attempt.
    Stopping,
    /// The task was cancelled.
    Cancelled,
    /// The run's deadline passed.
    DeadlinePassed,
    /// The task's lease expired, so that another run has the task or soon will.
    LeaseLost,
}

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stopping => "the worker is stopping",
            Self::Cancelled => "cancelled",
            Self::DeadlinePassed => "its deadline passed",
            Self::LeaseLost => "its lease expired and the task was given to another run",
        })
    }
}

impl std::error::Error for Interrupted {}

/// The interrupt of one run: raised by other threads, received by the run.
pub struct Interrupt {
    state: Mutex<InterruptState>,
    raised: Receiver<Infallible>,
}

struct InterruptState {
    reason: Option<Interrupted>,
    trigger: Option<Sender<Infallible>>,
    /// The connection on which the run may be waiting for an answer.
    connection: Option<u32>,
}

impl Default for Interrupt {
    fn default() -> Self {
        let (trigger, raised) = bounded(0);
        Self { state: Mutex::new(InterruptState { reason: None, trigger: Some(trigger), connection: None }), raised }
    }
}

impl Interrupt {
    /// Interrupts the run; the first reason stays. `kill` is called with the run's connection, which the run can't give
    /// up before `kill` returns.
    pub fn raise(&self, reason: Interrupted, kill: impl FnOnce(u32)) {
        let mut state = lock(&self.state);
        state.reason.get_or_insert(reason);
        state.trigger = None;
        if let Some(connection) = state.connection {
            kill(connection);
        }
    }

    /// Calls `kill` with the connection of a run that is abandoned, and forgets the connection.
    pub fn abandon(&self, kill: impl FnOnce(u32)) {
        if let Some(connection) = lock(&self.state).connection.take() {
            kill(connection);
        }
    }

    /// Why the run was interrupted, if it was.
    pub fn reason(&self) -> Option<Interrupted> {
        lock(&self.state).reason
    }

    /// Closed once the interrupt is raised.
    pub fn raised(&self) -> &Receiver<Infallible> {
        &self.raised
    }

    /// Sets the connection that the run uses from now on.
    pub fn set_connection(&self, connection: Option<u32>) {
        lock(&self.state).connection = connection;
    }

    /// Waits for `limit`, unless the interrupt is raised, the worker stops, or `deadline` passes before.
    pub fn wait(&self, limit: Duration, deadline: Instant, stop: &Shutdown) -> Result<(), Interrupted> {
        let left = deadline.saturating_duration_since(Instant::now());
        select! {
            recv(stop.receiver()) -> _ => Err(Interrupted::Stopping),
            recv(self.raised) -> _ => Err(self.reason().unwrap_or(Interrupted::Cancelled)),
            default(limit.min(left)) => if limit < left { Ok(()) } else { Err(Interrupted::DeadlinePassed) },
        }
    }
}
