//! The connection of a `task` command.

use std::time::Duration;

use mysql::Conn;

use crate::cli::context::Context;
use crate::db::retry::{is_deadlock, is_lock_timeout};
use crate::db::{Database, open_session};
use crate::error::{Error, ErrorKind, Result};
use crate::queue;
use crate::shutdown::{Shutdown, Woken};

/// A connection to the database that the settings name.
pub struct QueueConn {
    pub database: Database,
    conn: Conn,
    stop: Shutdown,
}

/// How often a statement is tried that the server rolled back because of a deadlock or a lock timeout.
const TRIES: u32 = 10;
const RETRY_DELAY: Duration = Duration::from_millis(20);

impl QueueConn {
    /// Connects to the database that the settings name.
    ///
    /// # Errors
    /// The registry is invalid, the settings name no database, or the connection fails.
    pub fn connect(context: &Context) -> Result<Self> {
        context.registry.check()?;
        let database = context.require_database()?;
        let conn = open_session(&database).map_err(|error| database.explain(&error))?;
        Ok(Self { database, conn, stop: context.stop.clone() })
    }

    /// Runs `work`, again if the server rolled it back because of a lock.
    ///
    /// # Errors
    /// The server's error, with advice if the queue's tables are missing.
    pub fn run<T>(&mut self, mut work: impl FnMut(&mut Conn) -> mysql::Result<T>) -> Result<T> {
        let mut tries = 1;
        loop {
            match work(&mut self.conn) {
                Ok(done) => return Ok(done),
                Err(error) if tries < TRIES && (is_deadlock(&error) || is_lock_timeout(&error)) => {
                    tries += 1;
                    self.wait(RETRY_DELAY)?;
                }
                Err(error) => return Err(queue::unfit(&self.database, &error)),
            }
        }
    }

    /// Runs `work`, which can't be repeated.
    pub fn run_once<T>(&mut self, work: impl FnOnce(&mut Conn) -> Result<T>) -> Result<T> {
        work(&mut self.conn)
    }

    /// # Errors
    /// A signal interrupted the command.
    pub fn wait(&self, duration: Duration) -> Result<()> {
        match self.stop.wait(duration) {
            Woken::Stopping => Err(Error::new(ErrorKind::Interrupted, "interrupted by a signal")),
            Woken::Elapsed => Ok(()),
        }
    }

    /// # Errors
    /// A signal interrupted the command.
    pub fn check_interrupted(&self) -> Result<()> {
        self.wait(Duration::ZERO)
    }

    /// Wakes the workers of this host, because a task is due.
    pub fn wake(&mut self) -> Result<()> {
        self.run(queue::wake)
    }
}
