//! The lock that keeps two migrators of one database apart.

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
pub use lease::TABLE;
use named::Named;

/// A lock that is held.
#[derive(Debug)]
pub enum Lock {
    /// By the connection it was taken on: the server frees it when that ends.
    Named(Named),
    /// By a row, where `GET_LOCK` is known to one node of several only.
    Lease(Lease),
}

/// How a change of `ai_migrations` proves that the lock is held, in SQL.
#[derive(Debug)]
pub struct LockCondition {
    /// The condition where nothing is updated.
    pub condition: String,
    /// The condition of an `UPDATE`.
    pub update_condition: String,
    /// What an `UPDATE` names beside its table.
    pub update_join: String,
    /// What an `UPDATE` sets beside its own columns.
    pub update_set: String,
    /// Its own table, where it has one.
    pub table: Option<String>,
}

impl LockCondition {
    /// Without a lock: nothing can be changed.
    pub fn none() -> Self {
        let never = || "FALSE".to_owned();
        Self {
            condition: never(),
            update_condition: never(),
            update_join: String::new(),
            update_set: String::new(),
            table: None,
        }
    }
}

/// What a try to take the lock has come to.
enum Taken {
    Yes(Lock),
    /// Somebody has it.
    No {
        holder: String,
    },
}

impl Lock {
    /// Takes the lock of `database`, waiting for at most `limit`.
    ///
    /// # Errors
    /// [`ErrorKind::LockHeld`] when somebody else holds it all the time, naming who; [`ErrorKind::Interrupted`] at a signal.
    pub fn acquire(
        conn: &mut Conn,
        database: &Database,
        limit: Duration,
        shutdown: &Shutdown,
        events: &mut Events<'_>,
    ) -> Result<Self> {
        let until = Instant::now() + limit;
        let name = &database.name;
        let lease = db::locks_are_local(conn)? || fault::is_forced("lease");
        let mut told = false;
        loop {
            let taken =
                if lease { Lease::take(conn, database, told, shutdown)? } else { Named::take(conn, name, told)? };
            let holder = match taken {
                Taken::Yes(lock) => return Ok(lock),
                Taken::No { holder } => holder,
            };
            if shutdown.is_stopping() {
                return Err(Error::new(
                    ErrorKind::Interrupted,
                    "stopped by a signal while waiting for the migration lock; nothing was run",
                ));
            }
            if Instant::now() >= until {
                return Err(Error::new(
                    ErrorKind::LockHeld,
                    format!(
                        "the migration lock of `{name}` is held by {holder}; wait for it to end, or raise `--lock-timeout`"
                    ),
                ));
            }
            if !told {
                told = true;
                events(Event::Note(format!("waiting for the migration lock of `{name}`, held by {holder}")));
            }
        }
    }

    /// Holds it still, or once more, after the connection was reset.
    ///
    /// # Errors
    /// As [`Lock::acquire`].
    pub fn again(
        &self,
        conn: &mut Conn,
        database: &Database,
        limit: Duration,
        shutdown: &Shutdown,
        events: &mut Events<'_>,
    ) -> Result<()> {
        match self {
            // The reset has freed it; its name is the same as before.
            Lock::Named(_) => Self::acquire(conn, database, limit, shutdown, events).map(|_| ()),
            Lock::Lease(lease) => lease.ready(conn),
        }
    }

    /// How each change of `ai_migrations` proves that it is still held.
    pub fn condition(&self) -> LockCondition {
        match self {
            Lock::Named(named) => named.condition(),
            Lock::Lease(lease) => lease.condition(),
        }
    }

    /// Frees the lock.
    pub fn release(self, conn: &mut Conn) {
        match self {
            Lock::Named(named) => named.release(conn),
            // Its own thread does.
            Lock::Lease(_) => {}
        }
    }
}
