//! What keeps a run from going on: the worker's stop, its deadline, somebody who cancels it, another run of its task.

use std::convert::Infallible;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, select};
use serde::{Deserialize, Serialize};

use crate::shutdown::{self, Shutdown, Trigger};

/// Why a run should come to its end. As a task's error it ends the run as it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Interrupted {
    /// The worker stops: a task that returns this goes back, and costs no attempt.
    Stopping,
    /// Somebody cancelled the task.
    Cancelled,
    /// Its time is up.
    DeadlinePassed,
    /// The task is no longer this run's: its lease ran out, and it runs again elsewhere or soon will.
    LeaseLost,
}

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stopping => "the worker stops",
            Self::Cancelled => "cancelled",
            Self::DeadlinePassed => "its time is up",
            Self::LeaseLost => "its lease ran out, and another run has the task",
        })
    }
}

impl std::error::Error for Interrupted {}

/// One run's: raised from outside, heard by the run.
pub struct Interrupt {
    state: Mutex<State>,
    raised: Shutdown,
}

struct State {
    why: Option<Interrupted>,
    trigger: Option<Trigger>,
    /// On which the run may be waiting for an answer.
    connection: Option<u32>,
}

impl Default for Interrupt {
    fn default() -> Self {
        let (trigger, raised) = shutdown::channel();
        Self { state: Mutex::new(State { why: None, trigger: Some(trigger), connection: None }), raised }
    }
}

impl Interrupt {
    /// Tells the run; the first reason stays. `kill` is called with the connection that the run has, which it keeps
    /// until `kill` returns.
    pub fn raise(&self, why: Interrupted, kill: impl FnOnce(u32)) {
        let mut state = self.state();
        state.why.get_or_insert(why);
        state.trigger = None;
        if let Some(connection) = state.connection {
            kill(connection);
        }
    }

    /// Gives up on the run: `kill` is called with the connection that it has, which it has no more.
    pub fn part(&self, kill: impl FnOnce(u32)) {
        if let Some(connection) = self.state().connection.take() {
            kill(connection);
        }
    }

    /// Why the run should end, if it should.
    pub fn why(&self) -> Option<Interrupted> {
        self.state().why
    }

    /// Closed once it is raised.
    pub fn raised(&self) -> &Receiver<Infallible> {
        self.raised.receiver()
    }

    /// The run has this connection from now on, or none.
    pub fn on_connection(&self, connection: Option<u32>) {
        self.state().connection = connection;
    }

    /// Waits for `limit`, but not beyond `deadline`, the stop, or [`Interrupt::raise`].
    pub fn wait(&self, limit: Duration, deadline: Instant, stop: &Shutdown) -> Result<(), Interrupted> {
        let left = deadline.saturating_duration_since(Instant::now());
        select! {
            recv(stop.receiver()) -> _ => Err(Interrupted::Stopping),
            recv(self.raised.receiver()) -> _ => Err(self.why().unwrap_or(Interrupted::Cancelled)),
            default(limit.min(left)) => if limit < left { Ok(()) } else { Err(Interrupted::DeadlinePassed) },
        }
    }

    /// Nothing panics while it is locked but `kill`, which changes nothing.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
