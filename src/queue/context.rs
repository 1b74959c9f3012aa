//! The context of a running database task.

use std::cell::{Cell, RefCell, RefMut};
use std::ops::DerefMut;
use std::time::{Duration, Instant};

use mysql::prelude::Queryable;
use mysql::{Conn, Transaction};
use serde::Serialize;

use super::interrupt::Interrupted;
use super::job::Job;
use super::store::{complete, run_connection};
use crate::db::Database;
use crate::error::TaskError;
use crate::shutdown::Shutdown;

/// Gives a run of a [`DatabaseTask`](super::DatabaseTask) its id and its deadline, a connection to the database, and the
/// requests of its worker to stop.
///
/// A run that writes to the worker's database commits its effect together with its completion:
///
/// ```no_run
/// use airun::TaskError;
/// use airun::mysql::TxOpts;
/// use airun::mysql::prelude::Queryable;
/// use airun::queue::TaskContext;
///
/// fn credit(account: u64, context: &TaskContext<'_>) -> Result<(), TaskError> {
///     let mut conn = context.conn()?;
///     let mut transaction = conn.start_transaction(TxOpts::default())?;
///     transaction.exec_drop("UPDATE accounts SET balance = balance + 1 WHERE id = ?", (account,))?;
///     context.complete_in(&mut transaction, &())?;
///     transaction.commit()?;
///     Ok(())
/// }
/// ```
pub struct TaskContext<'a> {
    pub(super) job: &'a Job,
    pub(super) deadline: Instant,
    pub(super) retention: Duration,
    pub(super) stop: &'a Shutdown,
    pub(super) database: &'a Database,
    /// Opened at the first call of [`TaskContext::conn`]. The runs of a thread use it one after the other.
    pub(super) conn: &'a RefCell<Option<Conn>>,
    /// True if this run called [`TaskContext::conn`] before.
    pub(super) conn_is_tried: Cell<bool>,
    /// True if the worker runs in another process, so that it must find the connection in the server's process list.
    pub(super) conn_is_marked: bool,
    pub(super) completed: Cell<bool>,
}

impl<'a> TaskContext<'a> {
    /// Id of the task's row in `ai_server_tasks`.
    pub fn id(&self) -> u64 {
        self.job.token.id
    }

    /// Kind of the task.
    pub fn kind(&self) -> &str {
        &self.job.kind.name
    }

    /// Returns the number of this attempt, from 1.
    pub fn attempt(&self) -> u32 {
        self.job.attempt()
    }

    /// Returns the number of attempts after which the task is dead.
    pub fn max_attempts(&self) -> u32 {
        self.job.record.max_attempts
    }

    /// When the run's time limit is reached.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// True if the worker is shutting down. A run that needs only seconds more may finish. A longer run should save its
    /// state and return [`Interrupted::Stopping`]; the task is then pending again and this attempt does not count.
    pub fn is_stopping(&self) -> bool {
        self.stop.is_stopping()
    }

    /// True if an operator cancelled the task. The run should end; unless it succeeds, its result is discarded. In a
    /// process of its own ([`Isolation::Process`](super::Isolation::Process)) a cancelled run sees
    /// [`is_stopping`](Self::is_stopping) instead, because the worker sends it a signal.
    pub fn is_cancelled(&self) -> bool {
        self.job.interrupt.reason() == Some(Interrupted::Cancelled)
    }

    /// Waits for `duration`. Use it instead of `thread::sleep`, which nothing can interrupt.
    ///
    /// # Errors Fails as soon as the run should end: the worker is shutting down, the task was cancelled, the deadline
    /// has passed, or the lease was lost. Pass the error on with `?`.
    pub fn wait(&self, duration: Duration) -> Result<(), Interrupted> {
        self.job.interrupt.wait(duration, self.deadline, self.stop)
    }

    /// The run's connection to the worker's database: the same one for the whole run. At the deadline the server kills
    /// the query that is running on it.
    ///
    /// # Errors
    /// The server can't be reached, the run should end (see [`wait`](Self::wait)), or the connection that an earlier call
    /// returned is still in use.
    pub fn conn(&self) -> Result<impl DerefMut<Target = Conn>, TaskError> {
        if let Some(why) = self.job.interrupt.reason() {
            return Err(why.into());
        }
        let mut conn = self.conn.try_borrow_mut().map_err(|_| "the task's connection is already in use")?;
        // The server or a proxy may have closed it while it was idle.
        if !self.conn_is_tried.replace(true) && conn.as_mut().is_some_and(|conn| conn.ping().is_err()) {
            *conn = None;
        }
        if conn.is_none() {
            let mut opened = self.database.connect()?;
            if self.conn_is_marked {
                run_connection::mark(&mut opened, &self.job.token)?;
            }
            *conn = Some(opened);
        }
        RefMut::filter_map(conn, Option::as_mut)
            .inspect(|conn| self.job.interrupt.set_connection(Some(conn.connection_id())))
            .map_err(|_| "the task has no connection".into())
    }

    /// Stores how far the run is, as JSON; `airun task show` prints it.
    ///
    /// # Errors
    /// The server can't be reached, or the lease was lost.
    pub fn progress(&self, progress: &impl Serialize) -> Result<(), TaskError> {
        let json = serde_json::to_string(progress)?;
        complete::progress(&mut *self.conn()?, &self.job.token, &json)
    }

    /// Completes the task within `transaction`, so that the run's writes and the completion are committed together or not
    /// at all. The output that `execute` returns afterwards is ignored.
    ///
    /// # Errors
    /// The lease was lost, and the task may run elsewhere. Return the error, so that nothing is committed.
    pub fn complete_in(&self, transaction: &mut Transaction<'_>, output: &impl Serialize) -> Result<(), TaskError> {
        complete::complete_in(transaction, &self.job.token, &serde_json::to_string(output)?, self.retention)?;
        self.completed.set(true);
        Ok(())
    }
}

impl std::fmt::Debug for TaskContext<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TaskContext")
            .field("id", &self.job.token.id)
            .field("kind", &self.job.kind.name)
            .finish_non_exhaustive()
    }
}

/// Resets a connection for the next run: it must have no open transaction and no session state of the last run. `None`
/// if that fails.
pub(super) fn tidied(mut conn: Conn) -> Option<Conn> {
    conn.reset().and_then(|()| conn.query_drop("DO 0")).is_ok().then_some(conn)
}
