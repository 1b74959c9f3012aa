//! The migration lock: only one migrator changes a database at a time.

use std::time::{Duration, Instant};

use mysql::Conn;

use super::event::{Event, Events};
use crate::db::{self, Database};
use crate::error::{Error, ErrorKind, Result};
use crate::fault;
use crate::shutdown::Shutdown;

mod lease;
mod named;

use lease::Lease;
use named::NamedLock;

/// A description of the session that holds the lock.
pub struct HeldBy(String);

/// SQL that makes a change of `ai_migrations` succeed only while the lock is held.
#[derive(Debug)]
pub struct LockCondition {
    /// Condition of an `INSERT … SELECT` or a `DELETE`.
    pub condition: String,
    /// Condition of an `UPDATE`.
    pub update_condition: String,
    /// Follows the table's name in an `UPDATE`.
    pub update_join: String,
    /// Precedes the assignments of an `UPDATE`.
    pub update_set: String,
    /// The lock's own table, if it has one.
    pub table: Option<String>,
}

impl LockCondition {
    /// The same condition for every change.
    pub fn of(condition: String) -> Self {
        Self {
            update_condition: condition.clone(),
            condition,
            update_join: String::new(),
            update_set: String::new(),
            table: None,
        }
    }
}

/// A lock that is held.
#[derive(Debug)]
pub enum Lock {
    /// Held by the connection that took it. The server releases it when that connection ends.
    Named(NamedLock),
    /// A row, in a cluster whose nodes don't share `GET_LOCK`.
    Lease(Lease),
}

/// The lock to wait for, the limit of the wait, and the receiver of its events.
pub struct Waiting<'w> {
    pub database: &'w Database,
    pub limit: Duration,
    pub shutdown: &'w Shutdown,
    pub events: &'w mut Events<'w>,
}

impl Lock {
    /// Takes the lock, waiting for at most `limit`.
    ///
    /// # Errors
    /// [`ErrorKind::LockHeld`] if another migrator held it all the time, naming the holder; [`ErrorKind::Interrupted`]
    /// at a signal.
    pub fn acquire(conn: &mut Conn, waiting: &mut Waiting<'_>) -> Result<Self> {
        let until = Instant::now() + waiting.limit;
        let name = &waiting.database.name;
        let use_lease = db::locks_are_local(conn)? || fault::is_forced("lease");
        let mut reported = false;
        loop {
            let attempt = if use_lease {
                Lease::try_acquire(conn, waiting.database, reported, waiting.shutdown)?.map(Lock::Lease)
            } else {
                NamedLock::try_acquire(conn, name, reported)?.map(Lock::Named)
            };
            let HeldBy(holder) = match attempt {
                Ok(lock) => return Ok(lock),
                Err(held) => held,
            };
            if waiting.shutdown.is_stopping() {
                return Err(Error::new(
                    ErrorKind::Interrupted,
                    "stopped by a signal while waiting for the migration lock; nothing was run",
                ));
            }
            if Instant::now() >= until {
                return Err(Error::new(
                    ErrorKind::LockHeld,
                    format!(
                        "the migration lock of `{name}` is held by {holder}; try again later or raise `--lock-timeout`"
                    ),
                ));
            }
            if !reported {
                reported = true;
                (waiting.events)(Event::Note(format!("waiting for the migration lock of `{name}`, held by {holder}")));
            }
        }
    }

    /// Takes the lock again after the connection was reset.
    pub fn acquire_again(&self, conn: &mut Conn, waiting: &mut Waiting<'_>) -> Result<()> {
        match self {
            // The reset released the lock, so it is acquired again under the same name.
            Lock::Named(_) => Self::acquire(conn, waiting).map(|_| ()),
            Lock::Lease(lease) => lease.prepare_session(conn),
        }
    }

    /// Returns the condition under which a change of `ai_migrations` is allowed.
    pub fn condition(&self) -> LockCondition {
        match self {
            Lock::Named(named) => named.condition(),
            Lock::Lease(lease) => lease.condition(),
        }
    }

    pub fn release(self, conn: &mut Conn) {
        match self {
            Lock::Named(named) => named.release(conn),
            Lock::Lease(lease) => drop(lease),
        }
    }
}
