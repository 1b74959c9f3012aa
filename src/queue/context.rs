//! What a run of a database task is told, and what it can do.

use std::cell::{Cell, RefCell, RefMut};
use std::time::{Duration, Instant};

use mysql::prelude::Queryable;
use mysql::{Conn, Transaction};
use serde::Serialize;

use super::interrupt::{Interrupt, Interrupted};
use super::store::{ClaimToken, complete, run};
use crate::db::Database;
use crate::error::TaskError;
use crate::shutdown::Shutdown;

/// A run's surroundings.
pub struct TaskContext<'a> {
    pub(super) token: ClaimToken,
    pub(super) kind: &'a str,
    pub(super) attempt: u32,
    pub(super) max_attempts: u32,
    pub(super) deadline: Instant,
    pub(super) retention: Duration,
    pub(super) stop: &'a Shutdown,
    pub(super) interrupt: &'a Interrupt,
    pub(super) database: &'a Database,
    /// Opened when it is asked for; the runs of a thread share it, one after the other.
    pub(super) conn: &'a RefCell<Option<Conn>>,
    /// Whether the run has asked for it before.
    pub(super) conn_is_tried: Cell<bool>,
    /// Whether its worker has to be able to find it on the server, since it knows nothing of it otherwise.
    pub(super) conn_is_marked: bool,
    pub(super) completed: Cell<bool>,
}

impl<'a> TaskContext<'a> {
    /// The row's id.
    pub fn id(&self) -> u64 {
        self.token.id
    }

    /// The task's kind.
    pub fn kind(&self) -> &str {
        self.kind
    }

    /// Which attempt this is, from 1, and how many there are at most.
    pub fn attempt(&self) -> (u32, u32) {
        (self.attempt, self.max_attempts)
    }

    /// When the run has to be over.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Whether the worker wants to stop. Work that takes seconds more may finish; longer work should save what it has
    /// and return [`Interrupted::Stopping`], so that another worker goes on with it.
    pub fn is_stopping(&self) -> bool {
        self.stop.is_stopping()
    }

    /// Whether somebody cancelled the task. It is up to the run to end; what it returns then no longer counts, unless
    /// it is a success. A run in a process of its own hears of it as a stop, since it is told by a signal.
    pub fn is_cancelled(&self) -> bool {
        self.interrupt.why() == Some(Interrupted::Cancelled)
    }

    /// Waits for `limit`. Use it instead of `thread::sleep`.
    ///
    /// # Errors
    /// At once when the worker wants to stop, when the task is cancelled, at the deadline, and when the task is another
    /// run's by now; with `?` the task ends as it should then.
    pub fn wait(&self, limit: Duration) -> Result<(), Interrupted> {
        self.interrupt.wait(limit, self.deadline, self.stop)
    }

    /// A connection to the worker's database, the same for the whole run. At the deadline what runs on it is killed on
    /// the server.
    ///
    /// # Errors
    /// The server can't be reached, or the run was told to end: with `?` it ends as it should then.
    pub fn conn(&self) -> Result<RefMut<'_, Conn>, TaskError> {
        if let Some(why) = self.interrupt.why() {
            return Err(why.into());
        }
        let mut conn = self.conn.try_borrow_mut().map_err(|_| "the task's connection is in use already")?;
        // The server, or something on the way, may have closed it while it lay idle.
        if !self.conn_is_tried.replace(true) && conn.as_mut().is_some_and(|conn| conn.ping().is_err()) {
            *conn = None;
        }
        if conn.is_none() {
            let mut opened = self.database.connect()?;
            if self.conn_is_marked {
                run::mark(&mut opened, &self.token)?;
            }
            *conn = Some(opened);
        }
        RefMut::filter_map(conn, Option::as_mut)
            .inspect(|conn| self.interrupt.on_connection(Some(conn.connection_id())))
            .map_err(|_| "the task has no connection".into())
    }

    /// Says how far the run is; `airun task show` has it.
    ///
    /// # Errors
    /// The server can't be reached, or the task is no longer this run's.
    pub fn progress(&self, progress: &impl Serialize) -> Result<(), TaskError> {
        let json = serde_json::to_string(progress)?;
        complete::progress(&mut *self.conn()?, &self.token, &json)
    }

    /// Completes the task inside the run's own transaction: what it wrote and the completion are committed together, or
    /// neither is. What `execute` returns after that is not looked at.
    ///
    /// # Errors
    /// The task is no longer this run's, since its lease ran out: return the error, so that nothing is committed.
    pub fn complete_in(&self, transaction: &mut Transaction<'_>, output: &impl Serialize) -> Result<(), TaskError> {
        complete::complete_in(transaction, &self.token, &serde_json::to_string(output)?, self.retention)?;
        self.completed.set(true);
        Ok(())
    }
}

impl std::fmt::Debug for TaskContext<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TaskContext").field("id", &self.token.id).field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// A connection as the next run should find it: without a transaction, without the last run's session state; `None`
/// where that can't be had.
pub(super) fn tidied(conn: Option<Conn>) -> Option<Conn> {
    let mut conn = conn?;
    match conn.reset().and_then(|()| conn.query_drop("DO 0")) {
        Ok(()) => Some(conn),
        Err(_) => None,
    }
}
